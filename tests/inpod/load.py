"""Requests at a constant rate, whatever becomes of them: URL, requests a second, methods in turn, a file that ends it.

Connections are kept and used again, as an application's client does it; a broken one is replaced. Prints how many
answers of each kind each method had, {method: {kind: count}}, and of each that was no 200 when it was sent, its method,
kind and what the mesh said. A kind is the status with the word of ``smi-mesh-reason``. Any Python 3 runs it, in a pod.
"""

import asyncio
import collections
import itertools
import json
import sys
import time
import urllib.parse
from pathlib import Path

URL, RATE = urllib.parse.urlsplit(sys.argv[1]), float(sys.argv[2])
METHODS = itertools.cycle(sys.argv[3].split(","))
END = Path(sys.argv[4])
TIMEOUT = 30.0
MOST = 10_000
"""Failures that are told one by one."""

idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
methods: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
failed: list[dict[str, object]] = []


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str) -> tuple[str, str, bool]:
    """What the answer is, what the mesh says of it, and whether the connection stays."""
    head = f"{method} {URL.path or '/'} HTTP/1.1\r\nHost: {URL.hostname}\r\nContent-Length: 0\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = head.split(" ", 2)[1]
    lines = (line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    fields = {name.lower(): value for name, value in lines}
    await reader.readexactly(int(fields.get("content-length", "0")))
    word, _, detail = fields.get("smi-mesh-reason", "").partition("; ")
    kind = status if status == "200" else f"{status} {word}".strip()
    return kind, detail, fields.get("connection", "").lower() != "close"


async def ask(method: str) -> None:
    """One request, on a connection that is free or a new one."""
    while idle and idle[-1][0].at_eof():
        idle.pop()[1].close()
    connection = idle.pop() if idle else None
    began = time.time()
    try:
        async with asyncio.timeout(TIMEOUT):
            connection = connection or await asyncio.open_connection(URL.hostname, URL.port or 80)
            kind, why, stays = await exchange(*connection, method)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        kind, why, stays = f"none {type(error).__name__}", str(error), False
    methods[method][kind] += 1
    if kind != "200" and len(failed) < MOST:
        failed.append({"at": round(began, 3), "method": method, "kind": kind, "why": why})
    if stays and connection is not None:
        idle.append(connection)


def ended() -> bool:
    """Whether it is to end."""
    return END.exists()


async def main() -> None:
    """Open loop: a slow answer delays no request."""
    tasks: set[asyncio.Task[None]] = set()
    began, sent = time.monotonic(), 0
    while not ended():
        while sent < (time.monotonic() - began) * RATE:
            task = asyncio.ensure_future(ask(next(METHODS)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    sys.stdout.write(json.dumps({"methods": methods, "failed": failed}))


asyncio.run(main())
