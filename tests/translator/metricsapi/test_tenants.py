"""Who may look at one namespace sees nothing of another, by whatever way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from metricsworld import ROOT, TABLE, V1, V2, Client, counts, observed_of, scene, status_of

SECRETS = ("vault", "spy", "safe", "secrets")
"""What stands for the other namespace in every text."""

VAULT = "namespaces/vault"


def silent(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    "path",
    [
        "pods", "deployments", "services", "trafficsplits", "trafficmetrics", "namespaces", "nodes", "nodes/one",
        "nodes/one/edges", "traffic", VAULT, f"{VAULT}/", f"{VAULT}/edges", f"{VAULT}/pods", f"{VAULT}/pods/safe-1",
        f"{VAULT}/pods/nobody", f"{VAULT}/pods/safe-1/edges", f"{VAULT}/trafficmetrics", f"{VAULT}/traffic",
        f"{VAULT}/trafficmetrics/pod.safe-1", f"{VAULT}/services/safe", "namespaces/nowhere/pods",
        "pods?fieldSelector=metadata.namespace=shop", "pods?fieldSelector=metadata.name=web-1", "pods?watch=1",
        f"{VAULT}/pods?watch=1", f"{VAULT}/pods?limit=1&continue=1", "namespaces%2Fvault/pods",
    ],
)  # fmt: skip
def test_what_is_elsewhere_is_forbidden_whether_it_is_there_or_not(path: str) -> None:
    async def play(client: Client) -> None:
        for version in (V1, V2):
            for accept in ("application/json", TABLE):
                answer = await client.ask(f"{version}/{path}", user="tenant", Accept=accept)
                assert status_of(answer, 403)["reason"] == "Forbidden"
                assert "safe-1" not in answer.text

    scene(play)


@pytest.mark.parametrize(
    "path",
    ["pods/safe-1", "trafficmetrics/pod.safe-1", "trafficmetrics/namespace.vault", "trafficmetrics/node.one",
     "deployments/spy", "trafficmetrics/deployment.spy", "trafficmetrics/pod.vault.safe-1", "pods/vault.safe-1"],
)  # fmt: skip
def test_in_ones_own_namespace_others_names_are_nobody(path: str) -> None:
    async def play(client: Client) -> None:
        status_of(await client.ask(f"{V2}/namespaces/shop/{path}", user="tenant"), 404)
        status_of(await client.ask(f"{V2}/namespaces/shop/{path}/edges", user="tenant"), 404)

    scene(play)


def own_paths() -> list[str]:
    plurals = ["deployments", "replicasets", "statefulsets", "services", "trafficsplits", "trafficmetrics", "pods"]
    named = ["deployments/web", "deployments/client", "pods/web-1", "replicasets/web-x", "services/web",
             "trafficsplits/rollout", "trafficmetrics/deployment.web"]  # fmt: skip
    places = [*plurals, *named, *[f"{one}/edges" for one in named], "edges"]
    return ["namespaces/shop", *[f"namespaces/shop/{place}" for place in places]]


def test_all_of_ones_own_says_nothing_of_others() -> None:
    async def play(client: Client) -> None:
        for path in own_paths():
            for query in ("", "?includeObject=Object", "?limit=1", "?limit=1&continue=1", "?continue=99"):
                for accept in ("application/json", TABLE):
                    answer = await client.ask(f"{V2}/{path}{query}", user="tenant", Accept=accept)
                    assert answer.status == 200, path
                    assert silent(answer.text), path

    scene(play)


def test_the_numbers_of_hidden_peers_are_with_the_unknown() -> None:
    async def play(client: Client) -> None:
        path = f"{V2}/namespaces/shop/deployments/web/edges"
        items = (await client.get(path, user="tenant"))["items"]
        assert {one["metadata"]["name"]: counts(one) for one in items} == {
            "web.from.deployment.client": (87, 3), "web.from.unknown": (9, 0), "web.to.unknown": (2, 1)
        }  # fmt: skip
        client.gate.rights["tenant"].add("vault")
        assert len((await client.get(path, user="tenant"))["items"]) == 4

    scene(play)


@pytest.mark.parametrize("accept", ["application/json", TABLE])
def test_no_selector_finds_a_hidden_peer(accept: str) -> None:
    async def play(client: Client) -> None:
        path = f"{V2}/namespaces/shop/deployments/web/edges"
        for name in ("web.from.deployment.spy.vault", "web.from.deployment.spy", "web.to.deployment.safe.vault"):
            for sign, found in (("=", 0), ("!=", 3)):
                query = f"fieldSelector=metadata.name{sign}{name}"
                body = await client.get(f"{path}?{query}", user="tenant", Accept=accept)
                assert len(body.get("items", body.get("rows"))) == found

    scene(play)


# -- questions --------------------------------------------------------------------------------------------------------

OWN = f"{V2}/namespaces/shop/traffic"


@pytest.mark.parametrize(
    "query",
    [
        "resource=deploy&from=deploy/spy&fromNamespace=vault", "resource=deploy&to=deploy/safe&toNamespace=vault",
        "resource=deploy&from=deploy/spy&fromNamespace=", "resource=deploy&from=ns/vault",
        "resource=deploy&to=ns/vault",
        "resource=svc/web&from=ns", "resource=deploy/web&from=node/two",
        "resource=ts&from=deploy/spy&fromNamespace=vault",
        "resource=deploy&from=deploy/x&fromNamespace=nowhere", "resource=ns", "resource=ns/vault", "resource=node",
        "resource=node/two", "view=edges&resource=ns", "view=top&resource=node/two", "view=routes&resource=ns/vault",
    ],
)  # fmt: skip
def test_questions_about_others(query: str) -> None:
    async def play(client: Client) -> None:
        status_of(await client.ask(f"{OWN}?{query}", user="tenant"), 403)
        assert (await client.ask(f"{OWN}?{query}&namespace=vault", user="tenant")).status == 403

    scene(play)


@pytest.mark.parametrize("view", ["stat", "edges", "top", "routes"])
@pytest.mark.parametrize(
    "resource", ["deploy", "deploy/web", "po", "po/web-1", "svc", "svc/web", "ts", "tt", "ns/shop"]
)
def test_answers_about_ones_own(view: str, resource: str) -> None:
    async def play(client: Client) -> None:
        # Another namespace in the query is not the one that is asked about.
        for query in (f"view={view}&resource={resource}", f"view={view}&resource={resource}&namespace=vault"):
            answer = await client.ask(f"{OWN}?{query}", user="tenant")
            assert answer.status in (200, 400), answer.text
            assert silent(answer.text)

    scene(play)


def rows(body: Any, *names: str) -> set[tuple[Any, ...]]:
    return {(*(row[name] for name in names), row["stats"]["requests"]) for row in body["rows"]}


def test_ends_that_may_not_be_seen_are_empty_and_their_routes_too() -> None:
    async def play(client: Client) -> None:
        edges = await client.get(f"{OWN}?view=edges&resource=deploy/web", user="tenant")
        assert rows(edges, "source", "destination") == {
            ("client", "web", 90),
            ("", "web", 4),
            ("", "web", 5),
            ("web", "", 3),
        }
        top = await client.get(f"{OWN}?view=top&resource=deploy/web", user="tenant")
        assert rows(top, "source", "destination", "route") == {
            ("shop/client", "shop/web", "", 90), ("", "shop/web", "", 5), ("", "shop/web", "", 4), ("shop/web", "",
            "", 3)
        }  # fmt: skip
        of_all = await client.get(f"{OWN}?view=edges&resource=ns/shop", user="tenant")
        assert rows(of_all, "source", "destination") == {
            ("shop", "shop", 90),
            ("", "shop", 4),
            ("", "shop", 5),
            ("shop", "", 3),
        }
        client.gate.rights["tenant"].add("vault")
        edges = await client.get(f"{OWN}?view=edges&resource=deploy/web", user="tenant")
        assert ("spy", "web", 5) in rows(edges, "source", "destination")
        top = await client.get(f"{OWN}?view=top&resource=deploy/web", user="tenant")
        assert ("shop/web", "vault/safe", "secrets/read", 3) in rows(top, "source", "destination", "route")
        stat = await client.get(f"{OWN}?resource=deploy/web&from=deploy/spy&fromNamespace=vault", user="tenant")
        assert rows(stat, "name") == {("web", 5)}

    scene(play)


# -- who nobody is ----------------------------------------------------------------------------------------------------


def test_who_is_not_known_gets_nothing_at_all() -> None:
    async def play(client: Client) -> None:
        for path in ("/apis", ROOT, V2, "/openapi/v2", f"{V2}/pods", f"{V2}/nonsense", "/elsewhere", f"{OWN}?x"):
            for method in ("GET", "HEAD", "POST"):
                answer = await client.ask(path, method=method, user="nobody")
                assert answer.status == 401
                assert silent(answer.text)
        assert client.gate.asked == []

    scene(play)


def test_rights_are_asked_for_before_anything_is_looked_at() -> None:
    async def play(client: Client) -> None:
        client.state["seen"] = None
        status_of(await client.ask(f"{V2}/{VAULT}/pods", user="tenant"), 403)
        status_of(await client.ask(f"{V2}/namespaces/shop/pods", user="tenant"), 503)

    scene(play)


def test_discovery_is_for_everybody_who_got_in() -> None:
    async def play(client: Client) -> None:
        client.gate.rights["pauper"] = set()
        for path in ("/apis", ROOT, V2, "/openapi/v3"):
            assert (await client.ask(path, user="pauper")).status == 200
        status = status_of(await client.ask(f"{V2}/namespaces/shop/pods", user="pauper"), 403)
        assert json.dumps(status)

    scene(play)


def test_who_may_everywhere_is_not_asked_about_for_each_namespace() -> None:
    pods = [{"pod": f"n{number}/a", "as": "a", "workload": "Pod/a"} for number in range(50)]
    calls = [{"by": "n0/a", "from": f"n{number}/a", "ok": 1} for number in range(50)]

    async def play(client: Client) -> None:
        assert len((await client.get(f"{V2}/namespaces/n0/pods/a/edges"))["items"]) == 50
        assert len(client.gate.asked) == 2
        client.gate.rights["tenant"] = {"n0", "n7"}
        items = (await client.get(f"{V2}/namespaces/n0/pods/a/edges", user="tenant"))["items"]
        assert sorted(one["metadata"]["name"] for one in items) == ["a.from.pod.a", "a.from.pod.a.n7", "a.from.unknown"]

    scene(play, observed_of({"pods": pods, "counted": calls}))
