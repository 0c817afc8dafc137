"""The sidecar: everything on the path of a request.

Belongs here: the config contract, routing decisions, the HTTP path, TLS,
counters, admin. Does not belong: YAML, Kubernetes, pydantic, SMI kinds.
Next: ``proxy.contract`` is what the controller pushes, ``proxy.table`` what it
becomes, ``proxy.forward`` where a request meets it.
"""
