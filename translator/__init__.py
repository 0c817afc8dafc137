"""The control plane: from what the operator asked for to what each sidecar does.

Belongs here: the world, the compiler, pushing, identities, local mode, the `smi` command.
Does not belong: the request path (``proxy``), SMI decoding (``smi``).
Next: ``translator.world`` is what the compiler sees, ``translator.compiler`` the way to one sidecar's config.
"""
