"""A pod with a sidecar, made of one without. Pure.

[sidecar, init] come before the pod's own init containers, whose traffic is then meshed as well. The sidecar is a native
one (an init container with ``restartPolicy: Always``): it outlives the application, and jobs end. It starts while the
kubelet, which looks once a second, has yet to see that it runs; init writes the rules and ends when the sidecar is
ready, so that nothing else starts before. What the kubelet asks of the application it asks through the sidecar.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.contract.config import (
    AccessLog,
    Config,
    Control,
    File,
    Listeners,
    Probe,
    Sidecar,
    TlsFiles,
    Trust,
    spiffe_id,
)
from proxy.contract.ports import ADMIN, MESH, OUTBOUND, REDIRECTED, SIDECAR_UID, BadRule, port_list, subnet_list
from smi.errors import BadQuantity
from smi.quantity import parse_quantity
from translator import vocabulary
from translator.kube.admission.settings import Injected
from translator.kube.names import AUDIENCE, CONTROLLER
from translator.kube.pods import PROXY_CONTAINER, owner_of

INIT_CONTAINER: Final = "smi-mesh-init"
RUN_VOLUME: Final = "smi-mesh-run"
TOKEN_VOLUME: Final = "smi-mesh-token"
SETTINGS: Final = "SMI_MESH_SIDECAR"
"""Written on a pod that has a sidecar."""

RUN: Final = "/run/smi-mesh"
TOKENS: Final = "/var/run/secrets/smi-mesh"

TOKEN_SECONDS: Final = 86400
"""The kubelet renews it at 80 % of that. It is needed again only if a certificate could not be renewed in its life."""

SLEEP: Final = 5
"""Seconds that an application without a preStop hook serves on after its end was ordered: callers have to hear."""

GRACE: Final = 30
"""Kubernetes' own terminationGracePeriodSeconds."""

FIELDS: Final = (
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_IP", "status.podIP"),
    ("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
)

SKIPPED: Final = (
    ("--skip-inbound-ports", vocabulary.SKIP_INBOUND, port_list),
    ("--skip-outbound-ports", vocabulary.SKIP_OUTBOUND, port_list),
    ("--skip-subnets", vocabulary.SKIP_SUBNETS, subnet_list),
)
"""Flags of ``python -m proxy init``, and who says what they are."""

PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
HOOKS: Final = ("postStart", "preStop")
KINDS: Final = ("httpGet", "tcpSocket", "grpc")

Spec = dict[str, Any]
Annotations = Mapping[str, str]


def injected(pod: Mapping[str, Any], inherited: Annotations, settings: Injected, bundle: str) -> dict[str, Any]:
    """The pod with its sidecar. ``inherited`` are its namespace's annotations, ``bundle`` trusted roots (PEM)."""
    new = copy.deepcopy(dict(pod))
    meta, spec = new.setdefault("metadata", {}), new.setdefault("spec", {})
    said = {**inherited, **(meta.get("annotations") or {})}
    probes = list(_rewrite(spec))
    _lengthen(spec)
    if said.get(vocabulary.HTTP_PROXY.name) == "enabled":
        _use_proxy(spec)
    spec["initContainers"] = [
        _sidecar(meta, said, settings, _file(meta, said, settings, probes, bundle)),
        _init(said, settings),
        *(spec.get("initContainers") or ()),
    ]
    spec["volumes"] = [*(spec.get("volumes") or ()), *VOLUMES]
    meta["annotations"] = {**(meta.get("annotations") or {}), vocabulary.INJECTED: "injected"}
    return new


VOLUMES: Final[tuple[Spec, ...]] = (
    {"name": RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    {
        "name": TOKEN_VOLUME,
        "projected": {
            "defaultMode": 0o444,
            "sources": [
                {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}}
            ],
        },
    },
)


def _init(said: Annotations, settings: Injected) -> Spec:
    command = ["python3", "-m", "proxy", "init", "--state", RUN]
    for flag, annotation, read in SKIPPED:
        text = said.get(annotation.name, "")
        try:
            wanted = read(text)
        except BadRule:
            continue  # the validating webhook tells; a pod must not fail for it
        if wanted:
            command += [flag, text.replace(" ", "")]
    return {
        "name": INIT_CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
        "volumeMounts": [{"name": RUN_VOLUME, "mountPath": RUN}],
    }


def _sidecar(meta: Spec, said: Annotations, settings: Injected, file: File) -> Spec:
    env: list[Spec] = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in FIELDS]
    env.append({"name": SETTINGS, "value": msgspec.json.encode(file).decode()})
    return {
        "name": PROXY_CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["python3", "-m", "proxy", "--config-env", SETTINGS],
        "restartPolicy": "Always",
        "env": env,
        "ports": [{"name": "smi-mesh", "containerPort": MESH}, {"name": "smi-mesh-admin", "containerPort": ADMIN}],
        "resources": _resources(said, settings),
        "lifecycle": {"preStop": {"exec": {"command": ["python3", "-m", "proxy", "drain"]}}},
        # The kubelet asks whenever it looks at the pod; at its first look no sidecar can be ready.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": ADMIN},
            "initialDelaySeconds": 1,
            "periodSeconds": 5,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "httpGet": {"path": "/live", "port": ADMIN},
            "initialDelaySeconds": 10,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
        },
        "securityContext": {
            "runAsUser": SIDECAR_UID,
            "runAsGroup": SIDECAR_UID,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": RUN_VOLUME, "mountPath": RUN},
            {"name": TOKEN_VOLUME, "mountPath": TOKENS, "readOnly": True},
        ],
    }


def _resources(said: Annotations, settings: Injected) -> Spec:
    """What cannot be read counts as not said: the validating webhook tells, a pod must not fail for it."""
    kept: Spec = {}
    for resource, bounds, default in (
        ("cpu", (vocabulary.CPU_REQUEST, vocabulary.CPU_LIMIT), settings.cpu_request),
        ("memory", (vocabulary.MEMORY_REQUEST, vocabulary.MEMORY_LIMIT), settings.memory_request),
    ):
        request, limit = (_quantity(said.get(bound.name)) for bound in bounds)
        # Kubernetes takes no request above the limit; where there is only a limit, that is what is requested.
        if not request and not (limit and parse_quantity(limit) < parse_quantity(default or "0")):
            request = default
        for bound, text in (("requests", request), ("limits", limit)):
            if text:
                kept.setdefault(bound, {})[resource] = text
    return kept


def _quantity(text: str | None) -> str:
    try:
        return text if text and parse_quantity(text) else ""
    except BadQuantity:
        return ""


def _file(meta: Spec, said: Annotations, settings: Injected, probes: list[Probe], bundle: str) -> File:
    """What the sidecar is told. The kubelet puts the pod's own names and address into it."""
    kind, workload = owner_of(meta)
    level = said.get(vocabulary.LOG_LEVEL.name, settings.log_level)
    identity = spiffe_id(settings.trust_domain, settings.namespace, CONTROLLER)
    sidecar = Sidecar(
        pod="$(POD_NAME)",
        namespace="$(POD_NAMESPACE)",
        service_account="$(POD_SERVICE_ACCOUNT)",
        listeners=Listeners(
            address="$(POD_IP)", outbound=OUTBOUND, mesh=MESH, admin=ADMIN, redirected=REDIRECTED, transparent=True
        ),
        app_address="$(POD_IP)",
        workload=workload or "$(POD_NAME)",
        workload_kind=kind,
        trust_domain=settings.trust_domain,
        cluster_domain=settings.cluster_domain,
        tls=TlsFiles(
            bundle=f"{RUN}/bundle.pem", certificate=f"{RUN}/tls.crt", key=f"{RUN}/tls.key", token=f"{TOKENS}/token"
        ),
        control=Control(
            address=f"{CONTROLLER}.{settings.namespace}.svc.{settings.cluster_domain}.",
            port=settings.control_port,
            identity=identity,
        ),
        egress=True,
        state=RUN,
        log_level=level if level in vocabulary.LOG_LEVEL.values else settings.log_level,
        access_log=_access_log(said, settings),
        probes=tuple(probes),
    )
    return File(sidecar=sidecar, config=Config(trust=Trust(bundle=bundle)))


def _access_log(said: Annotations, settings: Injected) -> AccessLog:
    value = said.get(vocabulary.ACCESS_LOG.name)
    return vocabulary.access_log_of(value) if value in vocabulary.ACCESS_LOG.values else settings.access_log


def _rewrite(spec: Spec) -> Iterator[Probe]:
    """Has the kubelet ask the sidecar instead of the application; yields what the sidecar is to ask."""
    for group in ("initContainers", "containers"):
        for container in spec.get(group) or ():
            ports = {port["name"]: port["containerPort"] for port in container.get("ports") or () if port.get("name")}
            lifecycle = container.get("lifecycle") or {}
            places = [(container, name) for name in PROBES] + [(lifecycle, name) for name in HOOKS]
            for holder, place in places:
                asked = holder.get(place)
                probe = _probe(f"{container['name']}-{place}", asked, ports, place in HOOKS) if asked else None
                if probe is not None:
                    for kind in KINDS:
                        asked.pop(kind, None)
                    asked["httpGet"] = {"path": f"/probe/{probe.name}", "port": ADMIN}
                    yield probe


def _literal(said: object) -> str:
    """Text of the pod's author within a variable's value, where the kubelet would expand it."""
    return str(said or "").replace("$", "$$")


def _probe(name: str, asked: Spec, ports: Mapping[str, int], hook: bool) -> Probe | None:
    """What is asked of the application.

    None for what is no question at a port of the pod: an exec probe, a port of no known name, one at another host. And
    for a hook that would connect only: the kubelet fails it, so it must go on failing.
    """
    kind = next((kind for kind in KINDS if asked.get(kind)), "")
    action = asked.get(kind) or {}
    port = _port(action.get("port"), ports)
    if not port or action.get("host") or (hook and kind != "httpGet"):
        return None
    timeout = float(asked.get("timeoutSeconds") or 1)
    if kind == "tcpSocket":
        return Probe(name=name, kind="tcp", port=port, timeout=timeout)
    if kind == "grpc":
        return Probe(name=name, kind="grpc", port=port, service=_literal(action.get("service")), timeout=timeout)
    secure = str(action.get("scheme") or "HTTP").upper() == "HTTPS"
    return Probe(
        name=name,
        kind="http",
        port=port,
        path=_literal(action.get("path") or "/"),
        scheme="https" if secure else "http",
        headers=tuple((_literal(one["name"]), _literal(one.get("value"))) for one in action.get("httpHeaders") or ()),
        timeout=timeout,
        hook=hook,
    )


def _port(said: Any, ports: Mapping[str, int]) -> int:
    """A port's number, by the container's names for them; 0 where it is none. To the kubelet "8080" is 8080, too."""
    number = ports.get(said, said) if isinstance(said, str) else said
    if isinstance(number, str):
        number = int(number) if len(number) < 6 and number.isascii() and number.isdecimal() else 0
    return number if number and 0 < number < 65536 else 0


def _lengthen(spec: Spec) -> None:
    """An application that knows no preStop goes on serving for a moment: its callers hear of its end only then."""
    grace = spec.get("terminationGracePeriodSeconds", GRACE)
    seconds = min(SLEEP, int(grace) // 3)
    for container in spec.get("containers") or ():
        lifecycle = container.get("lifecycle") or {}
        if seconds and not lifecycle.get("preStop"):
            container["lifecycle"] = {**lifecycle, "preStop": {"sleep": {"seconds": seconds}}}


def _use_proxy(spec: Spec) -> None:
    """The application's HTTP goes to the sidecar by name, not by address (``vocabulary.HTTP_PROXY``)."""
    local = "localhost,127.0.0.1,::1"
    wanted = {
        **dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{OUTBOUND}"),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), local),
    }
    for container in spec.get("containers") or ():
        present = {one.get("name") for one in container.get("env") or ()}
        missing = [{"name": name, "value": value} for name, value in wanted.items() if name not in present]
        container["env"] = [*(container.get("env") or ()), *missing]
