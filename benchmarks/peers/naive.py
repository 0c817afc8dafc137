"""A proxy as one writes it in an afternoon: aiohttp's server in front, its client behind, on uvloop.

``python -m benchmarks.peers.naive PORT UPSTREAM``. It only passes requests on: no split, no retry, no counters.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web

from benchmarks.peers.work import HOST

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"})


async def serve(port: int, upstream: int) -> None:
    """Until the process ends."""
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:

        async def pass_on(request: web.BaseRequest) -> web.StreamResponse:
            url = f"http://{HOST}:{upstream}{request.rel_url}"
            headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
            async with session.request(
                request.method, url, headers=headers, data=request.content if request.body_exists else None
            ) as answer:
                kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
                return web.Response(status=answer.status, headers=dict(kept), body=await answer.read())

        runner = web.ServerRunner(web.Server(pass_on))
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
