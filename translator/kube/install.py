"""What `smi install` prints: the manifests that ship with the product, with the operator's options in them. Pure.

YAML is the one source (``manifests/base``, ``manifests/overlays``); an option is a small edit of it. The same options
give the same text, and there is never a key in it: what is secret the controller makes on the cluster.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from proxy.contract.config import DefaultPolicy

Object = dict[str, Any]

ORDER: Final = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
"""Of kinds: what others need comes first, the webhooks last."""

CLUSTER_WIDE: Final = frozenset(
    {
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "Namespace",
        "APIService",
    }
)

FOREIGN: Final = "kube-system"
"""What is there does not go with the mesh's own namespace."""

LABELS: Final = {
    "app.kubernetes.io/name": "smi-mesh",
    "app.kubernetes.io/part-of": "smi-mesh",
    "app.kubernetes.io/managed-by": "smi",
}


BACKENDS: Final = ("memory", "prometheus")
"""Where the counts of TrafficMetrics are from."""


class UnknownSetting(ValueError):
    """A ``--set`` for which there is no such key, or no such value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """The product's manifests: what is always there, what ``--ha`` adds and patches, what settings add."""

    base: Sequence[Object]
    ha_objects: Sequence[Object]
    ha_controller: Object
    ha_injector: Sequence[Object]
    hpa_objects: Sequence[Object] = ()
    """What the setting ``hpaMetrics`` adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Options of ``smi install``. ``settings`` are the pairs of ``--set``."""

    ha: bool = False
    default_policy: DefaultPolicy | None = None
    mtls: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


def rendered(shipped: Shipped, wanted: Wanted) -> list[Object]:
    """The objects, in the order to apply them. Raises ``UnknownSetting``."""
    objects = [copy.deepcopy(thing) for thing in shipped.base]
    if wanted.ha:
        objects += copy.deepcopy(list(shipped.ha_objects))
        for thing in objects:
            if thing["kind"] == "Deployment":
                _merge(thing, shipped.ha_controller)
            elif thing["kind"] == "MutatingWebhookConfiguration":
                thing["webhooks"] += [copy.deepcopy(one["value"]) for one in shipped.ha_injector]
    hpa = switched(wanted.settings, HPA_METRICS)
    if hpa:
        objects += copy.deepcopy(list(shipped.hpa_objects))
    for thing in objects:
        own = LABELS if thing["kind"] != "CustomResourceDefinition" else {"app.kubernetes.io/part-of": "smi-mesh"}
        thing["metadata"]["labels"] = dict(sorted({**thing["metadata"].get("labels", {}), **own}.items()))
    (controller,) = (thing for thing in objects if thing["kind"] == "Deployment")
    _configure(controller, wanted)
    if hpa:
        controller["spec"]["template"]["spec"]["containers"][0]["args"].insert(0, "--hpa-metrics")
    return sorted(objects, key=lambda thing: (ORDER.index(thing["kind"]), thing["metadata"]["name"]))


def switched(settings: Mapping[str, str], key: str) -> bool:
    """Whether a setting that is true or false is true. Raises ``UnknownSetting``."""
    value = settings.get(key, "false")
    if value not in ("true", "false"):
        raise UnknownSetting(f"{key}: {value!r} is neither true nor false")
    return value == "true"


def leftovers(objects: Iterable[Object]) -> list[Object]:
    """What to delete to be rid of the mesh: what is of the whole cluster or elsewhere; the namespace takes the rest."""
    return [
        thing
        for thing in reversed(list(objects))
        if thing["kind"] in CLUSTER_WIDE or thing["metadata"].get("namespace") == FOREIGN
    ]


def text_of(objects: Iterable[Object]) -> str:
    """YAML to be piped into kubectl."""
    return "".join(f"---\n{yaml.safe_dump(thing, sort_keys=False, width=120)}" for thing in objects)


def _configure(controller: Object, wanted: Wanted) -> None:
    spec = controller["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    if wanted.default_policy is not None or not wanted.mtls:
        arguments["default-policy"] = wanted.default_policy or "allow"
    for key, value in wanted.settings.items():
        if key in SWITCHES:
            continue
        edit = SETTINGS.get(key)
        if edit is None:
            raise UnknownSetting(f"{key!r} is not a setting; there are {', '.join((*SETTINGS, *SWITCHES))}")
        edit(spec, container, arguments, value)
    if arguments["metrics-backend"] == "prometheus" and not arguments["prometheus-url"]:
        raise UnknownSetting("metricsBackend=prometheus needs prometheusUrl too, the address of that Prometheus")
    container["args"] = [f"--{name}={value}" for name, value in arguments.items()]
    if not wanted.mtls:
        container["args"].append("--disable-mtls")


def _image(_: Object, container: Object, arguments: dict[str, str], value: str) -> None:
    container["image"] = arguments["image"] = value


def _pull_policy(_: Object, container: Object, arguments: dict[str, str], value: str) -> None:
    if value not in ("Always", "IfNotPresent", "Never"):
        raise UnknownSetting(f"imagePullPolicy: {value!r} is not one of Always, IfNotPresent, Never")
    container["imagePullPolicy"] = arguments["image-pull-policy"] = value


def _backend(_: Object, __: Object, arguments: dict[str, str], value: str) -> None:
    if value not in BACKENDS:
        raise UnknownSetting(f"metricsBackend: {value!r} is not one of {', '.join(BACKENDS)}")
    arguments["metrics-backend"] = value


def _replicas(spec: Object, _: Object, __: dict[str, str], value: str) -> None:
    if not value.isdigit() or int(value) < 1:
        raise UnknownSetting(f"replicas: {value!r} is not a whole number of at least 1")
    spec["replicas"] = int(value)


def _argument(name: str) -> Callable[[Object, Object, dict[str, str], str], None]:
    def edit(_: Object, __: Object, arguments: dict[str, str], value: str) -> None:
        arguments[name] = value

    return edit


def _request(name: str) -> Callable[[Object, Object, dict[str, str], str], None]:
    def edit(_: Object, container: Object, __: dict[str, str], value: str) -> None:
        container["resources"]["requests"][name] = value

    return edit


SETTINGS: Final[Mapping[str, Callable[[Object, Object, dict[str, str], str], None]]] = {
    "image": _image,
    "imagePullPolicy": _pull_policy,
    "replicas": _replicas,
    "trustDomain": _argument("trust-domain"),
    "clusterDomain": _argument("cluster-domain"),
    "logLevel": _argument("log-level"),
    "proxyLogLevel": _argument("proxy-log-level"),
    "prometheusUrl": _argument("prometheus-url"),
    "metricsBackend": _backend,
    "cpuRequest": _request("cpu"),
    "memoryRequest": _request("memory"),
}
"""The keys of ``--set`` that are text."""

HPA_METRICS: Final = "hpaMetrics"
SWITCHES: Final = (HPA_METRICS,)
"""Those that are true or false."""


def _merge(into: Object, patch: Object) -> None:
    """A strategic merge as far as our own patches go: mappings are merged, all else is replaced."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
