"""Names, and the Services that references mean."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.errors import BadName
from smi.names import (
    ServiceName,
    check_label,
    check_name,
    check_service_reference,
    parse_service_reference,
    shown,
)


@pytest.mark.parametrize("text", ["a", "0", "web-1", "a" * 63])
def test_labels(text: str) -> None:
    assert check_label(text) == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a\n", "ä", "a" * 64, "٣"], ids=lambda text: repr(text[:5])
)
def test_not_labels(text: str) -> None:
    with pytest.raises(BadName):
        check_label(text)


@pytest.mark.parametrize("text", ["a.b", "my.object-1", ".".join(["a" * 63] * 3)])
def test_names_may_have_dots(text: str) -> None:
    assert check_name(text) == text


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "a.-b", "A.b", "x" * 254])
def test_not_names(text: str) -> None:
    with pytest.raises(BadName):
        check_name(text)


@pytest.mark.parametrize("text", ["web", "Web.Default.", "web..default.svc", "web.default.svc.cluster.local"])
def test_references_stay_as_written(text: str) -> None:
    assert check_service_reference(text) == text


@pytest.mark.parametrize("text", ["", ".", "we_b", "web:80", "web/x", "-web"])
def test_not_references(text: str) -> None:
    with pytest.raises(BadName):
        check_service_reference(text)


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("web", ("shop", "web")),
        ("WEB", ("shop", "web")),
        ("web.", ("shop", "web")),
        ("web.shop", ("shop", "web")),
        ("web.other", ("other", "web")),
        ("web.shop.svc", ("shop", "web")),
        ("web.shop.svc.", ("shop", "web")),
        ("web..shop...svc", ("shop", "web")),
        ("web.shop.svc.cluster.local", ("shop", "web")),
        ("Web.Shop.SVC.Cluster.Local.", ("shop", "web")),
    ],
)
def test_every_form_of_a_service(text: str, service: tuple[str, str]) -> None:
    assert parse_service_reference(text, "shop", "cluster.local") == ServiceName(*service)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no Service is named"),
        ("..", "no Service is named"),
        ("we_b", "`we_b` is not a valid name"),
        ("web.sh_op", "`sh_op` is not a valid name"),
        ("web.shop.cluster.local", "not a Service's name in the domain cluster.local"),
        ("web.shop.svc.cluster", "not a Service's name in the domain cluster.local"),
        ("web.shop.svc.example.org", "not a Service's name in the domain cluster.local"),
    ],
)
def test_no_service(text: str, reason: str) -> None:
    found = parse_service_reference(text, "shop", "cluster.local")
    assert isinstance(found, str)
    assert reason in found


def test_the_domain_is_the_meshs_own() -> None:
    assert parse_service_reference("web.shop.svc.k8s.corp", "shop", "k8s.corp.") == ServiceName("shop", "web")
    assert isinstance(parse_service_reference("web.shop.svc.cluster.local", "shop", "k8s.corp"), str)


@settings(deadline=None)
@given(st.text())
def test_any_reference_is_a_service_or_a_reason(text: str) -> None:
    found = parse_service_reference(text, "shop", "cluster.local")
    if isinstance(found, ServiceName):
        assert check_label(found.name) == found.name
    else:
        assert found


def test_shown_fits_on_a_line() -> None:
    assert shown("a\nb") == r"`a\nb`"
    assert len(shown("x" * 500)) <= 62
    assert shown(5) == "`5`"
