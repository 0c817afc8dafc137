"""The Helm charts in manifests/helm, written from what `smi install` prints: two ways in, one mesh.

Belongs here: finding out what an option changes in the installation, and saying that as a template.
Does not belong: what is installed; that is ``manifests/base`` and ``translator.kube.install``.
Next: ``templates`` for how a difference becomes ``{{- if }}``, ``files`` for what is in the charts.
"""
