"""Local mode: a mesh of processes on one machine, without a cluster and without root.

Belongs here: the supervisor that turns Deployments, StatefulSets and Pods of a
folder into processes with sidecars, addresses, readiness, and the state
directory of a mesh. Pure: ``plan``, ``environment``, ``sidecar``, ``addresses``.
Does not belong: compiling and pushing (``translator.controller``, which runs as a
process of its own), the request path (``proxy``), the command line (``translator.cli``).
Next: ``supervisor`` for the whole, ``pod`` for the life of one pod.
"""
