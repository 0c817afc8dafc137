"""What is in the charts ``smi-mesh-crds`` and ``smi-mesh``, file by file. Pure.

Helm wants CRDs in a chart of their own: those in a chart's folder ``crds`` it never upgrades.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final, cast, get_args

from proxy.contract.config import DefaultPolicy
from translator.charts.templates import NUMBERS, conditional, default_of, only_if, with_values
from translator.kube.install import BACKENDS, HPA_METRICS, SETTINGS, Object, Shipped, Wanted, rendered, text_of
from translator.kube.names import NAMESPACE

VERSION: Final = "0.1.0"
NOTE: Final = "# Written by `make charts` from manifests/base and manifests/overlays. Do not edit.\n"

FILES: Final[Mapping[str, str]] = {
    "Namespace": "namespace",
    "ServiceAccount": "rbac",
    "ClusterRole": "rbac",
    "ClusterRoleBinding": "rbac",
    "Role": "rbac",
    "RoleBinding": "rbac",
    "Service": "controller",
    "Deployment": "controller",
    "APIService": "metrics",
    "PodDisruptionBudget": "disruption",
    "MutatingWebhookConfiguration": "webhooks",
    "ValidatingWebhookConfiguration": "webhooks",
}

SAMPLES: Final = {key: f"SAMPLE-{key}" for key in (*SETTINGS, "defaultPolicy")} | {
    "imagePullPolicy": "Never",
    "replicas": "7654321",
    # Behind the address in the list of settings, whose argument has the same word in its name.
    "metricsBackend": "prometheus",
}
"""For each value one that ``smi install`` takes and that stands nowhere else."""

OPTIONS: Final[Mapping[str, Wanted]] = {
    "replicas": Wanted(settings={key: sample for key, sample in SAMPLES.items() if key != "defaultPolicy"}),
    "defaultPolicy": Wanted(default_policy=cast("DefaultPolicy", SAMPLES["defaultPolicy"])),
    "disableMtls": Wanted(mtls=False),
    "ha": Wanted(ha=True),
    HPA_METRICS: Wanted(settings={HPA_METRICS: "true"}),
}
"""The values that have lines come and go. Where two decide about the same line the earlier wins, as in the command."""

VALUES: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "image": ("The mesh's image: controller, sidecar and init are one.", {"type": "string", "minLength": 1}),
    "imagePullPolicy": (
        "Of the controller's pods and of the containers that pods get.",
        {"enum": ["Always", "IfNotPresent", "Never"]},
    ),
    "ha": ("Two replicas, and namespaces that can insist on sidecars.", {"type": "boolean"}),
    "replicas": ("Of the controller; null: 1, with ha 2.", {"type": ["integer", "null"], "minimum": 1}),
    "defaultPolicy": (
        'Who may call a pod that no TrafficTarget names; "": same-identity, or with disableMtls allow.',
        {"enum": ["", *get_args(DefaultPolicy)]},
    ),
    "disableMtls": ("Sidecars speak in the clear; nobody has an identity then.", {"type": "boolean"}),
    "trustDomain": ("Of the identities in certificates.", {"type": "string", "minLength": 1}),
    "clusterDomain": ("Of the cluster's DNS.", {"type": "string", "minLength": 1}),
    "logLevel": ("Of the controller.", {"type": "string", "minLength": 1}),
    "proxyLogLevel": ("Of sidecars that say nothing else.", {"type": "string", "minLength": 1}),
    "metricsBackend": ("Where the counts of TrafficMetrics are from.", {"enum": [*BACKENDS]}),
    "prometheusUrl": ("With metricsBackend prometheus: its address, http://….", {"type": "string"}),
    "cpuRequest": ("Of the controller.", {"type": ["string", "number"]}),
    "memoryRequest": ("Of the controller.", {"type": ["string", "number"]}),
    HPA_METRICS: (
        "Serve custom.metrics.k8s.io and external.metrics.k8s.io to autoscalers; a cluster has one such server.",
        {"type": "boolean"},
    ),
    "createNamespace": (
        f"Whether the namespace {NAMESPACE} is the chart's; not with --create-namespace.",
        {"type": "boolean"},
    ),
}
"""Of values.yaml, in this order: what each means, and what it may be (JSON schema)."""


def charts(shipped: Shipped) -> dict[str, str]:
    """Every file's text by its path below ``manifests/helm``."""
    objects = {option: _by_name(rendered(shipped, wanted)) for option, wanted in _variants().items()}
    plain = _by_name(rendered(shipped, _wanted(Wanted())))
    templates: dict[str, str] = {}
    crds: dict[str, str] = {}
    for name, thing in ({name: one for found in objects.values() for name, one in found.items()} | plain).items():
        if thing["kind"] == "CustomResourceDefinition":
            crds[f"{thing['spec']['names']['plural']}.yaml"] = _literal(text_of([thing]))
            continue
        variants = {option: text_of([others[name]]) for option, others in objects.items() if name in others}
        if name in plain:
            text = conditional(_literal(text_of([thing])), variants)
        else:
            (option,) = variants
            text = only_if(option, _literal(variants[option]))
        if thing["kind"] == "Namespace":
            text = only_if("createNamespace", text)
        file = f"{FILES[thing['kind']]}.yaml"
        templates[file] = templates.get(file, "") + with_values(text, SAMPLES)
    return {
        "smi-mesh-crds/Chart.yaml": _chart("smi-mesh-crds", "CustomResourceDefinitions of SMI, all kinds and versions"),
        **{f"smi-mesh-crds/templates/{file}": text for file, text in crds.items()},
        "smi-mesh/Chart.yaml": _chart("smi-mesh", "A service mesh whose only API is the Service Mesh Interface (SMI)"),
        "smi-mesh/values.yaml": _values(defaults(shipped)),
        "smi-mesh/values.schema.json": _schema(),
        **{f"smi-mesh/templates/{file}": NOTE + text for file, text in templates.items()},
        "smi-mesh/templates/NOTES.txt": "Is the mesh well?    smi check\n",
    }


def defaults(shipped: Shipped) -> dict[str, object]:
    """What each value is where nobody sets it: text of the shipped manifests, or nothing."""
    plain, sampled = (text_of(rendered(shipped, wanted)) for wanted in (Wanted(), OPTIONS["replicas"]))
    found: dict[str, object] = {key: default_of(plain, sampled, SAMPLES[key]) for key in SETTINGS if key not in NUMBERS}
    return {
        **found,
        "ha": False,
        "replicas": None,
        "defaultPolicy": "",
        "disableMtls": False,
        HPA_METRICS: False,
        "createNamespace": False,
    }


def _variants() -> dict[str, Wanted]:
    return {option: _wanted(wanted) for option, wanted in OPTIONS.items()}


def _wanted(option: Wanted) -> Wanted:
    """With samples for all that is text, so that texts differ only by the option."""
    fixed = {key: sample for key, sample in SAMPLES.items() if key not in (*NUMBERS, "defaultPolicy")}
    return Wanted(
        ha=option.ha, default_policy=option.default_policy, mtls=option.mtls, settings={**option.settings, **fixed}
    )


def _by_name(objects: Iterable[Object]) -> dict[tuple[str, str], Object]:
    return {(thing["kind"], thing["metadata"]["name"]): thing for thing in objects}


def _literal(text: str) -> str:
    """``text``, where Helm reads nothing into it."""
    if "{{" in text:
        raise ValueError("the manifests have {{ in them, which Helm would take for its own")
    return text


def _chart(name: str, description: str) -> str:
    return (
        f"{NOTE}apiVersion: v2\nname: {name}\ndescription: {description}\ntype: application\n"
        f'version: {VERSION}\nappVersion: "{VERSION}"\nkubeVersion: ">=1.29.0-0"\n'
    )


def _values(found: Mapping[str, object]) -> str:
    lines = [NOTE]
    for key, (meaning, _) in VALUES.items():
        lines.append(f"\n# {meaning}\n{key}: {json.dumps(found[key])}\n")
    return "".join(lines)


def _schema() -> str:
    """Like ``--set`` it knows no other keys; Helm itself gives every chart ``global``."""
    properties = {key: {"description": meaning, **may_be} for key, (meaning, may_be) in VALUES.items()}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "required": [key for key in VALUES if key != "replicas"],
        "properties": {"global": {"type": "object"}, **properties},
    }
    return json.dumps(schema, indent=2) + "\n"
