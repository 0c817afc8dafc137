"""Who is who: the authority that issues certificates, and what a sidecar proves itself with.

Belongs here: the root, tokens, enrolment, the controller's own certificate.
Does not belong: what a peer may do with its identity (``translator.policy``),
how a certificate is judged (``proxy.contract.spiffe``).
Next: ``authority`` issues, ``enrol`` is where sidecars ask, ``serving`` the
controller's side of TLS.
"""
