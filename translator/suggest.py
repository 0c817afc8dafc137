"""From the traffic that audit mode has seen to the objects that would let exactly that in. Pure.

One TrafficTarget for each caller, workload and container port: rules of both kinds are ANDed, so a TCPRoute with the
port and an HTTPRouteGroup with the methods and paths seen there say no more than was seen. What TrafficTargets cannot
say becomes a remark. ``translator.local.audited`` asks the sidecars, ``smi policy suggest`` prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.contract.audit import Audit, Seen
from smi.workloads import Pod
from translator.local.plan import Owner

Manifest = dict[str, Any]

_ACCESS = "access.smi-spec.io/v1alpha4"
_SPECS = "specs.smi-spec.io/v1alpha4"
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_IDENTITY = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")
_NO_NAME = re.compile(r"[^a-z0-9]+")
_ANY = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """``objects`` in the order to apply them, ``remarks`` on what they do not say, a line each."""

    objects: tuple[Manifest, ...]
    remarks: tuple[str, ...]
    requests: int
    denied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the sidecar of one pod has seen."""

    pod: Pod
    audit: Audit


def owner(pod: Pod) -> Owner:
    """The workload of a pod."""
    return pod.workload_kind, pod.meta.namespace, pod.workload or pod.meta.name


def suggest(pods: Sequence[Pod], observed: Iterable[Observed], trust_domain: str) -> Suggestion:
    """The objects for what was seen; ``pods`` are all there are, by which it is told who shares an identity."""
    listed = list(observed)
    asked: dict[tuple[Owner, int, str], list[Seen]] = {}
    representatives: dict[Owner, Pod] = {}
    for one in listed:
        representatives.setdefault(owner(one.pod), one.pod)
        for seen in one.audit.seen:
            asked.setdefault((owner(one.pod), seen.port, seen.caller), []).append(seen)
    drafting = _Drafting(pods, trust_domain)
    for (workload, port, caller), seen_there in sorted(asked.items()):
        drafting.add(representatives[workload], port, caller, seen_there)
    unlisted = sum(one.audit.unlisted for one in listed)
    if unlisted:
        drafting.remark(f"{unlisted} more requests were of more kinds than a sidecar keeps; they are not here")
    every = [seen for one in listed for seen in one.audit.seen]
    return Suggestion(
        objects=tuple(drafting.objects.values()),
        remarks=tuple(drafting.remarks),
        requests=sum(seen.requests for seen in every) + unlisted,
        denied=sum(seen.denied for seen in every),
    )


class _Drafting:
    """The objects so far, each once, by kind, namespace and name."""

    def __init__(self, pods: Sequence[Pod], trust_domain: str) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.remarks: dict[str, None] = {}
        self._pods = pods
        self._trust_domain = trust_domain

    def remark(self, text: str) -> None:
        self.remarks.setdefault(text)

    def add(self, pod: Pod, port: int, caller: str, seen: Sequence[Seen]) -> None:
        """What one caller asked of one port of one workload."""
        called = f"{owner(pod)[2]}:{port}"
        requests = sum(one.requests for one in seen)
        found = _IDENTITY.fullmatch(caller)
        if found is None or found[1] != self._trust_domain:
            who = caller or "callers without identity"
            hint = "only smi-mesh.io/unmeshed: allow lets them in" if not caller else "it is of another trust domain"
            self.remark(f"{requests} requests of {who} to {called} are not here: {hint}")
            return
        ambiguous = sum(one.requests for one in seen if one.ambiguous)
        if ambiguous:
            self.remark(f"{ambiguous} requests of {caller} to {called} have ambiguous paths, which no target lets in")
        matches = _matches([one for one in seen if not one.ambiguous])
        if matches:
            self._target(pod, port, (found[2], found[3]), matches)

    def _target(self, pod: Pod, port: int, account: tuple[str, str], matches: list[Manifest]) -> None:
        namespace = pod.meta.namespace
        there, source_name = account
        apart = "" if there == namespace else f"{there}-"
        name = self._name(namespace, f"{apart}{source_name}-to-{owner(pod)[2]}-{port}")
        destination = self._destination(pod)
        source = {"kind": "ServiceAccount", "name": source_name, "namespace": there}
        self._remark_sharing(there, source_name)
        self._put(_SPECS, "TCPRoute", namespace, f"port-{port}", {"matches": {"ports": [port]}})
        self._put(_SPECS, "HTTPRouteGroup", namespace, name, {"matches": matches})
        rules = [{"kind": "TCPRoute", "name": f"port-{port}"}, {"kind": "HTTPRouteGroup", "name": name}]
        spec = {"destination": destination, "sources": [source], "rules": rules}
        self._put(_ACCESS, "TrafficTarget", namespace, name, spec)

    def _name(self, namespace: str, wanted: str) -> str:
        """``wanted``, or with a number behind it where other names gave the same."""
        taken = {name for kind, there, name in self.objects if kind == "TrafficTarget" and there == namespace}
        return _unique(wanted, taken)

    def _destination(self, pod: Pod) -> Manifest:
        """The ServiceAccount, or where other workloads have the same one, the workload's own pods by their labels."""
        namespace = pod.meta.namespace
        account = {"kind": "ServiceAccount", "name": pod.service_account, "namespace": namespace}
        if self._sharing(namespace, pod.service_account) == {owner(pod)}:
            return account
        name = owner(pod)[2]
        labelled = {owner(other) for other in self._pods if _carries(other, namespace, pod.meta.labels)}
        if labelled != {owner(pod)}:
            self.remark(
                f"ServiceAccount {namespace}/{pod.service_account} is more than {name}'s, and so are its labels: "
                "the targets close all pods of that account to everybody else"
            )
            return account
        labels = {"podLabelSelector": {"matchLabels": dict(sorted(pod.meta.labels.items()))}}
        self._put(_ACCESS, "IdentityBinding", namespace, name, {"schemes": labels})
        return {"kind": "IdentityBinding", "name": name, "namespace": namespace}

    def _sharing(self, namespace: str, account: str) -> set[Owner]:
        return {owner(pod) for pod in self._pods if (pod.meta.namespace, pod.service_account) == (namespace, account)}

    def _remark_sharing(self, namespace: str, account: str) -> None:
        names = sorted(name for _, _, name in self._sharing(namespace, account))
        if len(names) > 1:
            self.remark(f"ServiceAccount {namespace}/{account} is {', '.join(names)}: as a source it is all of them")

    def _put(self, version: str, kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        metadata = {"name": name, "namespace": namespace}
        self.objects[kind, namespace, name] = {
            "apiVersion": version,
            "kind": kind,
            "metadata": metadata,
            "spec": dict(spec),
        }


def _carries(pod: Pod, namespace: str, labels: Mapping[str, str]) -> bool:
    return pod.meta.namespace == namespace and labels.items() <= pod.meta.labels.items() and bool(labels)


def _matches(seen: Iterable[Seen]) -> list[Manifest]:
    """One match for each path, with the methods seen there; paths below a prefix that was seen too are part of it."""
    methods: dict[tuple[str, bool], set[str]] = {}
    for one in seen:
        methods.setdefault((one.path, one.below), set()).add(one.method)
    matches: list[Manifest] = []
    names: set[str] = set()
    for (path, below), used in sorted(methods.items()):
        match: Manifest = {"name": _unique(_slug(path, below), names), "methods": sorted(used)}
        if not (below and path == _ANY):
            match["pathRegex"] = _SPECIAL.sub(r"\\\g<0>", path) + (".*" if below else "$")
        matches.append(match)
    return matches


def _slug(path: str, below: bool) -> str:
    """A name that says which path is meant."""
    text = _NO_NAME.sub("-", path.lower()).strip("-")[:40].strip("-")
    if below:
        return f"below-{text}" if text else "any"
    return text or "root"


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    taken.add(candidate)
    return candidate
