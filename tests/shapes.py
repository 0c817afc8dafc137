"""Hub objects written as manifests, in the shape that each version of SMI gives them.

For tests alone: how users write, so that what is read can be compared with what was meant.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from smi.access import IdentityBinding, Subject, TrafficTarget
from smi.meta import Meta
from smi.specs import HTTPMatch, HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import TrafficSplit

Manifest = dict[str, Any]
VERSIONS = ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4")


def can_be_written(thing: object) -> bool:
    """Whether a manifest can say this at all: some objects of the hub are only what a careless caller could make."""
    match thing:
        case TrafficTarget():
            subjects = [thing.destination, *thing.sources]
            known = all(s and s.name and s.kind in ("ServiceAccount", "IdentityBinding") for s in subjects)
            return known and all(rule.kind != "GRPCRoute" for rule in thing.rules)
        case IdentityBinding():
            return not (thing.pod_labels and thing.service_account)
        case TrafficSplit():
            return bool(thing.backends)
        case _:
            return True


def manifest(thing: object, version: str) -> Manifest:
    """``thing`` at ``version``, or at the nearest one that can say it."""
    match thing:
        case TrafficSplit():
            whole = all(backend.weight.denominator == 1 for backend in thing.backends)
            return _split(thing, version if whole and version != "v1alpha1" else "v1alpha1")
        case TrafficTarget():
            return _target(thing, version)
        case IdentityBinding():
            return _binding(thing)
        case HTTPRouteGroup():
            body = {"matches": [_match(match, version) for match in thing.matches]}
            return _head("specs", "HTTPRouteGroup", version, thing.meta) | _placed(
                body, version, ("v1alpha1", "v1alpha2")
            )
        case TCPRoute():
            written = version if not thing.ports else "v1alpha4"
            ports = {"spec": {"matches": {"ports": list(thing.ports)}}} if written == "v1alpha4" else {}
            return _head("specs", "TCPRoute", written, thing.meta) | ports
        case UDPRoute():
            udp = {"spec": {"matches": {"ports": list(thing.ports)}}}
            return _head("specs", "UDPRoute", "v1alpha4", thing.meta) | udp
        case _:
            raise TypeError(f"no manifest for {thing!r}")


def _head(group: str, kind: str, version: str, meta: Meta) -> Manifest:
    metadata: Manifest = {"name": meta.name, "namespace": meta.namespace}
    if meta.created is not None:
        metadata["creationTimestamp"] = meta.created.isoformat()
    return {"apiVersion": f"{group}.smi-spec.io/{version}", "kind": kind, "metadata": metadata}


def _placed(body: Manifest, version: str, at_the_top: tuple[str, ...]) -> Manifest:
    return body if version in at_the_top else {"spec": body}


def _split(split: TrafficSplit, version: str) -> Manifest:
    backends = [{"service": b.service, "weight": _weight(b.weight, version)} for b in split.backends]
    spec: Manifest = {"service": split.service, "backends": backends}
    if split.matches:
        spec["matches"] = [{"kind": reference.kind, "name": reference.name} for reference in split.matches]
    return _head("split", "TrafficSplit", version, split.meta) | {"spec": spec}


def _weight(weight: Fraction, version: str) -> int | str:
    return f"{weight * 1000}m" if version == "v1alpha1" else int(weight)


def _target(target: TrafficTarget, version: str) -> Manifest:
    assert target.destination is not None
    destination = _subject(target.destination)
    if target.port is not None:
        destination["port"] = str(target.port) if version == "v1alpha1" else target.port
    rules = []
    for rule in target.rules:
        matches = {} if rule.matches is None else {"matches": list(rule.matches)}
        rules.append({"kind": rule.kind, "name": rule.name, **matches})
    body = {
        "destination": destination,
        "sources": [_subject(source) for source in target.sources],
        "specs" if version == "v1alpha1" else "rules": rules,
    }
    return _head("access", "TrafficTarget", version, target.meta) | _placed(body, version, ("v1alpha1",))


def _subject(subject: Subject) -> Manifest:
    namespace = {"namespace": subject.namespace} if subject.namespace else {}
    return {"kind": subject.kind, "name": subject.name, **namespace}


def _binding(binding: IdentityBinding) -> Manifest:
    schemes: Manifest = {"spiffeIdentities": list(binding.spiffe_identities)}
    if binding.pod_labels:
        schemes["podLabelSelector"] = {"matchLabels": dict(binding.pod_labels)}
    if binding.service_account:
        schemes["serviceAccount"] = binding.service_account
    return _head("access", "IdentityBinding", "v1alpha4", binding.meta) | {"spec": {"schemes": schemes}}


def _match(match: HTTPMatch, version: str) -> Manifest:
    written: Manifest = {"name": match.name, "methods": list(match.methods) or ["*"]}
    if match.path_regex:
        written["pathRegex"] = match.path_regex
    names = [name for name, _ in match.headers]
    if len(set(names)) == len(names) and version != "v1alpha2":
        written["headers"] = dict(match.headers)
    else:
        written["headers"] = [{name: pattern} for name, pattern in match.headers]
    return written
