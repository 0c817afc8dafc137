"""Golden cases of what Prometheus is asked for which request, and that no name gets out of its quotes.

To write them anew after an intended change, and then to read the diff:

    SMI_MESH_REWRITE_GOLDEN=1 pytest tests/translator/metricsapi/test_prometheus_queries.py
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import yaml
from fakeprometheus import unquoted
from hypothesis import given
from hypothesis import strategies as st
from metricsworld import shops
from promql import selectors

from translator.metricsapi.asked import asked
from translator.metricsapi.prometheus import client, queries
from translator.metricsapi.prometheus.backend import LONGEST
from translator.resources import Resource

GOLDEN = Path(__file__).parent / "queries" / "queries.yaml"
ANEW = os.environ.get("SMI_MESH_REWRITE_GOLDEN") == "1"


def asked_for(path: str) -> list[str]:
    place, _, query = path.partition("?")
    wanted = asked(tuple(place.strip("/").split("/")), dict(parse_qsl(query)), LONGEST)
    found = queries.plan(wanted, shops().pods.values())
    texts = [queries.pages_query(found.matching, found.seconds)] if found.matching else []
    for side in found.sides:
        texts += [queries.answers_query(side, found.seconds), queries.times_query(side, found.seconds)]
    return texts


def test_golden_queries() -> None:
    cases = yaml.safe_load(GOLDEN.read_text())
    found = {path: asked_for(path) for path in cases}
    if ANEW:
        GOLDEN.write_text(yaml.safe_dump(found, sort_keys=False, width=10_000))
    assert found == cases


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_value_gets_out_of_its_quotes(one: str, other: str) -> None:
    query = queries.answers_query(
        queries.Side(
            direction="inbound",
            matching=(f"{queries.equal('namespace', one)},{queries.one_of('pod', [other, one])}",),
            by=("pod",),
        ),
        30.0,
    )
    [selector] = selectors(query)
    values = {matcher.label: unquoted(matcher.value) for matcher in selector.matchers}
    assert list(values) == ["direction", "namespace", "pod"]
    assert values["namespace"] == one
    [named] = [matcher for matcher in selector.matchers if matcher.label == "pod"]
    named = named._replace(value=values["pod"])
    assert named.meets({"pod": one})
    assert named.meets({"pod": other})
    assert not named.meets({"pod": f"{one}{other}x"})


def test_what_looks_like_a_query_is_a_name() -> None:
    evil = 'x"}[30s]) or vector(1) or increase(y{a="'
    [text] = queries._called(Resource("TrafficSplit", "shop", evil))
    assert [one.label for one in selectors(f"m{{{text}}}")[0].matchers] == ["dst_namespace", "split"]
    assert len(selectors(f"m{{{text}}}")) == 1


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("prometheus:9090", "no http"),
        ("ftp://prometheus", "no http"),
        ("http://", "no http"),
        ("http://[", "no http"),
        ("http://me:secret@prometheus", "user or a password"),
        ("http://prometheus?x=1", "ends with its path"),
        ("http://prometheus/#x", "ends with its path"),
    ],
)
def test_an_address_that_is_none(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as found:
        client.checked(text)
    assert "secret" not in str(found.value)


def test_an_address_may_have_a_path() -> None:
    assert client.checked("https://mimir.example:8443/prometheus/") == "https://mimir.example:8443/prometheus"
