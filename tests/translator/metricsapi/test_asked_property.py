"""Whatever is asked is understood or refused; nothing else ever happens."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from metricsworld import shops

from translator.metricsapi.asked import asked
from translator.metricsapi.bodies import Moment, answer_of
from translator.metricsapi.godurations import seconds_of, text_of
from translator.metricsapi.items import items
from translator.metricsapi.kinds import RESOURCES
from translator.metricsapi.redact import told
from translator.metricsapi.selectors import label_selector
from translator.metricsapi.status import Refused

MOMENT = Moment(version="v1alpha2", timestamp="2030-01-01T00:00:00Z", window="30s", seconds=10.0)
WORDS = [
    *RESOURCES,
    "edges",
    "shop",
    "vault",
    "web",
    "web-1",
    "rollout",
    "rollout.web",
    "pod.web-1",
    "one",
    "",
    "..",
    "é",
]
SEGMENTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), max_size=6)
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["30s", "1", "0", "app=web", "app in (web)", "!app", "resource.kind=Pod", "edge.side!=client",
    "Object"]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["t", "labelSelector", "fieldSelector", "limit", "continue", "includeObject", "watch", "timeout"]
)


@given(SEGMENTS, st.dictionaries(NAMES, VALUES, max_size=3), st.booleans(), st.booleans())
def test_it_is_answered_or_refused(path: list[str], query: dict[str, str], table: bool, everything: bool) -> None:
    code, text = 200, ""
    try:
        wanted = asked(tuple(path), query)
        found = told(items(shops(), wanted), lambda peer: everything or peer.namespace == "shop")
        text = json.dumps(answer_of(found, wanted, MOMENT, table=table), allow_nan=False)
    except Refused as refused:
        code = refused.code
    assert code in (200, 400, 404)
    if path[:2] == ["namespaces", "shop"] and not everything:
        assert "vault" not in text
        assert "spy" not in text


@given(st.text(alphabet="a1.-_/=!<>()in, ü", max_size=30))
def test_a_label_selector_is_read_or_refused(text: str) -> None:
    code = 200
    try:
        label_selector(text)({"a": "1"})
    except Refused as refused:
        code = refused.code
    assert code in (200, 400)


@given(st.integers(min_value=0, max_value=10**13))
def test_durations_come_back(nanoseconds: int) -> None:
    assert round(seconds_of(text_of(nanoseconds / 1e9)) * 1e9) == nanoseconds
