"""Manifests as they are written: one pydantic model per shape.

Belongs here: what fields exist, which forms of a field are accepted, what a
value may be, and the way from a model to the hub objects of ``smi``.
Does not belong: YAML, lines (``smi.decode``), references between objects
(``smi.validate``), meaning (``translator``).
Next: ``base`` for the rules all models share, ``kinds`` for the table of kinds and versions.
"""
