"""What `smi check` asks a cluster: can the mesh be installed, is it well, are its pods.

Each check is a question with one answer: fine, a warning, or what is wrong. They run in order; within a category the
first one that fails ends it, for what follows depends on it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from smi.crds.definitions import definitions
from smi.sources.apiserver import ApiError, ApiServer
from translator.kube.admission.decide import decide
from translator.kube.admission.linkerd import installed
from translator.kube.admission.settings import Injected
from translator.kube.names import CA_SECRET, CONTROLLER, INJECTOR, METRICS_SERVICE, VALIDATOR
from translator.kube.pods import FINISHED, has_condition, has_sidecar
from translator.metricsapi.autoscaling.groups import VERSIONS

MINIMUM: Final = (1, 29)
"""Of Kubernetes: native sidecars are on by default from there."""

CRDS: Final = tuple(definition["metadata"]["name"] for definition in definitions().values())

CREATED: Final = (
    ("", "namespaces", False),
    ("apiextensions.k8s.io", "customresourcedefinitions", False),
    ("rbac.authorization.k8s.io", "clusterroles", False),
    ("rbac.authorization.k8s.io", "clusterrolebindings", False),
    ("rbac.authorization.k8s.io", "roles", True),
    ("rbac.authorization.k8s.io", "rolebindings", True),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", False),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", False),
    ("", "serviceaccounts", True),
    ("", "services", True),
    ("apps", "deployments", True),
    ("apiregistration.k8s.io", "apiservices", False),
)
"""(group, resource, namespaced) of what an installation creates."""

ADAPTER: Final = tuple(f"{version}.{group}" for group, versions in VERSIONS.items() for version in versions)
"""APIServices of what autoscalers read, of which a cluster has one each."""

State = Literal["success", "warning", "error"]


class Warned(Exception):
    """Not as it should be, yet nothing fails for it."""


class Wrong(Exception):
    """What is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One answer. ``anchor`` is its heading in the documentation.

    ``settles``: what is wrong may become right by itself, as just after an installation.
    """

    category: str
    description: str
    state: State
    message: str = ""
    anchor: str = ""
    settles: bool = False


@dataclass(frozen=True, slots=True)
class _Check:
    description: str
    anchor: str
    ask: Callable[[ApiServer, str], Awaitable[None]]
    settles: bool = False


async def check(api: ApiServer, namespace: str, *, before: bool) -> AsyncIterator[Result]:
    """The answers as they come; ``before``: is the cluster ready for an installation?"""
    for category, checks in CATEGORIES + (BEFORE if before else AFTER):
        for one in checks:
            state: State = "success"
            message = ""
            try:
                await one.ask(api, namespace)
            except Warned as doubt:
                state, message = "warning", str(doubt)
            except (Wrong, ApiError) as error:
                state, message = "error", str(error)
            yield Result(
                category=category,
                description=one.description,
                state=state,
                message=message,
                anchor=one.anchor,
                settles=one.settles,
            )
            if state == "error":
                break


async def _answers(api: ApiServer, _: str) -> None:
    await api.get("/version")


async def _version(api: ApiServer, _: str) -> None:
    said = await api.get("/version")
    found = tuple(int(re.sub(r"\D.*", "", str(said.get(part, "0"))) or 0) for part in ("major", "minor"))
    if found < MINIMUM:
        least = ".".join(map(str, MINIMUM))
        raise Wrong(f"is {said.get('gitVersion')}, at least {least} is needed (native sidecars)")


async def _namespace_is_free(api: ApiServer, namespace: str) -> None:
    try:
        await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{CONTROLLER}")
    except ApiError as error:
        if error.status == 404:
            return
        raise
    raise Wrong(f"there is a mesh in the namespace {namespace!r} already")


def _can_create(group: str, resource: str, namespaced: bool) -> _Check:
    async def ask(api: ApiServer, namespace: str) -> None:
        wanted = {"group": group, "resource": resource, "verb": "create", "namespace": namespace if namespaced else ""}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wanted},
        }
        answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not answer.get("status", {}).get("allowed"):
            raise Wrong(f"you may not create {resource}{f'.{group}' if group else ''}")

    return _Check(f"can create {resource}", "pre-k8s-cluster-k8s", ask)


async def _namespace(api: ApiServer, namespace: str) -> None:
    await api.get(f"/api/v1/namespaces/{namespace}")


async def _crds(api: ApiServer, _: str) -> None:
    for name in CRDS:
        found = await api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        if not has_condition(found, "Established"):
            raise Wrong(f"{name} is not served yet")


async def _controller(api: ApiServer, namespace: str) -> None:
    found = await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{CONTROLLER}")
    wanted, ready = found["spec"].get("replicas", 1), found.get("status", {}).get("readyReplicas", 0)
    updated = found.get("status", {}).get("updatedReplicas", 0)
    if found.get("status", {}).get("observedGeneration", 0) < found["metadata"]["generation"] or updated < wanted:
        raise Wrong("the controller is being rolled out")
    if ready < wanted:
        raise Wrong(f"{ready} of {wanted} controllers are ready")


async def _ca(api: ApiServer, namespace: str) -> None:
    try:
        found = await api.get(f"/api/v1/namespaces/{namespace}/secrets/{CA_SECRET}")
    except ApiError as error:
        if error.status == 403:
            raise Warned(f"you may not read the Secret {CA_SECRET}; not looked at") from error
        raise
    data = found.get("data") or {}
    if not data.get("ca.crt") or not (data.get("issuer.crt") or data.get("tls.crt")):
        raise Wrong(f"the Secret {CA_SECRET} has no certificate of an issuer")


def _webhook(kind: str, name: str) -> _Check:
    async def ask(api: ApiServer, _: str) -> None:
        found = await api.get(f"/apis/admissionregistration.k8s.io/v1/{kind}/{name}")
        if not all((one.get("clientConfig") or {}).get("caBundle") for one in found.get("webhooks") or ()):
            raise Wrong(f"{name} has no caBundle yet; the controller writes it")

    return _Check(f"{name} trusts the controller", "smi-mesh-webhook", ask, settles=True)


async def _adapters(api: ApiServer) -> dict[str, str]:
    """Who answers autoscalers, by APIService: ``namespace/service``. Raises ``Warned`` where that may not be read."""
    found: dict[str, str] = {}
    for name in ADAPTER:
        try:
            service = (await api.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{name}"))["spec"].get("service")
        except ApiError as error:
            if error.status == 404:
                continue
            if error.status == 403:
                raise Warned("you may not read APIServices; not looked at") from error
            raise
        found[name] = f"{service.get('namespace')}/{service.get('name')}" if service else "the API server's own"
    return found


def _others(found: Mapping[str, str], namespace: str) -> str:
    ours = f"{namespace}/{METRICS_SERVICE}"
    return ", ".join(f"{name} is {whose}" for name, whose in found.items() if whose != ours)


async def _no_other_adapter(api: ApiServer, namespace: str) -> None:
    """An APIService of the same name would be taken over by ``kubectl apply`` without a word."""
    others = _others(await _adapters(api), namespace)
    if others:
        raise Warned(f"{others}: install without hpaMetrics, which would take its place")


async def _autoscalers(api: ApiServer, namespace: str) -> None:
    found = await _adapters(api)
    controller = await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{CONTROLLER}")
    serves = "--hpa-metrics" in controller["spec"]["template"]["spec"]["containers"][0].get("args", ())
    if not serves:
        dead = [name for name, whose in found.items() if whose == f"{namespace}/{METRICS_SERVICE}"]
        if dead:
            raise Warned(f"{', '.join(dead)}: the controller was installed without hpaMetrics, nobody answers")
        return
    others = _others(found, namespace)
    if others:
        raise Warned(f"{others}: autoscalers do not ask the mesh")
    missing = [name for name in ADAPTER if name not in found]
    if missing:
        raise Warned(f"there is no {', '.join(missing)}: autoscalers do not ask the mesh")


async def _meshed(api: ApiServer, _: str) -> None:
    unready = [
        _name(pod)
        async for pod in _all(api, "/api/v1/pods")
        if has_sidecar(pod["spec"])
        and not has_condition(pod, "Ready")
        and pod.get("status", {}).get("phase") not in FINISHED
    ]
    if unready:
        raise Warned(f"not ready: {_some(unready)}")


async def _not_meshed(api: ApiServer, namespace: str) -> None:
    """Pods that the injector would give a sidecar and that have none: they were made while it was away."""
    try:
        linkerd = await installed(api)
    except ApiError:
        linkerd = False  # who may not know
    settings = Injected(namespace=namespace, linkerd_alias=not linkerd)
    inherited = {
        one["metadata"]["name"]: one["metadata"].get("annotations") or {}
        async for one in _all(api, "/api/v1/namespaces")
    }
    without = []
    async for pod in _all(api, "/api/v1/pods"):
        place = pod["metadata"]["namespace"]
        found = decide(pod, place, inherited.get(place, {}), settings)
        if (found.inject or found.refused) and pod.get("status", {}).get("phase") not in FINISHED:
            without.append(_name(pod))
    if without:
        raise Warned(f"asked for a sidecar and have none: {_some(without)}; make them anew")


async def _all(api: ApiServer, path: str) -> AsyncIterator[dict[str, Any]]:
    params = {"limit": "500"}
    while True:
        page = await api.get(path, **params)
        for thing in page.get("items") or ():
            yield thing
        following = page.get("metadata", {}).get("continue")
        if not following:
            return
        params["continue"] = following


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


CATEGORIES: Final[tuple[tuple[str, tuple[_Check, ...]], ...]] = (
    ("kubernetes-api", (_Check("can query the Kubernetes API", "k8s-api", _answers),)),
    ("kubernetes-version", (_Check("is running the minimum Kubernetes API version", "k8s-version", _version),)),
)
BEFORE: Final[tuple[tuple[str, tuple[_Check, ...]], ...]] = (
    (
        "pre-kubernetes-setup",
        (
            _Check("no mesh is installed yet", "pre-ns", _namespace_is_free),
            *(_can_create(*what) for what in CREATED),
        ),
    ),
    (
        "pre-autoscaling",
        (_Check("nobody else answers autoscalers", "pre-autoscaling", _no_other_adapter),),
    ),
)
AFTER: Final[tuple[tuple[str, tuple[_Check, ...]], ...]] = (
    (
        "smi-mesh-existence",
        (
            _Check("the mesh's namespace exists", "smi-mesh-namespace", _namespace),
            _Check("the SMI CustomResourceDefinitions are served", "smi-mesh-crds", _crds, settles=True),
            _Check("the controller is ready", "smi-mesh-controller", _controller, settles=True),
        ),
    ),
    ("smi-mesh-identity", (_Check("the issuer's certificate is there", "smi-mesh-identity", _ca, settles=True),)),
    (
        "smi-mesh-webhook",
        (
            _webhook("mutatingwebhookconfigurations", INJECTOR),
            _webhook("validatingwebhookconfigurations", VALIDATOR),
        ),
    ),
    (
        "smi-mesh-autoscaling",
        (_Check("autoscalers are answered by who should", "smi-mesh-autoscaling", _autoscalers),),
    ),
    (
        "smi-mesh-data-plane",
        (
            _Check("meshed pods are ready", "smi-mesh-data-plane", _meshed, settles=True),
            _Check("pods that ask for a sidecar have one", "smi-mesh-not-injected", _not_meshed),
        ),
    ),
)
