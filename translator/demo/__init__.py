"""The demos: a mesh of its own, real requests through it, edits in between, and a judgement.

Belongs here: what the demos do and expect, the client that measures, the live table.
Does not belong: a way into the mesh that a user does not have. Everything goes
by ``smi local`` commands, saved files and HTTP requests through a sidecar.
Next: ``translator.cli.demo`` is the command, ``manifests`` has the YAML.
"""
