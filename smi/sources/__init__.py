"""Where manifests come from.

Belongs here: reading and watching a source, and what its state at one moment is (``Snapshot``).
Does not belong: what manifests mean; ``smi.decode`` reads them, ``translator`` compiles them.
Next: ``snapshot`` for the rules (pure), ``directory`` for the folder source.
"""
