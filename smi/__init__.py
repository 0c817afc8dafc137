"""What the operator asked for.

Belongs here: SMI models of every version, decoding, validation, conversion, CRDs,
and the sources that read them (a folder, later Kubernetes).
Does not belong: compiling, pushing, proxying, any network protocol.
Next: ``smi.decode`` turns text into the models, ``translator.world`` collects them.
"""
