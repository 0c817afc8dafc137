"""Requests and answers through one outbound sidecar, byte by byte."""

from __future__ import annotations

from wire import OK, App, play, playing, to

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"


def test_kept_alive_connections_on_both_sides() -> None:
    async def scene() -> None:
        async with App() as app, playing(to(app)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            for _ in range(3):
                await upstream.got(SENT)
                upstream.send(OK)
                await client.got(OK)
                client.send(GET)
            await upstream.got(SENT)
            upstream.send(OK)
            await client.got(OK)
            assert len(app.ends) == 1

    play(scene())
