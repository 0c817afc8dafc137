"""What `smi check` asks a cluster: can the mesh be installed, is it well, are its pods.

Each check is a question with one answer: fine, a warning, or what is wrong. They run in order; within a category the
first one that fails ends it, for what follows depends on it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from smi.crds.definitions import definitions
from smi.sources.apiserver import ApiError, ApiServer
from translator.kube.admission.decide import INJECT
from translator.kube.names import CA_SECRET, CONTROLLER, INJECTOR, VALIDATOR
from translator.kube.pods import FINISHED, has_condition, has_sidecar

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
)
"""(group, resource, namespaced) of what an installation creates."""

State = Literal["success", "warning", "error"]


class Warned(Exception):
    """Not as it should be, yet nothing fails for it."""


class Wrong(Exception):
    """What is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One answer. ``anchor`` is its heading in the documentation."""

    category: str
    description: str
    state: State
    message: str = ""
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class _Check:
    description: str
    anchor: str
    ask: Callable[[ApiServer, str], Awaitable[None]]


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
                category=category, description=one.description, state=state, message=message, anchor=one.anchor
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

    return _Check(f"{name} trusts the controller", "smi-mesh-webhook", ask)


async def _meshed(api: ApiServer, _: str) -> None:
    unready = [
        _name(pod)
        async for pod in _pods(api)
        if has_sidecar(pod["spec"])
        and not has_condition(pod, "Ready")
        and pod.get("status", {}).get("phase") not in FINISHED
    ]
    if unready:
        raise Warned(f"not ready: {_some(unready)}")


async def _not_meshed(api: ApiServer, _: str) -> None:
    """Pods that ask for a sidecar and have none: they were made while the injector was away."""
    without = [
        _name(pod)
        async for pod in _pods(api)
        if (pod["metadata"].get("annotations") or {}).get(INJECT) == "enabled" and not has_sidecar(pod["spec"])
    ]
    if without:
        raise Warned(f"asked for a sidecar and have none: {_some(without)}; make them anew")


async def _pods(api: ApiServer) -> AsyncIterator[dict[str, Any]]:
    params = {"limit": "500"}
    while True:
        page = await api.get("/api/v1/pods", **params)
        for pod in page.get("items") or ():
            yield pod
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
)
AFTER: Final[tuple[tuple[str, tuple[_Check, ...]], ...]] = (
    (
        "smi-mesh-existence",
        (
            _Check("the mesh's namespace exists", "smi-mesh-namespace", _namespace),
            _Check("the SMI CustomResourceDefinitions are served", "smi-mesh-crds", _crds),
            _Check("the controller is ready", "smi-mesh-controller", _controller),
        ),
    ),
    ("smi-mesh-identity", (_Check("the issuer's certificate is there", "smi-mesh-identity", _ca),)),
    (
        "smi-mesh-webhook",
        (
            _webhook("mutatingwebhookconfigurations", INJECTOR),
            _webhook("validatingwebhookconfigurations", VALIDATOR),
        ),
    ),
    (
        "smi-mesh-data-plane",
        (
            _Check("meshed pods are ready", "smi-mesh-data-plane", _meshed),
            _Check("pods that ask for a sidecar have one", "smi-mesh-not-injected", _not_meshed),
        ),
    ),
)
