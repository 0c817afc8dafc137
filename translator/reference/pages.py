"""The pages of the reference but that of the commands, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxy.errors import Reason
from proxy.prometheus import COMMON, FAMILIES, LABELS
from smi.kept import KEPT, ORIGINAL, PREFIX
from translator.knowledge import METRICS
from translator.reference.commands import commands_page
from translator.reference.markdown import code, codes, document, prose, table
from translator.vocabulary import ON_CLUSTER, ON_PODS, ON_SERVICES, ON_TEMPLATES, Annotation


def pages() -> dict[str, str]:
    """Every page's text by its file's name."""
    return {
        "annotations.md": annotations_page(),
        "commands.md": commands_page(),
        "metrics.md": metrics_page(),
        "reasons.md": reasons_page(),
    }


def annotations_page() -> str:
    """Every annotation, by the objects it stands on."""
    kept = [
        (code(PREFIX + short), kind, what, "[conversion](../conversion.md)")
        for kind, known in KEPT.items()
        for short, what in known.items()
    ]
    kept.append(
        (
            code(ORIGINAL),
            "all SMI kinds",
            "the manifest before conversion, only where the rest would not give it back to the letter",
            "[conversion](../conversion.md)",
        )
    )
    return document(
        "Annotations",
        prose(
            "Every annotation that the mesh reads. Values are text: numbers stand in quotes. One of another value than "
            "it may have counts as if it were not there, and is told by `smi local status` and the controller's "
            "`/findings`."
        ),
        ["## On Services"],
        prose(
            "How the Service wants to be called; callers' sidecars carry it out. Read on Services only. `smi lint` "
            "tells what is wrong with them before they are in force."
        ),
        _annotations(ON_SERVICES),
        ["## On pods and namespaces"],
        prose(
            "On a pod (its template) or a namespace; the pod's wins over the namespace's, that over the mesh's setting."
        ),
        _annotations(ON_PODS),
        ["## On pods and namespaces of Kubernetes"],
        prose(
            "As above; all but `opaque-ports` count when a pod is created. The validating webhook refuses other values."
        ),
        _annotations(ON_CLUSTER),
        ["## On pods of a local mesh"],
        _annotations(ON_TEMPLATES),
        ["## On SMI objects"],
        prose(
            "Written by `smi convert` for what a version cannot say, and obeyed by the mesh at every version. One that "
            "cannot be read is a problem of its object."
        ),
        table(("annotation", "on", "keeps, as JSON", "explained"), kept),
    )


def _annotations(known: Iterable[Annotation]) -> list[str]:
    rows = []
    for one in known:
        example = codes(one.values) if one.values else f"for example {code(one.example)}"
        default = code(one.default) if one.default else one.otherwise
        page, _, _ = one.explained.partition(".")
        rows.append((code(one.name), example, default, one.meaning, f"[{page}](../{one.explained})"))
    return table(("annotation", "values", "default", "meaning", "explained"), rows)


def metrics_page() -> str:
    """Every series, of the sidecar and of the controller."""
    sidecar = [(code(one.name), one.kind, one.help, codes(one.labels)) for one in FAMILIES]
    own = [(code(one.name), one.kind, one.help) for one in METRICS]
    return document(
        "Metrics",
        prose(
            "In Prometheus' text format. [observing.md](../observing.md#prometheus) tells what is counted, and when."
        ),
        ["## Of a sidecar"],
        prose("At `/metrics` of its admin port (4191). Every line has these labels of the sidecar itself:"),
        _meanings(COMMON),
        prose("A label that does not apply is left out."),
        table(("metric", "type", "what", "labels"), sidecar),
        ["### Labels"],
        _meanings(LABELS),
        ["## Of the controller"],
        prose("At `/metrics` of its API, without labels."),
        table(("metric", "type", "what"), own),
    )


def _meanings(labels: Mapping[str, str]) -> list[str]:
    return table(("label", "meaning"), [(code(name), meaning) for name, meaning in labels.items()])


def reasons_page() -> str:
    """Every word of ``smi-mesh-reason``."""
    rows = [(code(one.value), ", ".join(map(str, one.statuses)) or "-", one.when) for one in Reason]
    return document(
        "Reasons",
        prose(
            "Answers of a sidecar's own carry `smi-mesh-reason: <word>; <detail>`. The detail is for people and may "
            "change. The word is also what the access log calls `reason`, and the label `reason` of "
            "`smi_mesh_refused_total`, where it is counted by the sidecar that gave the answer."
        ),
        table(("word", "status", "when"), rows),
    )
