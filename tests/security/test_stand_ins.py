"""What stands in for something else: headers, trailers, bodies and tunnels by which an application could see another
request than policy did. Played by peers of the application's sidecar, which have a certificate and no manners."""

from __future__ import annotations

import pytest
from eventually import eventually
from pair import CLIENT, SERVER, Joined, granting, paired
from wire import OK, App, End, play

from proxy.contract.config import Config, Grant, HttpMatch, Inbound, Source

SENT = b"GET / HTTP/1.1\r\nhost: web\r\nsmi-mesh-client-id: default/client\r\n"
USERS = granting(HttpMatch(headers=(("x-role", "user"),)))
PUBLIC = granting(HttpMatch(path="/public"))
ANY = granting()


def get(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: web", *lines, b"", b""])


async def asked(peer: End, request: bytes) -> int:
    peer.send(request)
    return (await peer.answer()).status


# -- who calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"smi-mesh-client-id: bank/admin",
        b"SMI-MESH-CLIENT-ID: bank/admin",
        b"smi_mesh_client_id: bank/admin",
        b"smi.mesh.client.id: bank/admin",
        b"smi-mesh-client_id: bank/admin",
        b"smi~mesh~client~id: bank/admin",
        b"Connection: smi-mesh-client-id",
    ],
    ids=repr,
)
def test_no_peer_says_who_it_is(line: bytes) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(ANY, app) as mesh:
            assert await asked(await mesh.peer(), get(line)) == 200
            assert (await mesh.near.ask(get(line))).status == 200
            assert app.requests == [SENT + b"\r\n"] * 2

    play(scene())


def test_no_trailer_says_who_calls() -> None:
    async def scene() -> None:
        async with App() as app, paired(ANY, app) as mesh:
            for client in (await mesh.peer(), await mesh.near.client()):
                client.send(
                    get(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1"),
                    b"0\r\nsmi-mesh-client-id: bank/admin\r\nSmi_Mesh_Client_Id: bank/admin\r\nX-Sum: 1\r\n\r\n",
                )
                upstream = app.ends[0] if app.ends else await app.accepted()
                await upstream.until(b"transfer-encoding: chunked\r\n\r\n")
                await upstream.got(b"0\r\nX-Sum: 1\r\n\r\n")
                upstream.send(OK)
                await client.got(OK)

    play(scene())


# -- headers that policy looks at ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"X-Role: user"], 200),
        ([b"X-ROLE: user", b"X-Roles: admin", b"XRole: admin"], 200),
        ([b"X-Role: user", b"X-Role: admin"], 403),
        ([b"X-Role: user", b"X-Role: user"], 403),
        ([b"X-Role: user", b"X-Role:"], 403),
        ([b"X-Role:", b"X-Role: user"], 403),
        ([b"X-Role: user, admin"], 403),
        ([b"X-Role: user\xff"], 403),
        ([b"X-Role: \xa0user"], 403),
        ([b"X-Role:"], 403),
        ([], 403),
        ([b"X-Role: user", b"Connection: x-role"], 403),
        ([b"X-Role: user", b"X_Role: admin"], 400),
        ([b"X-Role: user", b"x.role: admin"], 400),
        ([b"X-Role: user", b"X'Role: admin"], 400),
        ([b"X_Role: user"], 400),
        ([b"X-Role: us", b" er"], 400),
        ([b"X-Role : user"], 400),
        ([b"X-Role: user\x00"], 400),
        ([b"X-Role: user\nX-Role: admin"], 400),
        ([b"X-Role: admin\rX-Role: user"], 400),
    ],
    ids=repr,
)
def test_a_header_that_policy_looks_at_is_the_one_that_arrives(lines: list[bytes], status: int) -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(USERS, app) as mesh:
            assert await asked(await mesh.peer(), get(*lines)) == status
            assert (await mesh.near.ask(get(*lines))).status == status
            assert len(app.requests) == (2 if status == 200 else 0)

    play(scene())


def test_look_alikes_pass_where_no_header_condition_is_in_force() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(PUBLIC, app) as mesh:
            line = get(b"X_Role: admin", start=b"GET /public HTTP/1.1")
            assert (await mesh.near.ask(line)).status == 200
            assert b"X_Role: admin\r\n" in app.requests[0]

    play(scene())


def test_trailers_do_not_write_headers_that_policy_looks_at() -> None:
    async def scene() -> None:
        async with App() as app, paired(USERS, app) as mesh:
            client = await mesh.near.client()
            client.send(
                get(b"X-Role: user", b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1"),
                b"2\r\nhi\r\n",
            )
            upstream = await app.accepted()
            await upstream.until(b"2\r\nhi\r\n")
            client.send(b"0\r\nX-Role: admin\r\nX_Role: admin\r\nX-Sum: 1\r\n\r\n")
            await upstream.got(b"0\r\nX-Sum: 1\r\n\r\n")
            upstream.send(OK)
            await client.got(OK)

    play(scene())


# -- bodies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
def test_a_body_that_an_application_may_leave_unread_is_the_last_on_its_connection(method: bytes) -> None:
    """An application that leaves it would take it for the next request, one that no policy has seen."""
    hidden = b"GET /secret HTTP/1.1\r\nHost: web\r\n\r\n"

    async def scene() -> None:
        async with App() as app, paired(PUBLIC, app) as mesh:
            client = await mesh.near.client()
            client.send(get(b"Content-Length: %d" % len(hidden), start=method + b" /public HTTP/1.1"), hidden)
            first = await app.accepted()
            assert b"connection: close\r\n" in await first.until(b"\r\n\r\n")
            await first.got(hidden)
            first.send(b"HTTP/1.1 204 No Content\r\n\r\n")  # does not say that it closes
            await client.got(b"HTTP/1.1 204 No Content\r\n\r\n")
            await first.wait(lambda: first.ended, "the end")
            client.send(get(start=b"GET /public HTTP/1.1"))
            second = await app.accepted()
            assert b"connection" not in await second.until(b"\r\n\r\n")
            second.send(OK)
            await client.got(OK)

    play(scene())


def test_a_body_that_is_meant_does_not_cost_a_connection() -> None:
    async def scene() -> None:
        async with App() as app, paired(PUBLIC, app) as mesh:
            client = await mesh.near.client()
            for _ in range(2):
                client.send(get(b"Content-Length: 2", start=b"POST /public HTTP/1.1"), b"hi")
                upstream = app.ends[0] if app.ends else await app.accepted()
                assert b"connection" not in await upstream.until(b"\r\n\r\nhi")
                upstream.send(OK)
                await client.got(OK)
            assert len(app.ends) == 1

    play(scene())


# -- tunnels -------------------------------------------------------------------------------------------

WEBSOCKET = get(b"Connection: upgrade", b"Upgrade: websocket", start=b"GET /public HTTP/1.1")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


async def tunnelled(mesh: Joined, app: App) -> tuple[End, End]:
    client = await mesh.near.client()
    client.send(WEBSOCKET)
    upstream = await app.accepted()
    await upstream.until(b"upgrade: websocket\r\n\r\n")
    upstream.send(SWITCHED)
    await client.until(b"\r\n\r\n")
    return client, upstream


@pytest.mark.parametrize(
    "policy",
    [Inbound(named=True), granting(HttpMatch(path="/other")), granting(source=SERVER), Inbound(default_policy="deny")],
)
def test_a_tunnel_ends_with_the_policy_that_let_it_in(policy: Inbound) -> None:
    async def scene() -> None:
        async with App() as app, paired(ANY, app) as mesh:
            client, upstream = await tunnelled(mesh, app)
            mesh.far.sidecar.apply(Config(version=2, inbound=PUBLIC))
            client.send(b"still")
            await upstream.got(b"still")
            mesh.far.sidecar.apply(Config(version=3, inbound=policy))
            await upstream.wait(lambda: upstream.ended, "the end")
            assert await client.rest() == b""

    play(scene())


def test_a_tunnel_stays_in_audit_mode() -> None:
    async def scene() -> None:
        async with App() as app, paired(ANY, app) as mesh:
            client, upstream = await tunnelled(mesh, app)
            mesh.far.sidecar.apply(Config(version=2, inbound=Inbound(named=True, audit=True)))
            client.send(b"still")
            await upstream.got(b"still")
            client.abort()
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


def test_an_upgrade_that_is_not_answered_yet_is_judged_anew_too() -> None:
    async def scene() -> None:
        async with App() as app, paired(ANY, app) as mesh:
            client = await mesh.near.client()
            client.send(WEBSOCKET)
            upstream = await app.accepted()
            await upstream.until(b"upgrade: websocket\r\n\r\n")
            mesh.far.sidecar.apply(Config(version=2, inbound=Inbound(named=True)))
            assert (await client.answer()).status == 403
            await upstream.wait(lambda: upstream.ended, "the end")

    play(scene())


def test_no_tunnel_leads_to_requests_that_nobody_judges() -> None:
    async def scene() -> None:
        async with App(lambda _: SWITCHED.replace(b"websocket", b"h2c")) as app, paired(ANY, app) as mesh:
            for upgrade in (b"h2c", b"HTTP/2.0", b"websocket, h2c", b"TLS/1.3"):
                request = get(b"Connection: upgrade, http2-settings", b"Upgrade: " + upgrade, b"HTTP2-Settings: AAA")
                assert (await mesh.near.ask(request)).status == 502
                assert await asked(await mesh.peer(), request) == 502
            assert set(app.requests) == {SENT + b"\r\n"}

    play(scene())


def test_nobody_is_refused_before_the_path_is_looked_at() -> None:
    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(PUBLIC, app) as mesh:
            for path in (b"/public", b"/%2f", b"/;", b"/" + b"%41" * 4000):
                answer = await mesh.far.ask(get(start=b"GET %b HTTP/1.1" % path), mesh.far.clear)
                assert (answer.status, answer.reason) == (403, "no-identity")
            assert app.requests == []

    play(scene())


# -- audit ---------------------------------------------------------------------------------------------


def test_audit_mode_refuses_nothing_and_changes_nothing() -> None:
    grant = Grant(target="default/t", sources=(Source(identity=CLIENT),), http=USERS.grants[0].http)
    paths = Grant(target="default/p", sources=(Source(identity=CLIENT),), http=PUBLIC.grants[0].http)
    audit = Inbound(named=True, grants=(grant, paths), audit=True)

    async def scene() -> None:
        async with App(lambda _: OK) as app, paired(audit, app) as mesh:
            for path in (b"/a/../%70ublic;x%2f", b"/%zz", b"//public"):
                request = get(b"X_Role: admin", b"X-Role: x", start=b"GET %b HTTP/1.1" % path)
                assert (await mesh.near.ask(request)).status == 200
                assert app.requests[-1].split(b" ")[1] == path
                assert b"X_Role: admin\r\n" in app.requests[-1]
            await eventually(lambda: len(app.requests) == 3)

    play(scene())
