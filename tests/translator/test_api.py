"""The API over real HTTP on the loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from eventually import eventually

from proxy.contract.config import Config, File, Host, Listeners, Sidecar, TlsFiles
from proxy.contract.messages import Hello, Nack
from proxy.contract.report import Labels, Report, Row, pack
from smi.meta import Meta
from smi.problems import Problem
from smi.split import SplitBackend, TrafficSplit
from smi.workloads import Pod, Service, ServicePort
from translator.api import application
from translator.collect import Collector
from translator.compiler import compile_sidecar
from translator.identity.rollout import Stage
from translator.identity.rotation import CertificateShown, IdentityShown
from translator.local.state import MeshState
from translator.reconcile import Reconciler
from translator.roster import Roster
from translator.traffic import Traffic
from translator.world import World

WEB = "spiffe://cluster.local/ns/shop/sa/web"
PROBLEM = Problem(file="shop/split.yaml", line=7, field="spec.backends[1].weight", message="-1 is negative")
SPLIT = TrafficSplit(
    meta=Meta(name="s", namespace="shop"),
    api_version="split.smi-spec.io/v1alpha1",
    service="web",
    backends=(SplitBackend(service="gone", weight=Fraction(9, 10)),),
)
SERVICE = Service(meta=Meta(name="web", namespace="shop"), ports=(ServicePort(port=80),), selector={"app": "web"})
FILE = File(
    sidecar=Sidecar(
        pod="web-0",
        namespace="shop",
        service_account="web",
        listeners=Listeners(address="127.80.0.2"),
        tls=TlsFiles(bundle="/ca/bundle.pem", certificate="/tls.crt", key="/tls.key"),
    )
)


END = datetime(2036, 1, 1, tzinfo=UTC)
ROOT = CertificateShown(subject="CN=root", fingerprint="ab", expires=END)
ISSUER = CertificateShown(subject="CN=issuer", fingerprint="cd", expires=END)
IDENTITY = IdentityShown(
    trust_domain="cluster.local",
    generation=7,
    stage=Stage.RENEWING,
    waiting=("shop/web-0",),
    roots=(ROOT,),
    issuer=ISSUER,
    federated={"partner.example": (ROOT,)},
)


def pod(name: str, namespace: str = "shop") -> Pod:
    meta = Meta(name=name, namespace=namespace, labels={"app": "web"})
    return Pod(meta=meta, ip="127.80.0.2", service_account="web", ready=True, mesh_port=4143)


@dataclass(kw_only=True)
class Known:
    """A controller's knowledge."""

    state: MeshState
    reconciler: Reconciler = field(default_factory=lambda: Reconciler(compile_sidecar))
    collector: Collector = field(default_factory=lambda: Collector(Traffic(1.0, 0.0), 1.0, lambda: 100.0))
    roster: Roster = field(default_factory=Roster)
    problems: tuple[Problem, ...] = ()
    identity: IdentityShown = IDENTITY

    def sidecar_file(self, pod: Pod) -> File | None:
        path = self.state.pod(pod.meta.namespace, pod.meta.name).sidecar
        return msgspec.json.decode(path.read_bytes(), type=File) if path.exists() else None


class Client:
    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session, self.port = session, port

    async def ask(self, path: str, method: str = "GET", host: str = "") -> tuple[int, str]:
        headers = {"Host": host} if host else {}
        async with self.session.request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str) -> object:
        status, text = await self.ask(path)
        assert status == 200, text
        return json.loads(text)

    async def only(self, path: str) -> dict[str, Any]:
        """The one entry of a list."""
        listed = await self.json(path)
        assert isinstance(listed, list)
        assert len(listed) == 1
        entry: dict[str, Any] = listed[0]
        return entry


@asynccontextmanager
async def api(known: Known) -> AsyncIterator[Client]:
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    runner = web.AppRunner(application(known, port), shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, bound).start()
    async with aiohttp.ClientSession() as session:
        yield Client(session, port)
    await runner.cleanup()


@pytest.fixture
def known(tmp_path: Path) -> Known:
    known = Known(state=MeshState(directory=tmp_path))
    folder = tmp_path / "pods" / "shop.web-0"
    folder.mkdir(parents=True)
    (folder / "sidecar.json").write_bytes(msgspec.json.encode(FILE))
    return known


def enter(known: Known, *hosts: str) -> None:
    """The world arrives, and the sidecar of web-0."""
    known.reconciler.world_changed(World.of((SPLIT, SERVICE), (pod("web-0"),)))
    known.reconciler.opened("shop/web-0", WEB, Hello(version=4, hosts=hosts))


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LocalHost:{}", "[::1]:{}"])
def test_the_loopbacks_names_are_let_in(known: Known, host: str) -> None:
    async def main() -> None:
        enter(known)
        async with api(known) as client:
            assert await client.ask("/healthz", host=host.format(client.port)) == (200, "ok\n")

    asyncio.run(main())


@pytest.mark.parametrize(
    "host", ["evil.example:{}", "127.0.0.1", "localhost", "localhost:1", "127.0.0.1.evil:{}", "127.0.0.1:{}, evil"]
)
def test_any_other_host_is_refused(known: Known, host: str) -> None:
    async def main() -> None:
        async with api(known) as client:
            for path in ("/healthz", "/debug/world", "/nowhere"):
                status, text = await client.ask(path, host=host.format(client.port))
                assert status == 403, text

    asyncio.run(main())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading(known: Known, method: str) -> None:
    async def main() -> None:
        async with api(known) as client:
            for path in ("/healthz", "/nowhere"):
                assert (await client.ask(path, method))[0] == 405
            assert (await client.ask("/metrics", "HEAD")) == (200, "")
            assert (await client.ask("/nowhere"))[0] == 404

    asyncio.run(main())


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1/pods", "/apis/apps/v1", "/apis/metrics.smi-spec.io/v9", "/api/%0A"]
)
def test_clients_of_kubernetes_are_refused_by_a_status(known: Known, path: str) -> None:
    async def main() -> None:
        enter(known)
        async with api(known) as client:
            for method, code in [("GET", 404), ("POST", 405), ("DELETE", 405)]:
                status, text = await client.ask(path, method)
                said = json.loads(text)
                assert (status, said["kind"], said["code"]) == (code, "Status", code)

    asyncio.run(main())


def test_kubectl_learns_whether_there_is_a_namespace(known: Known) -> None:
    """It asks when something in it is not found, and tells its user what this says."""

    async def main() -> None:
        async with api(known) as client:
            assert (await client.ask("/api/v1/namespaces/shop"))[0] == 503
            enter(known)
            shop = await client.json("/api/v1/namespaces/shop")
            assert shop == {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop"}}
            status, text = await client.ask("/api/v1/namespaces/nowhere")
            assert (status, json.loads(text)["message"]) == (404, 'namespaces "nowhere" not found')

    asyncio.run(main())


def test_health_is_that_the_sources_have_been_read(known: Known) -> None:
    async def main() -> None:
        async with api(known) as client:
            assert (await client.ask("/healthz"))[0] == 503
            assert (await client.ask("/debug/world"))[0] == 503
            assert (await client.ask("/debug/config/web-0"))[0] == 404
            enter(known)
            assert (await client.ask("/healthz"))[0] == 200

    asyncio.run(main())


def test_problems(known: Known) -> None:
    known.problems = (PROBLEM,)

    async def main() -> None:
        async with api(known) as client:
            assert await client.json("/problems") == [
                {
                    "file": "shop/split.yaml",
                    "line": 7,
                    "field": "spec.backends[1].weight",
                    "message": "-1 is negative",
                }
            ]

    asyncio.run(main())


def test_identity(known: Known) -> None:
    async def main() -> None:
        root = {"subject": "CN=root", "fingerprint": "ab", "expires": "2036-01-01T00:00:00Z"}
        async with api(known) as client:
            assert await client.json("/identity") == {
                "trustDomain": "cluster.local",
                "generation": 7,
                "stage": "renewing",
                "waitingFor": ["shop/web-0"],
                "roots": [root],
                "issuer": {**root, "subject": "CN=issuer", "fingerprint": "cd"},
                "federated": {"partner.example": [root]},
            }

    asyncio.run(main())


def test_findings(known: Known) -> None:
    async def main() -> None:
        async with api(known) as client:
            assert await client.json("/findings") == []
            enter(known)
            findings = await client.json("/findings")
            assert isinstance(findings, list)
            assert {(one["kind"], one["name"], one["reason"]) for one in findings} >= {
                ("TrafficSplit", "s", "ServiceNotFound")
            }

    asyncio.run(main())


def test_sidecars(known: Known) -> None:
    async def main() -> None:
        enter(known, "api.shop")
        reconciler = known.reconciler
        reconciling = asyncio.create_task(reconciler.run())
        subscriber = reconciler.subscribers["shop/web-0"]
        await eventually(lambda: subscriber.slot.desired)
        async with api(known) as client:
            before = await client.only("/debug/sidecars")
            assert before["acknowledged"] == 0
            assert before["desired"] == 5
            assert before["nack"] is None
            subscriber.slot.take(0.0)
            reconciler.nacked(subscriber, Nack(reason="no", current=4, version=5))
            subscriber.slot.offer(Config())
            subscriber.slot.take(9.0)
            reconciler.acked(subscriber, subscriber.slot.version)
            after = await client.only("/debug/sidecars")
            assert (after["namespace"], after["name"], after["identity"]) == ("shop", "web-0", WEB)
            assert (after["acknowledged"], after["desired"], after["hosts"]) == (7, 7, 1)
            assert (after["nack"]["version"], after["nack"]["reason"]) == (5, "no")
            for moment in (after["connectedSince"], after["nack"]["at"]):
                assert abs((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()) < 60
            _, text = await client.ask("/metrics")
            assert "\nsmi_mesh_controller_sidecars_connected 1\n" in text
            assert "\nsmi_mesh_controller_acks_total 1\n" in text
            assert "\nsmi_mesh_controller_nacks_total 1\n" in text
            assert "# TYPE smi_mesh_controller_compile_seconds_total counter" in text
        reconciling.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["web-0", "shop/web-0", "shop.web-0"])
def test_a_config_is_what_a_sidecar_starts_with(known: Known, name: str) -> None:
    async def main() -> None:
        enter(known, "elsewhere.shop")
        async with api(known) as client:
            _, text = await client.ask(f"/debug/config/{name}")
        file = msgspec.json.decode(text, type=File)
        assert file.sidecar == FILE.sidecar
        assert file.config.hosts == {"elsewhere.shop": Host()}

    asyncio.run(main())


def test_a_config_is_the_one_acknowledged(known: Known) -> None:
    async def main() -> None:
        enter(known)
        subscriber = known.reconciler.subscribers["shop/web-0"]
        subscriber.slot.offer(Config(hosts={"old.shop": Host()}))
        subscriber.slot.take(0.0)
        known.reconciler.acked(subscriber, subscriber.slot.version)
        subscriber.slot.offer(Config())
        async with api(known) as client:
            _, text = await client.ask("/debug/config/web-0")
        assert msgspec.json.decode(text, type=File).config == Config(version=5, hosts={"old.shop": Host()})

    asyncio.run(main())


def test_a_name_in_several_namespaces_means_the_one_in_default(known: Known) -> None:
    async def main() -> None:
        known.reconciler.world_changed(World.of((), (pod("web-0"), pod("web-0", "default"))))
        async with api(known) as client:
            status, text = await client.ask("/debug/config/web-0")
            assert status == 404
            assert "no sidecar" in text, "the one in default has none"
            assert (await client.ask("/debug/config/shop/web-0"))[0] == 200
            assert (await client.ask("/debug/config/../../etc/passwd"))[0] == 404
            assert (await client.ask("/debug/config/%2e%2e%2fweb-0"))[0] == 404

    asyncio.run(main())


def test_an_explanation_is_of_what_the_sidecar_runs_on(known: Known) -> None:
    async def main() -> None:
        async with api(known) as client:
            assert (await client.ask("/explain?url=http://web/&from=web-0"))[0] == 503
            enter(known)
            asked = "/explain?url=http://web/&from=web-0&namespace=shop"
            told = json.loads((await client.ask(asked))[1])
            assert (told["caller"]["configVersion"], told["splits"][0]["split"]) == (0, "shop/s")
            assert told["answer"]["reason"] == "no-service"
            subscriber = known.reconciler.subscribers["shop/web-0"]
            subscriber.slot.offer(Config(hosts={"web.shop": Host()}))
            subscriber.slot.take(0.0)
            known.reconciler.acked(subscriber, subscriber.slot.version)
            told = json.loads((await client.ask(asked))[1])
            assert (told["caller"]["configVersion"], told["answer"]["reason"]) == (5, "egress")
            other = json.loads((await client.ask(asked.replace("//web/", "//web.shop.svc.cluster.local:81/")))[1])
            assert other["answer"]["reason"] == "egress", "the same host by another name"
            first = json.loads((await client.ask(asked.replace("//web/", "//web.other/")))[1])
            assert first["answer"]["detail"] == "web.other is not a name of this mesh", "asked for, and then known"
            for query, status, text in (
                ("url=http://web/&from=nobody&namespace=shop", 404, 'no pod "nobody" in namespace "shop"'),
                ("url=http://web/", 400, "from: is missing"),
                ("url=https://web/&from=web-0", 400, "http:// only"),
            ):
                got = await client.ask(f"/explain?{query}")
                assert (got[0], text in got[1]) == (status, True), got

    asyncio.run(main())


def test_permissions(known: Known) -> None:
    async def main() -> None:
        async with api(known) as client:
            enter(known)
            found = await client.only("/permissions?to_namespace=shop")
            assert (found["caller"], found["server"], found["port"], found["may"]) == (
                "shop/web-0",
                "shop/web-0",
                80,
                "yes",
            )
            assert (await client.ask("/permissions?who=me"))[0] == 400
            assert (await client.ask("/permissions?source=nobody"))[0] == 404

    asyncio.run(main())


def test_the_world(known: Known) -> None:
    async def main() -> None:
        enter(known)
        async with api(known) as client:
            world = await client.json("/debug/world")
        assert isinstance(world, dict)
        assert world["objects"]["splits"]["shop/s"]["backends"] == [{"service": "gone", "weight": "9/10"}]
        assert world["pods"][0]["meta"]["name"] == "web-0"
        assert world["settings"]["trust_domain"] == "cluster.local"

    asyncio.run(main())


def counted(known: Known, requests: int) -> None:
    """The sidecar of web-0 reports that it received requests."""
    known.roster.update([pod("web-0")], 0.0)
    labels = Labels(direction="inbound", destination="8080", verdict="allow")
    row = Row(0, pack([0, requests, 0, 0, 0], 1000 * requests, {350: requests}), labels)
    known.collector.intake("shop/web-0").take(Report(epoch="e", sequence=1, seconds=1.0, rows=(row,)))


def test_traffic(known: Known) -> None:
    async def main() -> None:
        async with api(known) as client:
            assert await client.ask("/debug/traffic") == (503, "the manifests are being read\n")
            enter(known)
            counted(known, 7)
            answer = await client.json("/debug/traffic?resource=po&namespace=shop")
            assert isinstance(answer, dict)
            assert list(answer) == ["window", "seconds", "rows"]
            [row] = answer["rows"]
            assert list(row)[:3] == ["kind", "namespace", "name"]
            assert (row["name"], row["meshed"], row["stats"]["requests"]) == ("web-0", 1, 7)
            assert "\nsmi_mesh_controller_reports_total 1\n" in (await client.ask("/metrics"))[1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("resource=gateway", 400, "is no kind of resource"),
        ("seconds=nan", 400, "cannot be looked at"),
        ("nonsense=1", 400, "there is no such parameter"),
        ("view=routes&resource=svc", 400, "KIND/NAME"),
        ("resource=po/nobody&namespace=shop", 404, 'there is no Pod "nobody" in namespace "shop"'),
    ],
)
def test_questions_about_traffic_that_have_no_answer(known: Known, query: str, status: int, says: str) -> None:
    async def main() -> None:
        enter(known)
        async with api(known) as client:
            got, text = await client.ask(f"/debug/traffic?{query}")
            assert got == status
            assert says in text

    asyncio.run(main())
