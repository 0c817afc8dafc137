"""The pages of a list come out of one look at the traffic, for who began it alone, and for as long as is promised."""

from __future__ import annotations

from typing import Any

import pytest
from metricsworld import TABLE, V1, V2, Client, counts, observed_of, scene, shops, status_of

from translator.metricsapi.asked import asked
from translator.metricsapi.bodies import Moment
from translator.metricsapi.items import items
from translator.metricsapi.pages import (
    KEPT_SECONDS,
    MOST_ITEMS,
    MOST_LISTS,
    MOST_OF_ONE,
    Listing,
    Listings,
    Question,
    question_of,
)
from translator.metricsapi.server import Seen
from translator.metricsapi.status import Refused

PODS = f"{V2}/pods?limit=2"
EMPTY = Seen(observed_of({"pods": []}))
"""A cluster in which all of it has gone."""


def names(body: Any) -> list[str]:
    return [one["metadata"]["name"] for one in body["items"]]


@pytest.mark.parametrize("kind", ["pods", "trafficmetrics", "services"])
def test_pages_are_of_one_moment(kind: str) -> None:
    async def play(client: Client) -> None:
        everything = (await client.get(f"{V2}/{kind}"))["items"]
        body = await client.get(f"{V2}/{kind}?limit=1")
        found = body["items"]
        client.state["seen"] = EMPTY
        while token := body["metadata"].get("continue"):
            body = await client.get(f"{V2}/{kind}?limit=1&continue={token}")
            found += body["items"]
            assert body["metadata"].get("remainingItemCount", 0) == len(everything) - len(found)
        assert [(one["metadata"]["name"], counts(one)) for one in found] == [
            (one["metadata"]["name"], counts(one)) for one in everything
        ]
        assert (await client.get(f"{V2}/{kind}?limit=1"))["items"] == []

    scene(play)


def test_a_page_can_be_asked_for_again_in_another_size_and_form() -> None:
    async def play(client: Client) -> None:
        token = (await client.get(PODS))["metadata"]["continue"]
        client.state["seen"] = EMPTY
        for _ in range(2):
            assert len((await client.get(f"{V2}/pods?limit=3&continue={token}"))["items"]) == 3
            assert len((await client.get(f"{PODS}&continue={token}", Accept=TABLE))["rows"]) == 2

    scene(play)


def test_what_is_not_kept_any_more_is_said_with_a_token_that_goes_on() -> None:
    now = [0.0]

    async def play(client: Client) -> None:
        token = (await client.get(PODS))["metadata"]["continue"]
        now[0] = KEPT_SECONDS - 1
        second = await client.get(f"{PODS}&continue={token}")
        now[0] += KEPT_SECONDS - 1  # each page makes it a minute more
        assert names(await client.get(f"{PODS}&continue={token}")) == names(second)
        now[0] += KEPT_SECONDS + 1
        status = status_of(await client.ask(f"{PODS}&continue={token}"), 410)
        assert status["reason"] == "Expired"
        assert "too old to display a consistent list result" in status["message"]
        fresh = status["metadata"]["continue"]
        again = await client.get(f"{PODS}&continue={fresh}")
        assert names(again) == names(second)
        client.state["seen"] = EMPTY  # from here on it is one list again
        assert len((await client.get(f"{PODS}&continue={again['metadata']['continue']}"))["items"]) == 2

    scene(play, clock=lambda: now[0])


@pytest.mark.parametrize(
    "path",
    [f"{V1}/pods?limit=2", f"{V2}/services?limit=2", f"{V2}/namespaces/shop/pods?limit=2", f"{PODS}&t=10s",
     f"{PODS}&labelSelector=app", f"{PODS}&fieldSelector=edge.side=server"],
)  # fmt: skip
def test_a_token_is_of_one_question(path: str) -> None:
    async def play(client: Client) -> None:
        token = (await client.get(PODS))["metadata"]["continue"]
        status_of(await client.ask(f"{path}&continue={token}"), 410)
        assert (await client.get(f"{PODS}&continue={token}"))["items"]

    scene(play)


def test_a_token_is_of_one_user() -> None:
    async def play(client: Client) -> None:
        path = f"{V2}/namespaces/shop/deployments/web/edges?limit=1"
        token = (await client.get(path))["metadata"]["continue"]
        answer = await client.ask(f"{path}&continue={token}", user="tenant")
        assert status_of(answer, 410)["metadata"] == {"continue": "1"}
        assert "vault" not in answer.text
        status_of(await client.ask(f"{PODS}&continue={token}", user="tenant"), 403)

    scene(play)


def test_rights_are_looked_at_for_each_page() -> None:
    path = f"{V2}/namespaces/shop/deployments/web/edges?limit=1"

    async def play(client: Client) -> None:
        rights = client.gate.rights["tenant"]
        rights.add("vault")
        token = (await client.get(path, user="tenant"))["metadata"]["continue"]
        rest = f"{V2}/namespaces/shop/deployments/web/edges?continue={token}"
        assert "vault" in (await client.ask(rest, user="tenant")).text
        rights.remove("vault")
        answer = await client.ask(rest, user="tenant")
        assert answer.status == 200
        assert "vault" not in answer.text
        rights.clear()
        status_of(await client.ask(rest, user="tenant"), 403)

    scene(play)


def test_a_list_that_another_controller_began_goes_on_with_what_is_known_here() -> None:
    async def play(client: Client) -> None:
        everything = names(await client.get(f"{V2}/pods"))
        body = await client.get(f"{PODS}&continue=2.0123abcd-1")
        assert names(body) == everything[2:4]
        client.state["seen"] = EMPTY
        assert names(await client.get(f"{PODS}&continue={body['metadata']['continue']}")) == everything[4:6]
        # The other controller had a page in between.
        assert names(await client.get(f"{PODS}&continue=4.0123abcd-2")) == everything[4:6]
        assert names(await client.get(f"{PODS}&continue=4.0123abcd-2&t=9s")) == [], "another question"
        client.gate.rights["other"] = {"*"}
        assert names(await client.get(f"{PODS}&continue=4.0123abcd-2", user="other")) == [], "another user's"

    scene(play)


@pytest.mark.parametrize(
    "token", ["x", "-1", "2.", "2.0123abcd", "2.0123abcd-", "2.0123ABCD-1", "2.x-1", "2.0123abcd-1.5"]
)
def test_what_is_no_token(token: str) -> None:
    async def play(client: Client) -> None:
        assert "continue" in status_of(await client.ask(f"{PODS}&continue={token}"), 400)["message"]

    scene(play)


# -- how much is kept --------------------------------------------------------------------------------------------------

LIFE = "0123abcd"
FEW = items(shops(), asked(("pods",), {}))


def kept(lists: Listings, user: str, size: int = 1) -> tuple[str, Question]:
    question, name = question_of(user, "v1alpha2", ("pods",), {}), lists.name()
    moment = Moment(version="v1alpha2", timestamp="", window="30s", seconds=30.0, listing=name)
    lists.keep(name, question, Listing(found=FEW[:1] * size, moment=moment))
    return name, question


def there(lists: Listings, name: str, question: Question) -> bool:
    try:
        return lists.get(name, question, 1) is not None
    except Refused:
        return False


def test_one_user_has_few_and_loses_the_first() -> None:
    lists = Listings(LIFE, lambda: 0.0)
    other = kept(lists, "other")
    mine = [kept(lists, "me") for _ in range(MOST_OF_ONE + 2)]
    assert [there(lists, *one) for one in mine] == [False] * 2 + [True] * MOST_OF_ONE
    assert there(lists, *other)
    name, question = mine[2]
    listing = lists.get(name, question, 1)
    assert listing is not None
    lists.keep(name, question, listing)  # a page of it
    kept(lists, "me")
    assert [there(lists, *one) for one in mine[2:5]] == [True, False, True]


def test_there_is_an_end_to_lists_and_to_items() -> None:
    lists = Listings(LIFE, lambda: 0.0)
    many = [kept(lists, f"user-{number}") for number in range(MOST_LISTS + 3)]
    assert [there(lists, *one) for one in many] == [False] * 3 + [True] * MOST_LISTS
    half = kept(lists, "half", MOST_ITEMS // 2)
    assert there(lists, *half)
    most = kept(lists, "most", MOST_ITEMS - 10)
    assert not there(lists, *half)
    assert there(lists, *most)
    assert lists.items <= MOST_ITEMS
    huge = kept(lists, "huge", MOST_ITEMS + 1)
    assert there(lists, *huge), "the latest is kept, however long it is"
    assert not there(lists, *most)


def test_what_is_over_is_given_back() -> None:
    now = [0.0]
    lists = Listings(LIFE, lambda: now[0])
    kept(lists, "me", 10)
    now[0] = KEPT_SECONDS
    lists.forget()
    assert lists.items == 0
