"""Doubts about manifests that are each fine alone: references into nothing, policies that grant nothing.

None of this keeps an object from being used; SMI's own workflow creates a
split before its backends. ``smi lint`` prints it beside the problems of
``smi.decode``. Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from smi.access import IdentityBinding, Subject, TrafficTarget
from smi.decode import Origin, SmiObject
from smi.names import ServiceName, parse_service_reference, shown
from smi.sources.snapshot import Key, Snapshot
from smi.specs import HTTPMatch, HTTPRouteGroup
from smi.split import TrafficSplit
from smi.workloads import EndpointSlice, Service, Workload

DEFAULT_CLUSTER_DOMAIN = "cluster.local"
"""Kubernetes' own default."""

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""RFC 9110 §9.3 and RFC 5789. Others are fine, unless they look like one of these misspelled."""

_NO_PATH = re.compile(r"\^?\w[^?*{]")
"""How an expression begins that wants something else than the slash of every path."""

_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LintWarning:
    """One doubt, shaped as ``Problem``; ``subject`` is ``Kind namespace/name``."""

    file: str
    line: int
    field: str
    message: str
    subject: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Doubt:
    """``fields`` are the paths at which versions keep the same thing; the manifest has one of them."""

    fields: tuple[str, ...]
    message: str


def lint(snapshot: Snapshot, cluster_domain: str = DEFAULT_CLUSTER_DOMAIN) -> tuple[LintWarning, ...]:
    """Everything doubtful in ``snapshot``, by file and line (line 0 of no file where an origin is unknown)."""
    world = _World(snapshot, cluster_domain)
    found: list[LintWarning] = []
    for key, obj in snapshot.objects.items():
        origin = snapshot.origins.get(key, Origin(file="", line=0))
        for doubt in _doubts(obj, world):
            where, line = origin.locate(*doubt.fields)
            subject = f"{key[0]} {key[1]}/{key[2]}"
            found.append(LintWarning(file=origin.file, line=line, field=where, message=doubt.message, subject=subject))
    return tuple(sorted(found))


class _World:
    """Look-ups that the checks share."""

    def __init__(self, snapshot: Snapshot, cluster_domain: str) -> None:
        self._domain = cluster_domain
        self._objects: Mapping[Key, SmiObject] = snapshot.objects
        self.sliced = {
            ServiceName(namespace=obj.meta.namespace, name=obj.service)
            for obj in snapshot.objects.values()
            if isinstance(obj, EndpointSlice)
        }
        self.workloads = [obj for obj in snapshot.objects.values() if isinstance(obj, Workload)]
        splits = [obj for obj in snapshot.objects.values() if isinstance(obj, TrafficSplit)]
        self.plain = self._plain_by_root(splits)
        self.roots = {self.resolve(split.service, split.meta.namespace) for split in splits}

    def has(self, kind: str, namespace: str, name: str) -> bool:
        return (kind, namespace, name) in self._objects

    def service(self, name: ServiceName) -> Service | None:
        found = self._objects.get(("Service", *name))
        return found if isinstance(found, Service) else None

    def group(self, namespace: str, name: str) -> HTTPRouteGroup | None:
        found = self._objects.get(("HTTPRouteGroup", namespace, name))
        return found if isinstance(found, HTTPRouteGroup) else None

    def resolve(self, text: str, namespace: str) -> ServiceName | str:
        """The Service of ``namespace`` that ``text`` names, or the reason why it names none."""
        name = parse_service_reference(text, namespace, self._domain)
        if isinstance(name, ServiceName) and name.namespace != namespace:
            return f"{shown(text)} is in another namespace than this object"
        return name

    def knows_account(self, namespace: str, name: str) -> bool:
        runs = any(item.meta.namespace == namespace and item.service_account == name for item in self.workloads)
        return runs or name == "default" or self.has("ServiceAccount", namespace, name)

    def _plain_by_root(self, splits: Iterable[TrafficSplit]) -> Mapping[ServiceName, list[TrafficSplit]]:
        found: dict[ServiceName, list[TrafficSplit]] = defaultdict(list)
        for split in sorted(splits, key=lambda item: (item.meta.created or _OLDEST, item.meta.name)):
            root = self.resolve(split.service, split.meta.namespace)
            if not split.matches and isinstance(root, ServiceName):
                found[root].append(split)
        return found


def _doubts(obj: SmiObject, world: _World) -> Iterator[_Doubt]:
    match obj:
        case TrafficSplit():
            yield from _split(obj, world)
        case TrafficTarget():
            yield from _target(obj, world)
        case HTTPRouteGroup():
            yield from _group(obj)
        case IdentityBinding():
            yield from _binding(obj, world)
        case EndpointSlice():
            yield from _slice(obj, world)
        case Service():
            yield from _service(obj, world)
        case _:
            pass


def _split(split: TrafficSplit, world: _World) -> Iterator[_Doubt]:
    root = world.resolve(split.service, split.meta.namespace)
    if isinstance(root, str):
        yield _Doubt(("spec.service",), f"{root}: the split is ignored")
        return
    if world.service(root) is None:
        yield _Doubt(("spec.service",), f"there is no Service {'/'.join(root)}")
    plain = world.plain.get(root, [])
    if split in plain[1:]:
        first = plain[0].meta.key
        yield _Doubt(("spec.service",), f"{first} splits {root.name} already: this split is ignored (Conflicted)")
    if not any(backend.weight for backend in split.backends):
        yield _Doubt(("spec.backends",), "all weights are 0: every request is answered 503")
    named: set[ServiceName | str] = set()
    for index, backend in enumerate(split.backends):
        leaf = world.resolve(backend.service, split.meta.namespace)
        if leaf in named:
            message = f"{shown(backend.service)} is a backend above already: its weights add up"
            yield _Doubt((f"spec.backends[{index}].service",), message)
        named.add(leaf)
        for message in _backend(backend.service, root, split.meta.namespace, world):
            yield _Doubt((f"spec.backends[{index}].service",), message)
    for index, ref in enumerate(split.matches):
        if ref.kind != "HTTPRouteGroup":
            yield _Doubt((f"spec.matches[{index}].kind",), f"{ref.kind} never matches an HTTP request")
        elif world.group(split.meta.namespace, ref.name) is None:
            message = f"there is no HTTPRouteGroup {split.meta.namespace}/{ref.name}: it never matches"
            yield _Doubt((f"spec.matches[{index}].name",), message)


def _backend(text: str, root: ServiceName, namespace: str, world: _World) -> Iterator[str]:
    name = world.resolve(text, namespace)
    if isinstance(name, str):
        yield f"{name}: the backend is left out"
        return
    service = world.service(name)
    if service is None:
        yield f"there is no Service {'/'.join(name)}: the backend is left out"
    elif service.type == "ExternalName":
        yield f"{name.name} is an ExternalName Service: the backend is left out"
    else:
        apex = world.service(root)
        wanted = {port.port for port in apex.ports} if apex is not None else set()
        lacking = sorted(wanted - {port.port for port in service.ports})
        if lacking:
            ports = ", ".join(map(str, lacking))
            yield f"{name.name} lacks port {ports} of the root: it gets nothing there"


def _service(service: Service, world: _World) -> Iterator[_Doubt]:
    seen: dict[tuple[str, object], str] = {}
    for index, port in enumerate(service.ports):
        for what, value in (("port", (port.port, port.protocol)), ("name", port.name)):
            if (what, value) in seen and (value or len(service.ports) > 1):
                message = f"is that of {seen[what, value]} too: Kubernetes refuses it"
                yield _Doubt((f"spec.ports[{index}].{what}", f"spec.ports[{index}]"), message)
            seen.setdefault((what, value), f"ports[{index}]")
    namespace = service.meta.namespace
    name = ServiceName(namespace=namespace, name=service.meta.name)
    if service.type == "ExternalName" or not service.ports or name in world.roots:
        return
    if not service.selector:
        if name not in world.sliced:
            yield _Doubt(("spec.selector", "spec"), "no selector, and no EndpointSlice is here: nothing answers for it")
        return
    chosen = [
        item
        for item in world.workloads
        if item.meta.namespace == namespace and service.selector.items() <= item.template.labels.items()
    ]
    if world.workloads and not chosen:
        yield _Doubt(("spec.selector",), f"no pod in namespace {namespace} has these labels: nothing answers for it")
    for index, port in enumerate(service.ports):
        named = {port.name for item in chosen for container in item.containers for port in container.ports}
        if chosen and isinstance(port.target_port, str) and port.target_port not in named:
            message = f"no container behind it has a port named {shown(port.target_port)}: it leads nowhere"
            yield _Doubt((f"spec.ports[{index}].targetPort",), message)


def _slice(written: EndpointSlice, world: _World) -> Iterator[_Doubt]:
    if not written.service:
        yield _Doubt(("metadata.labels", "metadata"), "no label kubernetes.io/service-name: it is no Service's")
        return
    name = ServiceName(namespace=written.meta.namespace, name=written.service)
    label = ("metadata.labels[kubernetes.io/service-name]",)
    service = world.service(name)
    if service is None:
        yield _Doubt(label, f"there is no Service {'/'.join(name)}")
        return
    if service.selector:
        yield _Doubt(label, f"Service {service.meta.key} has a selector: its pods are called, not these endpoints")
        return
    if written.address_type == "FQDN":
        yield _Doubt(("addressType",), "names mean nothing in a slice: its endpoints are left out")
    known = {(port.name, port.protocol) for port in service.ports}
    for index, port in enumerate(written.ports):
        if (port.name, port.protocol) not in known:
            what = f"named {shown(port.name)}" if port.name else "without a name"
            message = f"Service {service.meta.key} has no {port.protocol} port {what}: {port.port} is left out"
            yield _Doubt((f"ports[{index}].name", f"ports[{index}]"), message)


def _target(target: TrafficTarget, world: _World) -> Iterator[_Doubt]:
    namespace = target.meta.namespace
    rules, sources = ("spec.rules", "spec.specs", "specs", "rules"), ("spec.sources", "sources")
    if not target.rules:
        yield _Doubt(rules, "no rules: it grants nothing (GrantsNothing)")
    if not target.sources:
        yield _Doubt(sources, "no sources: it grants nothing (GrantsNothing)")
    if target.destination is not None:
        yield from _destination(target, target.destination, world)
    for index, source in enumerate(target.sources):
        for message in _subject(source, namespace, world):
            yield _Doubt(tuple(f"{base}[{index}].name" for base in sources), message)
    for index, rule in enumerate(target.rules):
        if not world.has(rule.kind, namespace, rule.name):
            message = f"there is no {rule.kind} {namespace}/{rule.name}: it grants nothing"
            yield _Doubt(tuple(f"{base}[{index}].name" for base in rules), message)
            continue
        group = world.group(namespace, rule.name) if rule.kind == "HTTPRouteGroup" else None
        known = {match.name for match in group.matches} if group is not None else set()
        for number, name in enumerate(rule.matches or ()):
            if name not in known:
                message = f"{rule.kind} {rule.name} has no match {shown(name)}"
                yield _Doubt(tuple(f"{base}[{index}].matches[{number}]" for base in rules), message)


def _destination(target: TrafficTarget, destination: Subject, world: _World) -> Iterator[_Doubt]:
    def at(name: str) -> tuple[str, ...]:
        return f"spec.destination.{name}", f"destination.{name}"

    namespace = target.meta.namespace
    if destination.namespace not in ("", namespace):
        message = f"a target counts in its own namespace {namespace} only: it grants nothing"
        yield _Doubt(at("namespace"), message)
        return
    for message in _subject(destination, namespace, world):
        yield _Doubt(at("name"), message)
    if target.port is not None and destination.kind == "ServiceAccount":
        pods = [
            item
            for item in world.workloads
            if item.meta.namespace == namespace and item.service_account == destination.name
        ]
        ports = {port.port for item in pods for container in item.containers for port in container.ports}
        if ports and target.port not in ports:
            yield _Doubt(at("port"), f"no container of {destination.name} has port {target.port}")


def _subject(subject: Subject, namespace: str, world: _World) -> Iterator[str]:
    where = subject.namespace or namespace
    if subject.kind == "ServiceAccount":
        if not world.knows_account(where, subject.name):
            yield f"there is no ServiceAccount {where}/{subject.name}, and nothing runs as it"
    elif not world.has(subject.kind, where, subject.name):
        yield f"there is no {subject.kind} {where}/{subject.name}"


def _group(group: HTTPRouteGroup) -> Iterator[_Doubt]:
    names: set[str] = set()
    for index, match in enumerate(group.matches):
        at = (f"spec.matches[{index}]", f"matches[{index}]")
        if match.name in names:
            yield _Doubt(tuple(f"{base}.name" for base in at), f"another match is named {shown(match.name)} too")
        names.add(match.name)
        yield from _match(match, at)


def _match(match: HTTPMatch, at: tuple[str, ...]) -> Iterator[_Doubt]:
    if match.path_regex and not _reaches_the_end(match.path_regex):
        message = f"{shown(match.path_regex)} also matches every longer path; end it with `$` to mean only this"
        yield _Doubt(tuple(f"{base}.pathRegex" for base in at), message)
    if _NO_PATH.match(match.path_regex) and "|" not in match.path_regex:
        message = f"{shown(match.path_regex)} matches no path: they all begin with `/`"
        yield _Doubt(tuple(f"{base}.pathRegex" for base in at), message)
    for method in match.methods:
        near = get_close_matches(method.upper(), _METHODS, 1)
        if method != method.upper():
            message = f"methods are compared exactly: did you mean `{near[0] if near else method.upper()}`?"
            yield _Doubt(tuple(f"{base}.methods" for base in at), message)
        elif method not in _METHODS and near:
            message = f"{method} is not a usual method: did you mean `{near[0]}`?"
            yield _Doubt(tuple(f"{base}.methods" for base in at), message)


def _reaches_the_end(pattern: str) -> bool:
    """Whether ``pattern`` says where the path ends: by ``$``, or by taking all the rest."""
    for end in ("$", ".*"):
        rest = pattern.removesuffix(end)
        if rest != pattern and (len(rest) - len(rest.rstrip("\\"))) % 2 == 0:
            return True
    return False


def _binding(binding: IdentityBinding, world: _World) -> Iterator[_Doubt]:
    if not (binding.pod_labels or binding.spiffe_identities or binding.service_account):
        yield _Doubt(("spec.schemes",), "no identities: it binds nobody")
    if binding.pod_labels and world.workloads:
        alike = (item for item in world.workloads if item.meta.namespace == binding.meta.namespace)
        if not any(binding.pod_labels.items() <= item.template.labels.items() for item in alike):
            message = f"no pod in namespace {binding.meta.namespace} has these labels"
            yield _Doubt(("spec.schemes.podLabelSelector",), message)
    if binding.service_account and not world.knows_account(binding.meta.namespace, binding.service_account):
        message = f"there is no ServiceAccount {binding.meta.namespace}/{binding.service_account}"
        yield _Doubt(("spec.schemes.serviceAccount",), message)
