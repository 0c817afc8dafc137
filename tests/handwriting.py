"""Random manifests in every form that users and tools give them and ``smi.decode`` takes: for the property tests.

``shapes`` writes the plain form of an object; here it is bent the ways the field bends it.
"""

from __future__ import annotations

from typing import Any

import scenes
from hypothesis import strategies as st
from shapes import VERSIONS, Manifest, can_be_written, manifest

_quantity = st.sampled_from(
    (0, 1, 90, "0", "1", "90", "900m", "0.9", ".5", 0.5, 1.0, "1e3", "1e-7", "100u", "1n", "2Ki", "1e-30", "9e18", "7E")
)
_whole = st.sampled_from((0, 1, 10, 90, 100, 2**40, "90", "010"))
_port = st.sampled_from((None, "", 8080, "8080", "08080"))
_owner = st.dictionaries(st.sampled_from(("acme.example/owner", "q")), st.text(max_size=5), min_size=1)
_annotations: st.SearchStrategy[Any] = st.one_of(st.none(), st.just({}), _owner)
_status = st.sampled_from(({}, {"summary": "fine"}, {"conditions": [{"type": "Accepted", "status": "True"}]}))
_headers: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.just([]),
    st.just({}),
    st.dictionaries(st.sampled_from(("X-User", "x-user", "host")), st.sampled_from(("alice", "a.*", 1)), max_size=2),
    st.lists(st.sampled_from(({"x-user": "al"}, {"x-beta": "1", "host": "w.*"}, {})), max_size=3),
)
_ports = st.lists(st.sampled_from((8080, 9090, "8080")), max_size=2)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Any object of any kind of SMI, at any version of its kind."""
    thing = draw(scenes.smi_objects.filter(can_be_written))
    return draw(bent(manifest(thing, draw(st.sampled_from(VERSIONS)))))


@st.composite
def bent(draw: st.DrawFn, plain: Manifest) -> Manifest:
    """``plain`` as somebody else would write it. Its meaning may change, but it stays a manifest that decodes."""
    kind, version = plain["kind"], plain["apiVersion"].rpartition("/")[2]
    for name, choice in (
        ("annotations", _annotations),
        ("labels", _owner),
        ("managedFields", st.just([{"manager": "x"}])),
    ):
        if draw(st.booleans()):
            plain["metadata"][name] = draw(choice)
    if draw(st.booleans()):
        plain["status"] = draw(_status)
    if draw(st.sampled_from((False, False, True))):
        plain["zz"] = {"a": [None, 1.0, 1, True]}
    match kind:
        case "TrafficSplit":
            _bend_split(draw, plain, version)
        case "TrafficTarget":
            _bend_target(draw, plain)
        case "HTTPRouteGroup":
            _bend_group(draw, plain)
        case "TCPRoute":
            _bend_route(draw, plain)
        case _:
            pass
    return plain


def _bend_split(draw: st.DrawFn, plain: Manifest, version: str) -> None:
    for leaf in plain["spec"]["backends"]:
        if draw(st.booleans()):
            leaf["weight"] = draw(_quantity if version == "v1alpha1" else _whole)
        if draw(st.booleans()):
            leaf["zz"] = None
    if "matches" not in plain["spec"] and draw(st.booleans()):
        plain["spec"]["matches"] = draw(st.sampled_from((None, [])))


def _bend_target(draw: st.DrawFn, plain: Manifest) -> None:
    top, spec = (plain, plain.setdefault("spec", {}))
    if "destination" in top and draw(st.booleans()):
        for name in ("destination", "sources"):
            spec[name] = top.pop(name)
        if draw(st.booleans()):
            spec[draw(st.sampled_from(("specs", "rules")))] = top.pop("specs", [])
    elif "destination" in spec and draw(st.booleans()):
        top["destination"] = draw(st.sampled_from((None, spec["destination"])))
    at = spec if "destination" in spec else top
    port = draw(_port)
    if port is not None or draw(st.booleans()):
        at["destination"] = {**at["destination"], "port": port}
    for source in at.get("sources") or []:
        if draw(st.booleans()):
            source["port"] = 1
    if not spec and draw(st.booleans()):
        plain["spec"] = None


def _bend_group(draw: st.DrawFn, plain: Manifest) -> None:
    at = plain if "matches" in plain else plain["spec"]
    for match in at["matches"]:
        if draw(st.booleans()):
            match["headers"] = draw(_headers)
        if draw(st.booleans()):
            match.pop("methods", None)
    if draw(st.booleans()):
        other: Any = plain["spec"] if at is plain and "spec" in plain else plain if at is not plain else None
        if other is None:
            plain["spec"] = {"matches": plain.pop("matches")} if draw(st.booleans()) else {}
        else:
            other["matches"] = draw(st.sampled_from((None, [], [{"name": "zz"}])))
    if draw(st.booleans()) and "spec" in plain and "matches" in plain["spec"] and "matches" not in plain:
        plain["matches"] = plain.pop("spec")["matches"]


def _bend_route(draw: st.DrawFn, plain: Manifest) -> None:
    if draw(st.booleans()):
        plain["spec"] = draw(
            st.one_of(
                st.sampled_from((None, {}, {"matches": None}, {"matches": {}}, {"matches": {"name": "q"}})),
                _ports.map(lambda ports: {"matches": {"ports": ports}}),
                _ports.map(lambda ports: {"matches": {"ports": ports, "name": "q"}, "zz": 1}),
            )
        )
