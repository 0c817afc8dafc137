"""Random hostile requests against policies: whatever the mesh let through, no reading of it may be one policy denies.

The oracle (``application``) looks at the bytes the application got, knows nothing of what was sent, and shares no code
with the sidecar. Hostile clients speak through their own sidecar and, worse, by hand as a peer of the application's.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest
from application import Listening, allowed, callers, requests_in
from hostile import ROUNDS, cut, in_turns, scratched
from pair import Joined, granting, paired
from wire import End, play

from proxy.contract.config import HttpMatch

POLICIES = {
    "a prefix": (HttpMatch(path="/public/"),),
    "whole paths, read only": (
        HttpMatch(path="/api/[a-z]+$", methods=("GET", "HEAD")),
        HttpMatch(path="/public/.*", methods=("POST",)),
    ),
    "a header": (HttpMatch(headers=(("x-role", "user"),)),),
    "path, method and headers": (
        HttpMatch(path="/public/", methods=("GET", "POST"), headers=(("x-role", "user|guest"), ("x-flag", ".*"))),
        HttpMatch(path="/open$"),
    ),
    "a host": (HttpMatch(headers=(("host", "web(\\.default)?(:80)?"),)), HttpMatch(path="/open$")),
    "methods": (HttpMatch(methods=("GET",)), HttpMatch(methods=("POST",), path="/public/x$")),
}


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(" "))


SEGMENTS = words(
    "public public public api open users x admin secret PUBLIC . .. ... %2e %2e%2e .%2e %2E. ..%2f ..%5c ..\\ "
    "..;x ..%3b ..%20 .%20 ..%00 public%2f public; public;a=b %70ublic publi%63 public%20 public. %61dmin "
    "admin%3f admin? admin?/public %c0%ae%c0%ae %e0%80%af %c0%af %252e%252e %252f %u002e %zz % %00 \xc3\xa9 "
    "%c3%a9 \xff %23 %3f %3b ; \\ ~ @ : * public/ / // %2f %5c %0d%0a %09 %7f x%0ax ..%0d ..%ef%bc%8f"
)
METHODS = words("GET GET GET POST POST HEAD PUT DELETE OPTIONS TRACE PATCH get Post CONNECT PURGE SECRET")
NAMES = words(
    "X-Role x-role X_Role x.role X~Role X-Role-X xrole X-Flag X_FLAG Connection Host host Ho_st "
    "X-HTTP-Method-Override smi-mesh-client-id Smi_Mesh_Client_Id smi.mesh.client.id smi-mesh~client-id "
    "smi-mesh-client_id Authorization Cookie Upgrade TE Trailer Content-Type User-Agent Expect Transfer_Encoding "
    "Content.Length X-Forwarded-Host Keep-Alive"
)
VALUES = words(
    "user user user guest admin user, user,admin user user \xa0user user USER \xff x-role X-Role, host close "
    "keep-alive upgrade websocket h2c bank/admin web other trailers 100-continue chunked DELETE "
    "x-role,smi-mesh-client-id"
)
ODD = (
    " folded",
    "X-Role : user",
    "X-Role",
    "X-Role:\x0buser",
    "x\x00: y",
    "X-Role: user\n",
    "X-Role: us er",
    "X-Role:",
)
INNER = "GET /admin HTTP/1.1\r\nHost: web\r\nX-Role: admin\r\nsmi-mesh-client-id: bank/admin\r\n\r\n"
LAST = b"GET /public/last HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


def target(dice: random.Random) -> str:
    if dice.random() < 0.35:
        return dice.choice(("/public/x", "/public/x", "/open", "/api/users", "/public/" + "y/" * 500))
    path = "".join("/" + dice.choice(SEGMENTS) for _ in range(dice.choice((1, 1, 2, 2, 3, 4, 6))))
    if dice.random() < 0.4:
        path = "/public" + path
    match dice.randrange(12):
        case 0:
            return f"http://{dice.choice(('web', 'web:80', 'WEB', 'web.', 'web.default', 'user@web', 'other'))}{path}"
        case 1:
            return path + "?" + dice.choice(("x=/../admin", "/public/", "a=b#c", "?", ";x"))
        case 2:
            return dice.choice(("*", "/", "//web/admin", "http://web", "http://web?/public/", "web:80", "/public"))
        case _:
            return path


def fields(dice: random.Random) -> list[str]:
    found = [f"Host: {dice.choice(('web', 'web', 'web', 'web', 'web.default', 'WEB', 'web:80', 'web, other'))}"]
    if dice.random() < 0.7:
        found.append("X-Role: user")
    if dice.random() < 0.6:
        found.append(f"X-Flag: {dice.choice(VALUES)}")
    count = dice.choice((0, 0, 0, 1, 1, 2, 4))
    found += [f"{dice.choice(NAMES)}:{dice.choice((' ', '', '  '))}{dice.choice(VALUES)}" for _ in range(count)]
    if dice.random() < 0.05:
        found.append(dice.choice(ODD))
    dice.shuffle(found)
    return found


def request(dice: random.Random) -> bytes:
    lines = fields(dice)
    body = ""
    inner = dice.choice(("hello", INNER, INNER, "0\r\n\r\n" + INNER, "\r\n\r\n" + INNER, ""))
    match dice.randrange(8):
        case 0 | 1:
            lines.append(f"Content-Length: {len(inner)}")
            body = inner
        case 2 | 3:
            lines.append(
                f"Transfer-Encoding: {dice.choice(('chunked', 'chunked', 'Chunked', 'chunked, chunked', ' chunked '))}"
            )
            trailers = "".join(
                f"{dice.choice(NAMES)}: {dice.choice(VALUES)}\r\n" for _ in range(dice.choice((0, 1, 2)))
            )
            body = f"{len(inner):x}\r\n{inner}\r\n" * bool(inner) + f"0\r\n{trailers}\r\n"
        case 4 if dice.random() < 0.3:
            lines += [f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"]
            body = f"{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
        case _:
            pass
    version = dice.choice(("1.1",) * 9 + ("1.0", "1.2"))
    method = dice.choice(("GET", "POST")) if dice.random() < 0.6 else dice.choice(METHODS)
    head = "\r\n".join((f"{method} {target(dice)} HTTP/{version}", *lines, "", ""))
    return (head + body).encode("latin-1")


@dataclass
class Attack:
    """``sent`` requests, in turn through the caller's own sidecar and as a peer."""

    mesh: Joined
    sent: int = 0

    async def one(self, dice: random.Random) -> None:
        by_hand = dice.random() < 0.5
        client = await (self.mesh.peer() if by_hand else self.mesh.near.client())
        data = b"".join(request(dice) for _ in range(dice.choice((1, 1, 2, 3))))
        if not by_hand and dice.random() < 0.3:  # a peer must end its own messages: TLS cannot be half-closed
            data = scratched(data, dice)
        for piece in cut(data + LAST, dice):
            client.send(piece)
            await asyncio.sleep(0)
        self.sent += 1
        if not by_hand:
            client.half_close()
        await ended(client)
        kept = self.mesh.far.clients if by_hand else self.mesh.near.clients
        kept.remove(client)


async def ended(client: End) -> None:
    await client.wait(lambda: client.ended, "an end")
    client.transport.abort()


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_no_reading_of_what_reached_the_application_is_one_that_policy_denies(policy: tuple[HttpMatch, ...]) -> None:
    async def scene() -> None:
        async with Listening() as app:
            async with paired(granting(*policy), app) as mesh:
                attack = Attack(mesh)
                await in_turns(ROUNDS // 2, attack.one)
            arrived = 0
            for stream in app.streams:
                strictly = requests_in(bytes(stream))
                arrived += len(strictly)
                for seen in (*strictly, *requests_in(bytes(stream), reads_bodies=False)):
                    assert allowed(seen, policy), seen
                assert callers(strictly) <= {("default/client",)}
            assert arrived > attack.sent / 20, "the attack hardly got anywhere: it proves nothing"

    play(scene())
