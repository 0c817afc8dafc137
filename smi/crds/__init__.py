"""CustomResourceDefinitions of the SMI kinds, generated.

Belongs here: their schemas, which must let through whatever ``smi.wire`` reads.
Does not belong: reading objects, installing.
Next: ``definitions`` for the whole, ``fields`` for what objects may have; ``python -m smi.crds DIR`` writes them.
"""
