"""``kubectl get -w``: what changed, as long as one may see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from eventually import eventually
from metricsworld import TABLE, V1, V2, Client, counts, entry, observed_of, scene, shops, status_of

from translator.metricsapi.server import Seen

Body = dict[str, Any]


class Events:
    """Of one watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> Body:
        """One event, or an empty one at the end."""
        line = await self._answer.content.readline()
        found: Body = json.loads(line) if line else {}
        return found


@asynccontextmanager
async def watching(client: Client, path: str, **headers: str) -> AsyncIterator[Events]:
    """Begins when the first look has been taken."""
    before = len(client.gate.asked)
    async with client.session.get(f"{client.base}{path}", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        # The right is asked for before the answer begins, and at each look: the second look is over at the third.
        await eventually(lambda: len(client.gate.asked) >= before + 4)
        yield Events(answer)


def more(client: Client, **counted: Any) -> None:
    """Something was counted."""
    seen = client.state["seen"]
    assert seen is not None
    observed = replace(seen.observed, entries=[*seen.observed.entries, entry(counted)])
    client.state["seen"] = Seen(observed, seen.partial)


def test_what_changed_and_nothing_else() -> None:
    async def play(client: Client) -> None:
        async with watching(client, f"{V2}/pods?watch=1") as events:
            more(client, by="shop/web-2", ok=5, **{"from": ""})
            event = await events.next()
            assert (event["type"], event["object"]["kind"]) == ("MODIFIED", "TrafficMetrics")
            assert (event["object"]["metadata"]["name"], counts(event["object"])) == ("web-2", (36, 0))
            more(client, by="shop/web-1", ok=1, **{"from": ""})
            assert counts((await events.next())["object"]) == (66, 3)

    scene(play)


def test_rows_where_a_table_is_asked_for() -> None:
    async def play(client: Client) -> None:
        path = f"{V1}/namespaces/shop/trafficmetrics?watch=true&includeObject=Object"
        async with watching(client, path, Accept=TABLE) as events:
            more(client, by="shop/web-2", ok=5, **{"from": ""})
            rows = {}
            for _ in range(2):
                event = await events.next()
                assert (event["type"], event["object"]["kind"]) == ("MODIFIED", "Table")
                [row] = event["object"]["rows"]
                assert row["object"]["apiVersion"] == "metrics.smi-spec.io/v1alpha1"
                rows[row["cells"][0]] = row["cells"][3]
            assert rows == {"deployment.web": "10.4", "pod.web-2": "3.6"}

    scene(play)


def test_one_name_in_two_namespaces() -> None:
    case = {
        "pods": [
            {"pod": "a/x", "as": "x", "workload": "Pod/x"},
            {"pod": "b/x", "as": "x", "workload": "Pod/x"},
        ],
        "counted": [{"by": "a/x", "from": "", "ok": 1}],
    }

    async def play(client: Client) -> None:
        async with watching(client, f"{V2}/pods?watch=1") as events:
            for namespace in ("b", "a"):
                more(client, by=f"{namespace}/x", ok=1, **{"from": ""})
                assert (await events.next())["object"]["metadata"]["namespace"] == namespace

    scene(play, observed_of(case))


def test_selectors_hold() -> None:
    async def play(client: Client) -> None:
        for query in ("labelSelector=app=web", "fieldSelector=metadata.name=web-2"):
            async with watching(client, f"{V2}/pods?watch=1&{query}") as events:
                more(client, by="shop/client-1", ok=5, **{"from": ""})
                more(client, by="shop/web-2", ok=5, **{"from": ""})
                assert (await events.next())["object"]["metadata"]["name"] == "web-2"

    scene(play)


def test_the_right_is_watch_and_it_is_asked_for_again_and_again() -> None:
    async def play(client: Client) -> None:
        for path in ("pods", "edges"):
            async with watching(client, f"{V2}/namespaces/shop/{path}?watch=1", user="tenant") as events:
                own = [one for one in client.gate.asked if one.verb == "watch"]
                assert {(one.resource, one.namespace) for one in own} == {(path, "shop")}
                client.gate.rights["tenant"].clear()
                event = await events.next()
                assert (event["type"], event["object"]["kind"], event["object"]["code"]) == ("ERROR", "Status", 403)
                assert await events.next() == {}
            status_of(await client.ask(f"{V2}/namespaces/shop/{path}?watch=1", user="tenant"), 403)
            client.gate.rights["tenant"].add("shop")
            client.gate.asked.clear()

    scene(play)


def test_peers_elsewhere_are_not_told_of() -> None:
    async def play(client: Client) -> None:
        path = f"{V2}/namespaces/shop/deployments/web/edges?watch=1"
        for accept in ("application/json", TABLE):
            async with watching(client, path, user="tenant", Accept=accept) as events:
                more(client, by="shop/web-1", ok=5, **{"from": "vault/spy"})
                event = await events.next()
                assert "web.from.unknown" in json.dumps(event)
                assert "spy" not in json.dumps(event)
                assert "vault" not in json.dumps(event)

    scene(play)


def test_what_is_there_no_more_ends_the_watch() -> None:
    async def play(client: Client) -> None:
        async with watching(client, f"{V2}/namespaces/vault/deployments/safe/edges?watch=1") as events:
            client.state["seen"] = Seen(observed_of({"pods": []}))
            event = await events.next()
            assert (event["type"], event["object"]["code"]) == ("ERROR", 404)
            client.state["seen"] = Seen(shops())

    scene(play)


def test_it_ends_when_it_shall() -> None:
    async def play(client: Client) -> None:
        answer = await client.ask(f"{V2}/pods?watch=1&timeoutSeconds=1")
        assert (answer.status, answer.text) == (200, "")

    scene(play)


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "pods?watch=1"), ("GET", "pods?watch=0"), ("GET", "namespaces/shop/pods/web-1?watch=1")],
)
def test_what_is_no_watch(method: str, path: str) -> None:
    async def play(client: Client) -> None:
        answer = await client.ask(f"{V2}/{path}", method=method)
        assert answer.status == 200
        assert answer.headers["Content-Length"]

    scene(play)


def test_a_client_that_goes_is_looked_after_no_more() -> None:
    async def play(client: Client) -> None:
        async with watching(client, f"{V2}/pods?watch=1"):
            pass
        streak, known = 0, 0

        def no_more_looks() -> bool:
            nonlocal streak, known
            streak, known = streak + 1 if known == len(client.gate.asked) else 0, len(client.gate.asked)
            return streak >= 40

        await eventually(no_more_looks)

    scene(play)
