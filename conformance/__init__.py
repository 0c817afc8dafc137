"""Black-box proof of what a mesh does with SMI objects.

Belongs here: declarative cases, the worlds they play in, the runner, one
adapter for each kind of mesh.
Does not belong: anything imported from the product. A case knows manifests,
requests and answers.
Next: ``conformance.case`` is the format, ``docs/conformance.md`` its description.
"""
