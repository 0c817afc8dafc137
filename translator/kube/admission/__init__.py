"""Admission: what the API server asks before a pod, or an annotation of ours, comes into being.

Belongs here: which pods get a sidecar, what such a pod looks like, the webhooks and their own CA.
Does not belong: what the sidecar then does (``proxy``), what annotations mean to the compiler (``translator``).
Next: ``decide`` and ``inject`` (pure), ``webhook`` (HTTP), ``authority`` (TLS and caBundle).
"""
