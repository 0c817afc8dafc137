"""Who may call whom: with a request, and whatever it may ask."""

from __future__ import annotations

import pytest
from shop import SHOP, WORKLOADS, mesh_of

from translator.explain.answer import Permission
from translator.explain.mesh import Mesh
from translator.explain.permissions import check
from translator.explain.question import BadQuestion, Check
from translator.local.errors import NoSuchPod

MESH = mesh_of(SHOP, WORKLOADS)
ALL = SHOP.replace('methods: [GET], pathRegex: "/api"', 'pathRegex: "/.*"')
AUDIT = (
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, annotations: {smi-mesh.io/policy-mode: audit}}\n---\n"
)


def checked(mesh: Mesh, **wanted: str) -> tuple[Permission, ...]:
    return check(mesh, Check(**wanted))


def between(mesh: Mesh, source: str, *request: str) -> dict[int, tuple[str, str, tuple[str, ...]]]:
    """By port of v1: may, by, only."""
    method, path = request or ("", "/")
    found = checked(mesh, source=f"deploy/{source}", destination="deploy/v1", method=method, path=path)
    return {one.port: (one.may, one.by, one.only) for one in found}


def test_some_requests_at_some_ports() -> None:
    conditions = ("method GET, path /api",)
    assert between(MESH, "client") == {
        8080: ("some", "default/clients-read", conditions),
        9090: ("some", "default/clients-read", conditions),
    }
    assert between(MESH, "operator") == {
        8080: ("no", "no TrafficTarget allows it", ()),
        9090: ("yes", "default/operators", ()),
    }
    assert between(MESH, "plain")[9090] == ("no", "the caller has no identity", ())


def test_a_match_without_a_condition_is_every_request() -> None:
    assert between(mesh_of(ALL, WORKLOADS), "client")[8080] == ("yes", "default/clients-read", ())


def test_one_request() -> None:
    assert between(MESH, "client", "GET", "/%61pi")[8080] == ("yes", "default/clients-read", ())
    assert between(MESH, "client", "POST", "/api")[8080] == ("no", "no TrafficTarget allows it", ())
    assert between(MESH, "client", "GET", "/api;x")[8080] == ("no", "ambiguous path: path parameter (;)", ())


def test_audit_mode_says_what_policy_would() -> None:
    mesh = mesh_of(AUDIT, SHOP, WORKLOADS)
    assert between(mesh, "operator")[8080] == ("yes", "audit mode; policy would not: no TrafficTarget allows it", ())
    assert between(mesh, "operator")[9090] == ("yes", "default/operators", ())
    assert between(mesh, "client")[8080][0] == "some"


def test_everybody_and_everybody() -> None:
    found = {(one.caller, one.server, one.port): one.may for one in checked(MESH)}
    names = ("default/client", "default/operator", "default/plain", "default/v1", "default/v2")
    assert {caller for caller, _, _ in found} == {server for _, server, _ in found} == set(names)
    assert found["default/client", "default/v2", 8080] == "some"
    assert found["default/client", "default/plain", 8080] == "yes", "it has no sidecar"
    assert found["default/client", "default/client", 8080] == "yes", "the same identity"
    assert found["default/client", "default/operator", 8080] == "no"
    assert checked(MESH, to_namespace="other") == ()


def test_what_cannot_be_asked() -> None:
    with pytest.raises(NoSuchPod):
        checked(MESH, source="deploy/nobody")
    with pytest.raises(BadQuestion, match="GET / HTTP is no request: malformed request line"):
        between(MESH, "client", "GET", "/ HTTP")
