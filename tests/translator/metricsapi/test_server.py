"""The API over HTTP: every path, every method, and what is no request at all."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from metricsworld import ROOT, TABLE, V1, V2, Client, counts, scene, served, status_of

from translator.metricsapi.kinds import RESOURCES
from translator.metricsapi.server import Seen

DOCUMENTS = ["/apis", ROOT, V1, V2, "/openapi/v2", "/openapi/v3", f"/openapi/v3{V1}", f"/openapi/v3{V2}"]
PLACES = [
    "namespaces", "namespaces/shop", "namespaces/shop/edges", "nodes", "nodes/one", "nodes/one/edges",
    *[one.plural for one in RESOURCES.values() if one.namespaced],
    *[f"namespaces/shop/{one.plural}" for one in RESOURCES.values() if one.namespaced],
    "namespaces/shop/pods/web-1", "namespaces/shop/pods/web-1/edges", "namespaces/shop/services/web",
    "namespaces/shop/services/web/edges", "namespaces/shop/deployments/web", "namespaces/shop/deployments/web/edges",
    "namespaces/shop/replicasets/web-x", "namespaces/shop/replicasets/web-x/edges",
    "namespaces/shop/statefulsets/db", "namespaces/shop/statefulsets/db/edges", "namespaces/shop/trafficsplits/rollout",
    "namespaces/shop/trafficsplits/rollout/edges", "namespaces/shop/trafficmetrics/pod.web-1", "traffic",
    "namespaces/shop/traffic",
]  # fmt: skip
ONE = {
    "deployments/web",
    "pods/web-1",
    "services/web",
    "replicasets/web-x",
    "statefulsets/db",
    "trafficsplits/rollout",
}


def test_every_path_with_and_without_slash_by_get_and_head() -> None:
    async def play(client: Client) -> None:
        for path in [*DOCUMENTS, *[f"{version}/{place}" for version in (V1, V2) for place in PLACES]]:
            whole = await client.ask(path)
            assert whole.status == 200, path
            assert whole.headers["Content-Type"].startswith("application/json")
            assert whole.body
            assert (await client.ask(f"{path}/")).status == 200, path
            head = await client.ask(path, method="HEAD")
            assert (head.status, head.text) == (200, "")

    scene(play)


def test_bodies_of_both_versions() -> None:
    async def play(client: Client) -> None:
        for version in ("v1alpha1", "v1alpha2"):
            for place in [place for place in PLACES if not place.endswith("traffic")]:
                body = await client.get(f"{ROOT}/{version}/{place}")
                assert body["apiVersion"] == f"metrics.smi-spec.io/{version}"
                single = place in ("namespaces/shop", "nodes/one") or place.count("/") == 3
                assert body["kind"] == ("TrafficMetrics" if single else "TrafficMetricsList")
                for item in [body] if single else body["items"]:
                    check(item, version)

    scene(play)


def check(item: dict[str, Any], version: str) -> None:
    """What holds of every item."""
    assert list(item) == [
        "kind", "apiVersion", "metadata", "timestamp", "window", "resource", "edge", "backend", "metrics"
    ]  # fmt: skip
    assert (item["kind"], item["apiVersion"]) == ("TrafficMetrics", f"metrics.smi-spec.io/{version}")
    assert [(one["name"], one.get("unit")) for one in item["metrics"]] == [
        ("p99_response_latency", "ms"), ("p90_response_latency", "ms"), ("p50_response_latency", "ms"),
        ("success_count", None), ("failure_count", None),
    ]  # fmt: skip
    assert all(one["value"].isdigit() for one in item["metrics"][3:])
    assert item["edge"]["side"] in ("client", "server")
    assert item["edge"]["direction"] in ("from", "to")
    assert item["window"] == "30s"
    assert item["timestamp"] == item["metadata"]["creationTimestamp"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_can_be_changed(method: str) -> None:
    async def play(client: Client) -> None:
        for path in [*DOCUMENTS, f"{V2}/pods", f"{V2}/namespaces/shop/pods/web-1", f"{ROOT}/v9", "/elsewhere"]:
            status_of(await client.ask(path, method=method), 405)

    scene(play)


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/version", "/apis/apps/v1", f"{ROOT}/v1alpha3", f"{ROOT}/v1alpha3/pods", f"{ROOT}//v1alpha2/pods",
     f"{V2}//pods", f"{V2}/pods//", f"{V2}/namespaces//pods", f"{V2}/namespaces//pods/x", f"{V2}/namespaces/shop//",
     f"{V2}/%00", f"{V2}/pods%00", f"{V2}/namespaces/%ff/pods", f"{V2}/namespaces/%2e%2e/pods",
     f"{V2}/namespaces/shop/pods/%0A",
     f"{V2}/namespaces/sho%50/pods", f"{V2}/namespaces/%ED%A0%80/pods", f"{V2}/namespaces/shop/pods/%C3%A9",
     f"{V2}/pods%2F%2F",
     f"{V2}/namespaces/shop/pods/web-9", f"{V2}/" + "a/" * 2000, f"{V2}/namespaces/shop/pods/" + "x" * 4000,
     f"{V2}/namespaces/" + "%25" * 500, "/openapi/v3/apis/apps/v1", "/openapi/v2/x", f"{ROOT}/v1alpha2x/pods",
     f"{ROOT}/v%0a2/pods", f"{V2}/pods%0a", "/%0a", f"{ROOT}%0a", f"{V2}/namespaces/shop/traffic/x",
     f"{V2}/x/shop/traffic", f"{V2}/namespaces//traffic"],
)  # fmt: skip
def test_no_such_path(path: str) -> None:
    async def play(client: Client) -> None:
        status = status_of(await client.ask(path), 404)
        assert len(status["message"]) < 400

    scene(play)


def test_a_percent_encoded_path_is_the_same_path() -> None:
    async def play(client: Client) -> None:
        assert (await client.get(f"{V2}/n%61mespaces/sh%6Fp/pods/web-1"))["metadata"]["name"] == "web-1"
        # A slash stays a slash, as in the API server: what is asked about is what rights are asked for.
        assert (await client.get(f"{V2}/namespaces%2Fshop/pods"))["items"]
        assert client.gate.asked[-1].namespace == "shop"

    scene(play)


@pytest.mark.parametrize(
    "query",
    ["t=NaN", "t=1e9h", "t=-1s", "t=%D9%A3s", "t=30", "t=%00", "t=%FF", "t=%ED%A0%80", "t=11m",
     "t=" + "9" * 4000 + "s", "t=0s",
     "labelSelector=%3D", "labelSelector=a%00", "labelSelector=" + "(" * 4000, "fieldSelector=a", "limit=-1",
     "limit=1e3",
     "continue=x", "continue=" + "9" * 40, "includeObject=x", "x=1", "%FF=1", "%00", "timeoutSeconds=NaN", "t=1&T=1"],
)  # fmt: skip
def test_no_such_query(query: str) -> None:
    async def play(client: Client) -> None:
        status = status_of(await client.ask(f"{V2}/pods?{query}"), 400)
        assert len(status["message"]) < 400
        assert (await client.ask(f"{V2}/pods?{query}", method="HEAD")).status == 400

    scene(play)


@pytest.mark.parametrize(
    "query",
    ["view=x", "view=edges&resource=svc", "resource=x", "resource=pod/", "seconds=nan", "seconds=inf", "seconds=-1",
     "seconds=1e9",
     "seconds=%D9%A3x", "x=1", "from=deploy/a&to=deploy/b", "view=routes", "from=x", "from=deploy/a&view=top",
     "%00=%00"],
)  # fmt: skip
def test_no_such_question(query: str) -> None:
    async def play(client: Client) -> None:
        for scope in ("", "/namespaces/shop"):
            assert (await client.ask(f"{V2}{scope}/traffic?{query}")).status in (400, 403)
        status_of(await client.ask(f"{V2}/traffic?{query}"), 400)

    scene(play)


def test_a_question_about_nobody() -> None:
    async def play(client: Client) -> None:
        status_of(await client.ask(f"{V2}/namespaces/shop/traffic?resource=deploy/x"), 404)

    scene(play)


def test_hostile_headers_and_bodies_are_answered() -> None:
    async def play(client: Client) -> None:
        many = {f"X-Remote-Group-{number}": "g" for number in range(900)}
        assert (await client.ask(f"{V2}/pods", **many)).status == 200
        odd = {"Accept": ";;,=;as=Table;;" * 200, "If-None-Match": "*" * 4000, "Range": "bytes=0-", "Host": "evil"}
        assert (await client.ask(f"{V2}/pods", **odd)).status == 200
        assert (await client.ask("/apis", **odd)).status == 200
        assert (await client.ask(f"{V2}/pods", Accept="x" * 9000)).status == 400
        assert (await client.ask(f"{V2}/pods?labelSelector=" + "a" * 9000)).status == 400
        async with client.session.get(f"{client.base}{V2}/pods", data=io.BytesIO(b"x" * 3_000_000)) as answer:
            assert answer.status == 200

    scene(play)


@pytest.mark.parametrize(
    "raw",
    [b"GET\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
     b"GET /apis HTTP/1.1\r\nA\r\n\r\n",
     b"GET /apis HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"GET /apis\xff HTTP/1.1\r\nHost: a\r\n\r\n",
     b"GET /apis HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"],
)  # fmt: skip
def test_what_is_no_http_is_refused_and_harms_nobody(raw: bytes) -> None:
    async def play(client: Client) -> None:
        port = int(client.base.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw + b"\r\n\r\n")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert not answer or answer.split()[1] in (b"400", b"404")
        writer.close()
        assert (await client.ask("/apis")).status == 200

    scene(play)


# -- what is known -----------------------------------------------------------------------------------------------------


def test_before_anything_is_known_discovery_answers_all_the_same() -> None:
    async def play(client: Client) -> None:
        client.state["seen"] = None
        for path in DOCUMENTS:
            assert (await client.ask(path)).status == 200
        status_of(await client.ask(f"{V2}/pods"), 503)
        status_of(await client.ask(f"{V2}/traffic"), 503)
        for path in ("/readyz", "/healthz"):
            assert (await client.ask(path)).status == 200

    scene(play)


def test_a_mistake_of_ours_is_a_status_that_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def play(client: Client) -> None:
        client.state["seen"] = Seen(None)  # type: ignore[arg-type]
        status = status_of(await client.ask(f"{V2}/pods"), 500)
        assert "NoneType" not in json.dumps(status)

    scene(play)
    assert "not answered" in caplog.text


def test_answers_that_are_partial_say_so() -> None:
    async def play(client: Client) -> None:
        answer = await client.ask(f"{V2}/pods")
        assert answer.headers["Warning"] == '299 - "1 of 2 replicas did not answer"'
        for thing in (answer.body, *answer.body["items"]):
            assert thing["metadata"]["annotations"] == {"smi-mesh.io/partial": "1 of 2 replicas did not answer"}

    scene(play, partial="1 of 2 replicas did not answer")


# -- tables and pages --------------------------------------------------------------------------------------------------


def test_tables_where_they_are_asked_for() -> None:
    async def play(client: Client) -> None:
        for accept in (TABLE, "application/json;g=meta.k8s.io; v=v1 ;as=Table", f"text/html, {TABLE}"):
            assert (await client.get(f"{V2}/pods", Accept=accept))["kind"] == "Table"
        for accept in ("", "*/*", "application/json", "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                       "application/vnd.kubernetes.protobuf",
                       "application/json;as=Tables;v=v1;g=meta.k8s.io"):  # fmt: skip
            assert (await client.get(f"{V2}/pods", Accept=accept))["kind"] == "TrafficMetricsList"
        rows = (await client.get(f"{V2}/pods?includeObject=Object", Accept=TABLE))["rows"]
        assert {row["object"]["kind"] for row in rows} == {"TrafficMetrics"}
        for row in rows:
            assert [type(cell) for cell in row["cells"]] == [str] * 9

    scene(play)


def test_pages_have_everything_once() -> None:
    async def play(client: Client) -> None:
        everything = [one["metadata"]["name"] for one in (await client.get(f"{V2}/trafficmetrics"))["items"]]
        for limit in (1, 3, 100):
            found: list[str] = []
            token = ""
            while True:
                body = await client.get(f"{V2}/trafficmetrics?limit={limit}&continue={token}")
                found += [one["metadata"]["name"] for one in body["items"]]
                token = body["metadata"].get("continue", "")
                if not token:
                    break
                assert body["metadata"]["remainingItemCount"] == len(everything) - len(found)
            assert found == everything

    scene(play)


def test_counts_are_exact_and_whole() -> None:
    async def play(client: Client) -> None:
        for item in (await client.get(f"{V2}/deployments?fieldSelector=metadata.name=web"))["items"]:
            assert counts(item) == (96, 3)

    scene(play)


# -- discovery ---------------------------------------------------------------------------------------------------------

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def test_aggregated_discovery_and_its_etag() -> None:
    async def play(client: Client) -> None:
        answer = await client.ask("/apis", Accept=f"{AGGREGATED},application/json")
        assert answer.headers["Content-Type"] == AGGREGATED
        assert answer.body["apiVersion"] == "apidiscovery.k8s.io/v2"
        again = await client.ask("/apis", Accept=AGGREGATED, **{"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.text) == (304, "")
        # kubectl 1.27 and 1.28 know an older form alone; they are content with none of them.
        older = AGGREGATED.replace("v=v2", "v=v2beta1")
        assert (await client.get("/apis", Accept=f"{older},application/json"))["kind"] == "APIGroupList"

    scene(play)


def test_kubectl_finds_one_kind_for_each_resource() -> None:
    async def play(client: Client) -> None:
        for version in ("v1alpha1", "v1alpha2"):
            resources = [one for one in (await client.get(f"{ROOT}/{version}"))["resources"] if "/" not in one["name"]]
            assert len({one["kind"] for one in resources}) == len({one["name"] for one in resources}) == len(RESOURCES)
            assert all(one["verbs"] == ["get", "list"] for one in resources)

    scene(play)


def test_spec_exact_discovery_has_one_kind() -> None:
    async def play(client: Client) -> None:
        assert {one["kind"] for one in (await client.get(V2))["resources"]} == {"TrafficMetrics"}
        found = (await client.get("/apis", Accept=AGGREGATED))["items"][0]["versions"]
        assert {one["responseKind"]["kind"] for version in found for one in version["resources"]} == {"TrafficMetrics"}

    scene(play, exact=True)


def test_openapi_is_whole() -> None:
    async def play(client: Client) -> None:
        listed = await client.get("/openapi/v3")
        kinds = {one.kind for one in RESOURCES.values()} | {"TrafficMetricsList"}
        for path, entry in listed["paths"].items():
            document = await client.get(entry["serverRelativeURL"])
            version = path.rpartition("/")[2]
            schemas = document["components"]["schemas"]
            told = {gvk["kind"] for one in schemas.values() for gvk in one["x-kubernetes-group-version-kind"]}
            assert told == kinds
            for reference in references(document):
                assert reference.removeprefix("#/components/schemas/") in schemas
            assert all(known.startswith(f"{ROOT}/{version}/") for known in document["paths"])
        document = await client.get("/openapi/v2")
        for reference in references(document):
            assert reference.removeprefix("#/definitions/") in document["definitions"]

    scene(play)


def references(value: Any) -> list[str]:
    """All ``$ref`` of a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for one in value.values() for found in references(one)]
    return [found for one in value for found in references(one)] if isinstance(value, list) else []


def test_operations_have_names_of_their_own() -> None:
    async def run() -> None:
        async with served() as client:
            document = await client.get(f"/openapi/v3{V2}")
            names = [operations["get"]["operationId"] for operations in document["paths"].values()]
            assert len(set(names)) == len(names)

    asyncio.run(run())
