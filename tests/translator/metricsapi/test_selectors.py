"""Selectors by Kubernetes' grammar: what its own tests accept and refuse."""

from __future__ import annotations

import pytest

from translator.metricsapi.selectors import field_selector, label_selector
from translator.metricsapi.status import Refused

LABELS = {"app": "web", "tier": "back", "n": "5", "empty": "", "example.com/part": "one", "in": "side"}


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "app", "app=web", "app==web", " app = web ", "app!=db", "other!=web", "!other", "! other",
        "app in (web)", "app in (db, web)", "app in(db,web)", "tier notin (front)", "other notin (x,y)",
        "app,tier=back",
        "app=web,tier in (back,front),!other", "n>4", "n<6", "n > 4 , n < 6", "empty=", "empty", "empty in (,)",
        "example.com/part=one", "app!=", "tier notin (a,)", "app in (in,notin,web)", "tier!=notin",
    ],
)  # fmt: skip
def test_it_selects(text: str) -> None:
    assert label_selector(text)(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "other", "!app", "app=db", "app==db", "app!=web", "app in (db)", "app notin (web,db)", "app,other", "n>5",
        "n<5",
        "app>1", "other>1", "other<1", "app=", "other=", "empty!=", "app=web,tier=front",
    ],
)  # fmt: skip
def test_it_does_not(text: str) -> None:
    assert not label_selector(text)(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        ",", "app,", ",app", "app,,tier", "=web", "!", "!!app", "app=web=db", "app in", "app in ()", "app in (",
        "app in web",
        "app in (a b)", "app in (a", "app in a)", "app notin ()", "!app=web", "app web", "app=a b", "app>x", "app>",
        "n>1.5",
        "app~web", "-app", "app-", "app/", "/app", "a/b/c=1", "UPPER.com/a=1", "app=-a", "app=a-", "app=" + "a" * 64,
        "k" * 64, "app=ä", "app=\x00", "app=a\nb", "app='web'", "(app)", "app)", "in", "notin=1", "in in (a)", "n>５",
        "app in (a,(b))", "a" * 254 + "/b", "x" * 9000,
    ],
)  # fmt: skip
def test_it_cannot_be_read(text: str) -> None:
    with pytest.raises(Refused, match="labelSelector") as caught:
        label_selector(text)
    assert caught.value.code == 400


def test_many_brackets_take_no_time_to_speak_of() -> None:
    with pytest.raises(Refused):
        label_selector("a in (" + "(" * 50_000)
    assert not label_selector("a in (" + "b," * 50_000 + "c)")({})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("resource.kind=Pod", (("resource.kind", True, "Pod"),)),
        ("edge.direction==from,edge.side!=client", (("edge.direction", True, "from"), ("edge.side", False, "client"))),
        ("metadata.name=", (("metadata.name", True, ""),)),
        (r"metadata.name=a\,b\=c\\", (("metadata.name", True, "a,b=c\\"),)),
        ("metadata.namespace=shop,", (("metadata.namespace", True, "shop"),)),
    ],
)
def test_fields(text: str, found: tuple[tuple[str, bool, str], ...]) -> None:
    assert field_selector(text) == found


@pytest.mark.parametrize(
    "text",
    ["spec.x=1", "metadata.name", "=a", "resource.kind in (Pod)", "a=b=c", "resource.kind=a=b", "metadata.name=\\x",
     "metadata.name=a\\", "é=1", "metadata.name>a"],
)  # fmt: skip
def test_fields_that_cannot_be_read(text: str) -> None:
    with pytest.raises(Refused, match="fieldSelector") as caught:
        field_selector(text)
    assert caught.value.code == 400
