"""What Linkerd's users bring along, said in SMI.

Belongs here: reading the meaning of a ServiceProfile, and what of it cannot be said.
Does not belong: its fields (``smi.wire.linkerd``), files (``smi.rewrite``).
Next: ``profile`` for the whole, ``routes`` for conditions.
"""
