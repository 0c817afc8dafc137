"""The controller on Kubernetes.

Belongs here: what it reads from an API server and writes back, and its process.
Does not belong: what SMI objects mean (``translator``), how they are read (``smi``), what a sidecar does (``proxy``).
Next: ``controller`` (the process), ``source`` (the world from an API server), ``pods`` (pure).
"""
