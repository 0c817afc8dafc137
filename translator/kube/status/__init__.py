"""What the cluster is told of its SMI objects: conditions in their status, and Events.

Belongs here: ``conditions`` and ``summary`` (pure: what is said), ``progress`` (pure: which sidecars run on what),
``subscribed`` (our own sidecars), ``events`` (pure: what is said once), ``standing`` (all of that together),
``writer`` (says it). Does not belong: finding out what is wrong (``translator.review``).
"""
