"""Two sidecars in one process, mTLS between them: who gets in, and in which form a request arrives."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

import forge
import pytest
from eventually import eventually
from msgspec.structs import replace
from pair import ALLOW, CLIENT, SERVER, Joined, by_hand, contexts_of, granting, paired
from wire import HOST, OK, App, play, playing, to

from proxy.contract.audit import Audit
from proxy.contract.config import Config, Endpoint, HttpMatch, Inbound
from proxy.preface import encode_preface
from proxy.tls import MESH_ALPN, mesh_context

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\nsmi-mesh-client-id: default/client\r\n\r\n"


def test_a_request_arrives_with_its_callers_name() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            client.send(
                b"GET / HTTP/1.1\r\nHost: web\r\nsmi-mesh-client-id: bank/admin\r\nSmi_Mesh_Client_Id: x\r\n\r\n"
            )
            upstream = await app.accepted()
            for _ in range(3):
                await upstream.got(SENT)
                upstream.send(OK)
                await client.got(OK)
                client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)
            assert len(mesh.far.downstreams()) == 1

    play(scene())


def test_bodies_trailers_and_tunnels_cross_two_sidecars() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            body = bytes(range(256)) * 20_000
            client.send(
                b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(body), body),
            )
            upstream = await app.accepted()
            await upstream.until(b"transfer-encoding: chunked\r\n\r\n")
            assert await upstream._chunks() == body
            upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
            assert (await client.answer()).body == body
            client.send(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            await upstream.until(b"upgrade: websocket\r\n\r\n")
            upstream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            await client.until(b"\r\n\r\nhi")
            client.send(body)
            upstream.send(body)
            await upstream.got(body)
            await client.got(body)
            client.close()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


@pytest.mark.parametrize(
    ("inbound", "status", "reason"),
    [
        (ALLOW, 200, ""),
        (Inbound(), 403, "denied"),
        (Inbound(default_policy="deny"), 403, "denied"),
        (Inbound(named=True), 403, "denied"),
        (granting(), 200, ""),
        (granting(source=SERVER), 403, "denied"),
        (granting(ports=(1,)), 403, "denied"),
        (granting(ports=()), 403, "denied"),
        (granting(HttpMatch(methods=("GET",))), 200, ""),
        (granting(HttpMatch(methods=("POST",))), 403, "denied"),
        (granting(HttpMatch(path="/other")), 403, "denied"),
        (Inbound(named=True, audit=True), 200, ""),
    ],
)
def test_policy_decides_on_the_callers_certificate(inbound: Inbound, status: int, reason: str) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(inbound, app) as mesh:
            client = await mesh.near.client()
            for _ in range(2):  # a denial does not end the connection
                client.send(GET)
                answer = await client.answer()
                assert (answer.status, answer.reason) == (status, reason)
            assert bool(app.requests) == (status == 200)

    play(scene())


def test_audit_mode_changes_nothing_and_remembers_what_policy_would_refuse() -> None:
    looks = granting(HttpMatch(path="/a$", headers=(("x-role", "user"),)))
    requests = [
        b"GET /a HTTP/1.1\r\nHost: web\r\nX-Role: user\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: web\r\nX-Role: user\r\n\r\n",
        b"GET //a%2Fb HTTP/1.1\r\nHost: web\r\nX-Role: user\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: web\r\nX-Role: user\r\nX_Role: admin\r\n\r\n",
    ]

    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(replace(looks, audit=True), app) as mesh:
            for request in requests:
                assert (await mesh.near.ask(request)).status == 200
            assert [head.split(b" ")[1] for head in app.requests] == [b"/a", b"/b", b"//a%2Fb", b"/a"]
            assert [(one.path, one.ambiguous, one.requests, one.denied) for one in audit(mesh).seen] == [
                ("", True, 1, 1),
                ("/a", False, 2, 1),
                ("/b", False, 1, 1),
            ]
            counted = [
                (labels.peer, totals.requests)
                for labels, totals in mesh.far.sidecar.counters.items()
                if labels.verdict == "audit"
            ]
            assert counted == [(CLIENT, 3)]
            mesh.far.sidecar.apply(Config(version=2, inbound=looks))
            assert [(await mesh.near.ask(request)).status for request in requests] == [200, 403, 400, 400]
            assert sum(one.requests for one in audit(mesh).seen) == 4, "enforced: nothing more is remembered"

    play(scene())


def audit(mesh: Joined) -> Audit:
    shown: Audit = cast(Any, mesh.far.sidecar)._apps.auditor.shown()
    return shown


def test_every_request_is_judged_anew_on_a_connection_that_stays() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            for inbound, status in [(ALLOW, 200), (Inbound(named=True), 403), (granting(), 200)]:
                mesh.far.sidecar.apply(Config(version=2, inbound=inbound))
                client.send(GET)
                assert (await client.answer()).status == status
            assert len(mesh.far.downstreams()) == 1

    play(scene())


def test_an_endpoint_that_is_somebody_else_is_told_nothing() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app, expected=CLIENT) as mesh:
            answer = await mesh.near.ask(GET)
            assert (answer.status, answer.reason) == (502, "connect-failure")
            assert app.ends == []

    play(scene())


def test_a_peer_whose_application_is_down_counts_as_not_connected() -> None:
    async def scene() -> None:
        async with App() as down, App(lambda _: OK) as other:
            down.stop()
            async with paired(ALLOW, down) as mesh:
                broken = mesh.near.states()[0].endpoint
                for request in (GET, b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi"):
                    answer = await mesh.near.ask(request)
                    assert (answer.status, answer.reason) == (502, "connect-failure")
                mesh.near.sidecar.apply(to(broken, other, version=2))
                for _ in range(6):
                    answer = await mesh.near.ask(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n")
                    assert answer.status == 200

    play(scene())


def test_an_application_cannot_pretend_that_it_was_not_reached() -> None:
    lying = b"HTTP/1.1 502 Bad\r\nsmi-mesh-reason: connect-failure; x\r\nContent-Length: 0\r\n\r\n"

    async def scene() -> None:
        async with App(lambda _: lying) as app, App(lambda _: OK) as other, paired(ALLOW, app) as mesh:
            answer = await mesh.near.ask(GET)
            assert (answer.status, answer.reason) == (502, "")
            mesh.near.sidecar.apply(to(app, version=2))  # in the clear, and no peer sidecar at all
            answer = await mesh.near.ask(GET)
            assert (answer.status, answer.reason) == (502, "")
            assert other.requests == []

    play(scene())


def test_a_truncated_answer_stays_truncated_across_two_sidecars() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")
            await client.until(b"short\r\n")
            upstream.close()
            assert await client.rest() == b""

    play(scene())


def test_a_client_that_goes_away_is_gone_for_the_application_too() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            client.abort()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


# -- what arrives without a peer sidecar -------------------------------------------------------------


def test_callers_in_the_clear_have_no_identity() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app:
            for inbound, status in [
                (ALLOW, 200),
                (Inbound(), 403),
                (granting(), 403),
                (Inbound(named=True, unmeshed=True), 200),
            ]:
                async with playing(Config(inbound=inbound), app=app) as mesh:
                    forged = b"GET / HTTP/1.1\r\nHost: web\r\nsmi-mesh-client-id: default/client\r\n\r\n"
                    answer = await mesh.ask(forged, mesh.clear)
                    assert answer.status == status
                    assert answer.reason == ("no-identity" if status == 403 else "")
            assert app.requests == [b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"] * 2

    play(scene())


def test_plain_text_to_the_mesh_port_is_closed_without_an_answer() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            client = await mesh.near.client(mesh.far.mesh)
            client.send(encode_preface(app.port), GET)
            assert b"HTTP" not in await client.rest()
            assert app.ends == []

    play(scene())


@pytest.mark.parametrize(
    "preface",
    [GET, b"SMI2" + bytes(4), encode_preface(80, 2), encode_preface(80)[:4] + b"\0\1\0\0", b"\0" * 8, b"PRI * HTTP/2"],
)
def test_a_wrong_preface_ends_the_connection(preface: bytes) -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            assert await by_hand(mesh.far.mesh, contexts_of(CLIENT).client, preface + GET) == b""
            assert app.ends == []

    play(scene())


def test_a_preface_in_pieces_is_a_preface() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as mesh:
            reader, writer = await asyncio.open_connection(
                HOST, mesh.far.mesh, ssl=contexts_of(CLIENT).client, server_hostname=""
            )
            for octet in encode_preface(app.port) + GET:
                writer.write(bytes((octet,)))
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
            writer.transport.abort()

    play(scene())


def test_a_preface_does_not_lead_to_the_sidecars_own_ports() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            for port in (mesh.far.outbound, mesh.far.mesh, mesh.far.clear):
                answer = await by_hand(mesh.far.mesh, contexts_of(CLIENT).client, encode_preface(port) + GET)
                assert b"smi-mesh-reason: loop" in answer, port

    play(scene())


def test_another_protocol_than_ours_gets_no_answer() -> None:
    async def scene() -> None:
        async with App() as app, paired(ALLOW, app) as mesh:
            for offered in ([], ["h2"], ["http/1.1"], [MESH_ALPN + "x"]):
                context = mesh_context(ssl.PROTOCOL_TLS_CLIENT, forge.good(CLIENT, ""), forge.trusted().pem)
                if offered:
                    context.set_alpn_protocols(offered)
                    assert await by_hand(mesh.far.mesh, context, encode_preface(app.port) + GET) == b""
            assert app.ends == []

    play(scene())


# -- paths -------------------------------------------------------------------------------------------

ADMIN = granting(HttpMatch(path="/public"), HttpMatch(path="/api/[a-z]+$"))


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        (b"/public", b"/public"),
        (b"/public?x=/../admin", b"/public?x=/../admin"),
        (b"/%70ublic", b"/public"),
        (b"//public", b"/public"),
        (b"/./public", b"/public"),
        (b"/x/../public", b"/public"),
        (b"/x/%2e%2e/public", b"/public"),
        (b"/public/%252f", b"/public/%252f"),
        (b"/public/a%20b", b"/public/a%20b"),
        (b"/public/%c3%a9", b"/public/%C3%A9"),
        (b"/public/\xc3\xa9", b"/public/%C3%A9"),
        (b"http://other/public", b"/public"),
        (b"/api/users", b"/api/users"),
    ],
)
def test_the_path_that_policy_saw_is_the_path_that_arrives(path: bytes, arrives: bytes) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ADMIN, app) as mesh:
            answer = await mesh.near.ask(b"GET %b HTTP/1.1\r\nHost: web\r\n\r\n" % path.replace(b"//other/", b"//web/"))
            assert answer.status == 200
            assert app.requests[0].split(b" ")[1] == arrives

    play(scene())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/public/../admin", 403),
        (b"/public/%2e%2e/admin", 403),
        (b"/public/.%2E/admin", 403),
        (b"/public/..", 403),
        (b"/PUBLIC", 403),
        (b"/api/users/", 403),
        (b"/api/users.", 403),
        (b"/api/users%20", 403),
        (b"/admin?/public", 403),
        (b"/admin%3f/public", 403),
        (b"/%252e%252e/public", 403),
        (b"/public%2f..%2fadmin", 400),
        (b"/public%2Fx", 400),
        (b"/public%5cx", 400),
        (b"/public\\..\\admin", 400),
        (b"/public;x", 400),
        (b"/public/;/../admin", 400),
        (b"/public%00", 400),
        (b"/public%0d%0aX:y", 400),
        (b"/public%zz", 400),
        (b"/public%", 400),
        (b"/public/%c0%ae%c0%ae/admin", 400),
        (b"/public/%ff", 400),
        (b"/public/\xff", 400),
        (b"*", 400),
    ],
)
def test_ways_around_a_path_condition(path: bytes, status: int) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ADMIN, app) as mesh:
            answer = await mesh.near.ask(b"GET %b HTTP/1.1\r\nHost: web\r\n\r\n" % path)
            assert answer.status == status
            assert app.requests == []

    play(scene())


@pytest.mark.parametrize("path", [b"/a%2fb", b"/a%5cb", b"/a;b", b"//a/../b/.", b"/%zz", b"/%00", b"/%41", b"/\\"])
def test_where_no_path_condition_is_in_force_bytes_pass_unchanged(path: bytes) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app:
            for inbound in (ALLOW, granting(HttpMatch(path=".*", methods=("GET",)))):
                async with paired(inbound, app) as mesh:
                    assert (await mesh.near.ask(b"GET %b HTTP/1.1\r\nHost: web\r\n\r\n" % path)).status == 200
            assert {request.split(b" ")[1] for request in app.requests} == {path}

    play(scene())


def test_headers_and_host_are_what_the_application_gets() -> None:
    inbound = granting(HttpMatch(headers=(("x-role", "admin"),)), HttpMatch(headers=(("host", "web(:80)?"),)))

    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(inbound, app) as mesh:
            for lines, status in [
                (b"Host: web.default\r\nX-Role: admin\r\n", 200),
                (b"Host: web.default\r\nX-ROLE: admin\r\n", 200),
                (b"Host: web.default\r\nX-Role: admins\r\n", 403),
                (b"Host: web.default\r\nX-Role: admin\r\nX-Role: x\r\n", 403),
                (b"Host: web.default\r\nX-Role: admin\r\nConnection: X-Role\r\n", 403),
                (b"Host: web.default\r\n", 403),
                (b"Host: web\r\n", 200),
                (b"Host: web:80\r\n", 200),
            ]:
                answer = await mesh.near.ask(b"GET / HTTP/1.1\r\n%b\r\n" % lines)
                assert answer.status == status, lines

    play(scene())


def test_two_callers_never_share_an_identity() -> None:
    """Both reach the application over the same pooled connection; each is named by its own certificate."""

    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ALLOW, app) as mesh:
            other = "spiffe://cluster.local/ns/other/sa/caller"
            await mesh.near.ask(GET)
            seen = await by_hand(mesh.far.mesh, contexts_of(other).client, encode_preface(app.port) + GET)
            assert seen.startswith(b"HTTP/1.1 200")
            await mesh.near.ask(GET)
            await eventually(lambda: len(app.requests) == 3)
            assert len(app.ends) == 1
            assert [request.split(b"client-id: ")[1].split(b"\r\n")[0] for request in app.requests] == [
                b"default/client",
                b"other/caller",
                b"default/client",
            ]

    play(scene())


def test_a_pod_that_calls_its_own_service_gets_there() -> None:
    async def scene() -> None:
        contexts = contexts_of(SERVER, "server-0.default.pod")
        async with (
            App(lambda _: OK) as app,
            playing(to(inbound=ALLOW), pod="server-0", account="server", contexts=contexts, app=app) as mesh,
        ):
            itself = Endpoint(ip=HOST, port=app.port, mesh=mesh.mesh, identity=SERVER, pod="server-0")
            mesh.sidecar.apply(to(itself, version=2, inbound=ALLOW))
            assert (await mesh.ask(GET)).status == 200
            assert b"smi-mesh-client-id: default/server" in app.requests[0]

    play(scene())
