"""Any SMI object at any version, as a manifest of another version of its kind, without loss.

Fields are moved, not written anew, so unknown ones and the user's own spelling come
along. What the wanted version cannot say goes into annotations (``smi.kept``), from
where ``smi.decode`` reads it. Where that would not give the very same manifest back,
the original goes into one more annotation. It is put back only while the manifest
says what conversion made of it: after an edit the edit counts, and the conditions
that were kept beside it. Pure. ``smi.rewrite`` applies this to files.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from smi.errors import BadAnnotation, BadQuantity, Invalid
from smi.kept import (
    KEPT,
    ORIGINAL,
    PREFIX,
    Manifest,
    annotation_steps,
    annotations_of,
    kept_headers,
    mapping_at,
    read_json,
    unfold,
    whole_weights,
    without_kept,
)
from smi.names import shown
from smi.problems import Step
from smi.quantity import quantity_of
from smi.wire.base import is_digits
from smi.wire.kinds import ALPHAS, SMI_KINDS

Kept = dict[str, object]
"""What goes into annotations: value by short name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something to tell whoever converts. ``places`` are the steps at which it may stand; one of them is there."""

    places: tuple[tuple[Step, ...], ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A manifest of the wanted version (of its only one, where the kind has no other), and what to know about it."""

    manifest: Manifest
    doubts: tuple[Doubt, ...] = ()


def convert(manifest: Manifest, version: str) -> Converted:
    """``manifest``, an SMI object that ``smi.decode`` accepts, at ``version`` (``v1alpha1`` to ``v1alpha4``).

    There and back is the very same object, over any versions in between.

    Raises:
        BadAnnotation: an earlier conversion's annotation cannot be read, or is at odds with an edit.
        Invalid: not an SMI object, or no such version.
    """
    kind, current = _identity(manifest)
    if version not in ALPHAS:
        raise Invalid(f"there is no version {shown(version)}; known: {', '.join(ALPHAS)}")
    if version not in SMI_KINDS[kind][1]:
        message = f"{kind} exists at {', '.join(SMI_KINDS[kind][1])} only: left as it is"
        return Converted(manifest=copy.deepcopy(manifest), doubts=(Doubt(places=(("apiVersion",),), message=message),))
    if version == current:
        return Converted(manifest=copy.deepcopy(manifest))
    original = _original(manifest)
    base = manifest if original is None else original
    before = _identity(base)[1]
    if version == before:
        return Converted(manifest=base)
    plain = _plain(base, version)
    if not _gives_back(_plain(plain, before), base):
        _annotate(plain, {"original": _snapshot(base)})
    return Converted(manifest=plain, doubts=(*_doubts_kept(plain, kind, version), *_doubts_kinds(plain, version)))


def _identity(manifest: Manifest) -> tuple[str, str]:
    """Kind and version.

    Raises:
        Invalid: not those of an SMI object.
    """
    kind, api_version = manifest.get("kind"), manifest.get("apiVersion")
    if isinstance(kind, str) and isinstance(api_version, str) and kind in SMI_KINDS:
        group, _, version = api_version.rpartition("/")
        if group == SMI_KINDS[kind][0] and version in SMI_KINDS[kind][1]:
            return kind, version
    raise Invalid(f"{shown(kind)} of {shown(api_version)} is no object of SMI")


def _gives_back(again: Manifest, manifest: Manifest) -> bool:
    """Whether ``again`` is ``manifest``; of what annotations keep only the meaning must be the same."""
    kind, _ = _identity(manifest)
    return _same(without_kept(again), without_kept(manifest)) and _same(
        unfold(again, kind).manifest, unfold(manifest, kind).manifest
    )


def _same(one: Manifest, other: Manifest) -> bool:
    """Equal to the letter: to Python also 1, 1.0 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _annotate(manifest: Manifest, kept: Kept) -> None:
    for short, value in kept.items():
        text = json.dumps(value, ensure_ascii=False)
        manifest["metadata"]["annotations"] = {**annotations_of(manifest), f"{PREFIX}{short}": text}


def _plain(manifest: Manifest, version: str) -> Manifest:
    """At ``version``, with annotations for what it cannot say, but without the original."""
    kind, _ = _identity(manifest)
    plain = copy.deepcopy(unfold(manifest, kind).manifest)
    plain["apiVersion"] = f"{SMI_KINDS[kind][0]}/{version}"
    if kind in _FOLDS:
        _annotate(plain, _FOLDS[kind](plain, ALPHAS.index(version) + 1))
    return plain


def _fold_split(split: Manifest, number: int) -> Kept:
    kept: Kept = {}
    spec = mapping_at(split, "spec")
    if number < 3 and "matches" in spec:
        kept["matches"] = spec.pop("matches")
    backends = spec.get("backends")
    leaves = [mapping_at(leaf) for leaf in backends] if isinstance(backends, list) else []
    written = [leaf.get("weight") for leaf in leaves]
    if number > 1 and any(type(weight) is not int for weight in written):
        kept["weights"] = written
        for leaf, weight in zip(leaves, whole_weights([_exact(weight) for weight in written]), strict=True):
            leaf["weight"] = weight
    return kept


def _exact(weight: object) -> Fraction:
    try:
        return quantity_of(weight)
    except BadQuantity as error:
        raise Invalid(f"weight: {error}") from error


def _fold_target(target: Manifest, number: int) -> Kept:
    spec = mapping_at(target, "spec")
    routes = [(spec, "rules"), (spec, "specs"), (target, "specs"), (target, "rules")]
    fields = {
        "destination": _take((spec, "destination"), (target, "destination")),
        "sources": _take((spec, "sources"), (target, "sources")),
        "specs" if number == 1 else "rules": _take(*routes),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if number == 1:
        target |= given
        _drop_empty(target, "spec")
    else:
        target["spec"] = {**given, **spec}
    return _fold_port(mapping_at(fields["destination"]), number)


def _fold_port(destination: Manifest, number: int) -> Kept:
    """v1alpha1 has it as text, v1alpha2 as a number, later versions not at all."""
    if "port" not in destination:
        return {}
    port = destination.pop("port")
    port = int(port) if isinstance(port, str) and is_digits(port) else port
    if number > 2:
        return {"port": port}
    destination["port"] = str(port) if number == 1 and isinstance(port, int) else port
    return {}


def _fold_group(group: Manifest, number: int) -> Kept:
    spec = mapping_at(group, "spec")
    matches = _take((spec, "matches"), (group, "matches"))
    if matches is None:
        return {}
    if number < 3:
        group["matches"] = matches
        _drop_empty(group, "spec")
    else:
        group["spec"] = {**spec, "matches": matches}
    if number > 1 or not isinstance(matches, list) or not any("headers" in mapping_at(match) for match in matches):
        return {}
    kept = kept_headers(matches)
    for match in matches:
        mapping_at(match).pop("headers", None)
    return {"headers": kept}


def _fold_route(route: Manifest, number: int) -> Kept:
    matches = mapping_at(route, "spec", "matches")
    if number > 3 or "ports" not in matches:
        return {}
    ports = matches.pop("ports")
    _drop_empty(route["spec"], "matches")
    _drop_empty(route, "spec")
    return {"ports": ports}


_FOLDS: Mapping[str, Callable[[Manifest, int], Kept]] = {
    "TrafficSplit": _fold_split,
    "TrafficTarget": _fold_target,
    "HTTPRouteGroup": _fold_group,
    "TCPRoute": _fold_route,
}
"""By kind: changes a manifest into the shape of v1alpha<number>, and tells what has no place there."""


def _take(*places: tuple[Manifest, str]) -> object:
    """The first value that is there, taken out of all places: the others do not count."""
    values = [mapping.pop(name, None) for mapping, name in places]
    return next((value for value in values if value is not None), None)


def _drop_empty(mapping: Manifest, name: str) -> None:
    if name in mapping and not mapping[name]:
        del mapping[name]


def _snapshot(manifest: Manifest) -> Manifest:
    """All that conversion may touch: not the status, and of the metadata only annotations of ours, or that none are."""
    body = {key: value for key, value in manifest.items() if key not in _UNTOUCHED}
    metadata = mapping_at(manifest, "metadata")
    ours = {name: text for name, text in annotations_of(manifest).items() if name.startswith(PREFIX)}
    ours.pop(ORIGINAL, None)
    if ours or ("annotations" in metadata and not metadata["annotations"]):
        body["metadata"] = {"annotations": ours or metadata["annotations"]}
    return body


_UNTOUCHED = ("kind", "metadata", "status")


def _original(manifest: Manifest) -> Manifest | None:
    """What ``manifest`` was converted from, None where that is not said or no longer holds.

    Metadata and status may have changed since: they are taken as they are now.

    Raises:
        BadAnnotation: it cannot be read.
    """
    text = annotations_of(manifest).get(ORIGINAL)
    if text is None:
        return None
    kind, version = _identity(manifest)
    snapshot = mapping_at(read_json(ORIGINAL, text))
    there = without_kept(manifest)
    metadata, ours = there["metadata"], mapping_at(snapshot, "metadata")
    original = {"apiVersion": "", "kind": kind, "metadata": metadata}
    original |= {key: value for key, value in snapshot.items() if key not in _UNTOUCHED}
    original |= {"status": there["status"]} if "status" in there else {}
    if mapping_at(ours, "annotations"):
        metadata["annotations"] = {**annotations_of(original), **ours["annotations"]}
    try:
        if not _gives_back(_plain(original, version), manifest):
            return None
    except Invalid as error:
        raise BadAnnotation(ORIGINAL, f"is not what conversion left there: {error}") from error
    if "annotations" in ours and not annotations_of(original):
        metadata["annotations"] = ours["annotations"]
    return original


_PLACES: Mapping[str, tuple[tuple[Step, ...], ...]] = {
    "matches": (("spec", "matches"),),
    "port": (("spec", "destination", "port"), ("destination", "port")),
    "headers": (("spec", "matches"), ("matches",)),
    "ports": (("spec", "matches", "ports"),),
}
"""Where what is kept stands in manifests that can say it."""


def _doubts_kept(after: Manifest, kind: str, version: str) -> Iterator[Doubt]:
    for short, places in _PLACES.items():
        name = f"{PREFIX}{short}"
        if short in KEPT[kind] and annotations_of(after).get(name, "[]") not in ("[]", "null", '""'):
            message = f"{version} cannot say this: kept in {name}, which no other mesh enforces"
            yield Doubt(places=(*places, annotation_steps(name)), message=message)


def _doubts_kinds(after: Manifest, version: str) -> Iterator[Doubt]:
    """References to kinds that came with v1alpha4. They stay, for grants are never kept in annotations."""
    if after["kind"] != "TrafficTarget" or version == ALPHAS[-1]:
        return
    fields = after if version == ALPHAS[0] else mapping_at(after, "spec")
    for name, written in (
        ("destination", "destination"),
        ("sources", "sources"),
        ("rules", "rules"),
        ("rules", "specs"),
    ):
        value = fields.get(written)
        references: list[tuple[tuple[Step, ...], object]] = [((name,), value)] if isinstance(value, dict) else []
        if isinstance(value, list):
            references = [((name, index), entry) for index, entry in enumerate(value)]
        for steps, entry in references:
            kind = mapping_at(entry).get("kind")
            if kind in ("IdentityBinding", "UDPRoute"):
                message = f"{kind} came with v1alpha4: a mesh that reads only {version} may take it for something else"
                yield Doubt(places=(("spec", *steps), steps), message=message)
