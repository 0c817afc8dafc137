"""What a version of SMI cannot say, kept in annotations, and put back into its place.

``smi.convert`` writes ``convert.smi-mesh.io/…`` beside a manifest of a version that
lacks a field; ``smi.decode`` reads manifests through ``unfold``, so the field counts
as if it stood there. What is kept can only take away: a condition, a port. Grants
are never kept, so no annotation lets anybody in. Where the manifest itself says the
same thing, it wins. Pure; knows plain data, no models.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NoReturn

from smi.errors import BadAnnotation, BadQuantity
from smi.names import shown
from smi.problems import Step
from smi.quantity import MAX_QUANTITY, quantity_of

Manifest = dict[str, Any]
"""A Kubernetes object as plain data."""

PREFIX = "convert.smi-mesh.io/"
ORIGINAL = f"{PREFIX}original"
"""The manifest as it was before conversion, where the rest would not give it back to the letter. Never decoded."""

KEPT: Mapping[str, Mapping[str, str]] = {
    "TrafficSplit": {"matches": "`spec.matches`", "weights": "the weights as quantities, in order"},
    "TrafficTarget": {"port": "`destination.port`"},
    "IdentityBinding": {},
    "HTTPRouteGroup": {"headers": "name and headers of each match (all of it where several have one name)"},
    "TCPRoute": {"ports": "`spec.matches.ports`"},
    "UDPRoute": {},
}
"""By kind, what may be kept: the annotation's name without its prefix, and what it keeps, in Markdown."""

MILLI = 1000
"""What fractional weights are multiplied by: v1alpha1's ``1`` is 1000m."""

ROUGH = 10**9
"""The largest weight where no factor makes all of them whole and of 63 bits; the exact ones are in the annotation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfolded:
    """A manifest in which everything stands in its place, and no annotation of ours is left.

    ``places`` tells which annotation the value at some steps came from.
    ``quantities``: its weights are v1alpha1's, whatever its version.
    """

    manifest: Manifest
    places: Mapping[tuple[Step, ...], str] = field(default_factory=dict)
    quantities: bool = False

    def source(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Where in the manifest as written the value at ``steps`` stands."""
        for place, name in self.places.items():
            if steps[: len(place)] == place:
                return annotation_steps(name)
        return steps


def annotation_steps(name: str) -> tuple[Step, ...]:
    """The way to an annotation of the full ``name``."""
    return "metadata", "annotations", name


def mapping_at(value: object, *steps: Step) -> Manifest:
    """The mapping at ``steps``; an empty one when there is none."""
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def annotations_of(manifest: object) -> Manifest:
    """``metadata.annotations``, empty when there are none."""
    return mapping_at(manifest, "metadata", "annotations")


def unfold(manifest: Manifest, kind: str) -> Unfolded:
    """``manifest``, an object of an SMI ``kind`` in any state, with all that annotations keep in its place.

    Raises:
        BadAnnotation: one that cannot be read, or belongs nowhere any more: the manifest was edited since, and
            without what is kept it might match more than was meant.
    """
    ours = {name: text for name, text in annotations_of(manifest).items() if name.startswith(PREFIX)}
    if not ours:
        return Unfolded(manifest=manifest)
    values = {}
    for name, text in ours.items():
        short = name.removeprefix(PREFIX)
        if short not in KEPT[kind] and name != ORIGINAL:
            known = ", ".join(f"{PREFIX}{one}" for one in KEPT[kind]) or "none"
            raise BadAnnotation(name, f"means nothing on this kind; known here: {known}")
        if name != ORIGINAL:
            values[short] = read_json(name, text)
    plain = without_kept(manifest)
    places: dict[tuple[Step, ...], str] = {}
    quantities = False
    for short, value in values.items():
        found = _PUT_BACK[short](plain, value)
        quantities = quantities or (short == "weights" and bool(found))
        places |= dict.fromkeys(found, f"{PREFIX}{short}")
    return Unfolded(manifest=plain, places=places, quantities=quantities)


def without_kept(manifest: Manifest) -> Manifest:
    """A copy without any annotation of ours."""
    plain = copy.deepcopy(manifest)
    annotations = annotations_of(plain)
    for name in [name for name in annotations if name.startswith(PREFIX)]:
        del annotations[name]
        if not annotations:
            del plain["metadata"]["annotations"]
    return plain


def read_json(name: str, text: object) -> Any:
    """The value of an annotation.

    Raises:
        BadAnnotation: it is not JSON, or JSON that YAML could not have said.
    """
    if not isinstance(text, str):
        raise BadAnnotation(name, f"must be text, not {shown(text)}, put it in quotes")
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadAnnotation(name, f"is not JSON: {shown(text)}") from error
    return value


def _distinct(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def whole_weights(exact: Sequence[Fraction]) -> list[int]:
    """Weights as whole numbers: as they are, else all ×1000 (×1000 again while that is not enough).

    Where no such factor stays within 63 bits they are rounded, what is above 0 never down to it.
    """
    factor = 1
    while max(exact, default=Fraction(0)) * factor <= MAX_QUANTITY:
        scaled = [weight * factor for weight in exact]
        if all(weight.denominator == 1 for weight in scaled):
            return [int(weight) for weight in scaled]
        factor *= MILLI
    largest = max(exact)
    return [max(1, int(weight * ROUGH / largest)) if weight else 0 for weight in exact]


def _put_matches(manifest: Manifest, value: object) -> list[tuple[Step, ...]]:
    """A TrafficSplit's ``matches``, v1alpha3 and later."""
    spec = mapping_at(manifest, "spec")
    if spec.get("matches") or not spec:
        return []
    spec["matches"] = value
    return [("spec", "matches")]


def _put_weights(manifest: Manifest, value: object) -> list[tuple[Step, ...]]:
    """A TrafficSplit's weights as v1alpha1 writes them, while they are those the manifest shows."""
    name = f"{PREFIX}weights"
    if not isinstance(value, list):
        raise BadAnnotation(name, "must be a list of weights")
    try:
        whole = whole_weights([quantity_of(weight) for weight in value])
    except BadQuantity as error:
        raise BadAnnotation(name, str(error)) from error
    backends = mapping_at(manifest, "spec").get("backends")
    visible = [mapping_at(leaf).get("weight") for leaf in backends] if isinstance(backends, list) else []
    if not isinstance(backends, list) or whole != visible or any(type(weight) is not int for weight in visible):
        return []
    for leaf, weight in zip(backends, value, strict=True):
        leaf["weight"] = weight
    return [("spec", "backends", index, "weight") for index in range(len(backends))]


def _put_port(manifest: Manifest, value: object) -> list[tuple[Step, ...]]:
    """A TrafficTarget's ``destination.port``, v1alpha1 and v1alpha2."""
    for above in (("spec", "destination"), ("destination",)):
        destination = mapping_at(manifest, *above)
        if destination:
            if destination.get("port") not in (None, ""):
                return []
            destination["port"] = value
            return [(*above, "port")]
    return []


def _put_ports(manifest: Manifest, value: object) -> list[tuple[Step, ...]]:
    """A TCPRoute's ``spec.matches.ports``, v1alpha4."""
    at = manifest
    for step in ("spec", "matches"):
        if at.get(step) is None:
            at[step] = {}
        if not isinstance(at[step], dict):
            return []
        at = at[step]
    if at.get("ports"):
        return []
    at["ports"] = value
    return [("spec", "matches", "ports")]


def effective_matches(manifest: object) -> tuple[tuple[Step, ...], object]:
    """An HTTPRouteGroup's ``matches`` and the way to them: under ``spec``, else at the top."""
    below = mapping_at(manifest, "spec").get("matches")
    if below is not None:
        return ("spec", "matches"), below
    return ("matches",), mapping_at(manifest).get("matches")


def kept_headers(matches: Sequence[object]) -> list[Manifest]:
    """What is kept of an HTTPRouteGroup's matches: name and headers of each, all of it where names are not distinct."""
    names = Counter(str(mapping_at(match).get("name")) for match in matches)
    return [
        {
            key: value
            for key, value in mapping_at(match).items()
            if key in ("name", "headers") or names[str(mapping_at(match).get("name"))] > 1
        }
        for match in matches
    ]


def _put_headers(manifest: Manifest, value: object) -> list[tuple[Step, ...]]:
    """The ``headers`` of an HTTPRouteGroup's matches, v1alpha2 and later, by the matches' names."""
    name = f"{PREFIX}headers"
    if not isinstance(value, list) or not all(isinstance(mapping_at(one).get("name"), str) for one in value):
        raise BadAnnotation(name, "must be a list of matches, each with its name and its headers")
    above, matches = effective_matches(manifest)
    if not isinstance(matches, list):
        return []
    bare = [
        (index, match) for index, match in enumerate(matches) if isinstance(match, dict) and not match.get("headers")
    ]
    _refuse_renamed(name, value, {_name_of(match) for match in matches}, [_name_of(match) for _, match in bare])
    places: list[tuple[Step, ...]] = []
    for one in dict.fromkeys(_name_of(match) for _, match in bare):
        named = [(index, match) for index, match in bare if _name_of(match) == one]
        entries = [entry for entry in value if entry["name"] == one]
        for (index, match), entry in _paired(name, named, entries):
            if "headers" in entry:
                match["headers"] = entry["headers"]
                places.append((*above, index, "headers"))
    return places


def _name_of(match: object) -> str:
    name = mapping_at(match).get("name")
    return name if isinstance(name, str) else ""


def _refuse_renamed(name: str, entries: Sequence[Manifest], there: set[str], bare: Sequence[str]) -> None:
    """A match with headers that is gone, beside one that is new, may be the same one renamed."""
    gone = [entry["name"] for entry in entries if entry.get("headers") and entry["name"] not in there]
    new = [one for one in bare if one not in {entry["name"] for entry in entries}]
    if gone and new:
        raise BadAnnotation(
            name,
            f"has headers of the match {shown(gone[0])}, which is not there; if that is {shown(new[0])} now, change "
            "its name here too, else take it out here",
        )


_Indexed = tuple[int, Manifest]


def _paired(name: str, matches: Sequence[_Indexed], entries: Sequence[Manifest]) -> Iterator[tuple[_Indexed, Manifest]]:
    """Matches and what is kept of them, all of one name; several entries are told apart by all but the headers."""
    if not entries:
        return
    undisputed = all(entry.get("headers") == entries[0].get("headers") for entry in entries)
    for match in matches:
        alike = [other for other in matches if _rest(other[1]) == _rest(match[1])]
        candidates = [entry for entry in entries if _rest(entry) == _rest(match[1])]
        if len(alike) == len(candidates):
            yield match, candidates[alike.index(match)]
        elif undisputed:
            yield match, entries[0]
        else:
            message = f"several matches are named {shown(entries[0]['name'])}: it is not clear whose headers hold where"
            raise BadAnnotation(name, message)


def _rest(match: Manifest) -> Manifest:
    return {key: value for key, value in match.items() if key != "headers"}


_PUT_BACK: Mapping[str, Callable[[Manifest, object], list[tuple[Step, ...]]]] = {
    "matches": _put_matches,
    "weights": _put_weights,
    "port": _put_port,
    "headers": _put_headers,
    "ports": _put_ports,
}
