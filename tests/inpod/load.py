"""Requests at a constant rate, whatever becomes of them: URL, requests a second, method, path of a file that ends it.

Connections are kept and used again, as an application's client does it; a broken one is replaced. Prints {kind: count}
and the first of each kind of failure with its time. Any Python 3 runs it, inside a pod.
"""

import asyncio
import collections
import json
import sys
import time
import urllib.parse
from pathlib import Path

URL, RATE, METHOD = urllib.parse.urlsplit(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
END = Path(sys.argv[4])
REQUEST = f"{METHOD} {URL.path or '/'} HTTP/1.1\r\nHost: {URL.hostname}\r\nContent-Length: 0\r\n\r\n".encode()
TIMEOUT = 30.0

idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
kinds: collections.Counter[str] = collections.Counter()
first: dict[str, str] = {}


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, bool]:
    """What the answer is, and whether the connection stays."""
    writer.write(REQUEST)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = head.split(" ", 2)[1]
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(fields.get("content-length", "0")))
    kind = status if status == "200" else f"{status} {fields.get('smi-mesh-reason', '')}".strip()
    return kind, fields.get("connection", "") != "close"


async def ask() -> None:
    """One request, on a connection that is free or a new one."""
    while idle and idle[-1][0].at_eof():
        idle.pop()[1].close()
    connection = idle.pop() if idle else None
    try:
        async with asyncio.timeout(TIMEOUT):
            connection = connection or await asyncio.open_connection(URL.hostname, URL.port or 80)
            kind, stays = await exchange(*connection)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        kind, stays = f"none {type(error).__name__}", False
    kinds[kind] += 1
    if kind != "200":
        first.setdefault(kind, time.strftime("%H:%M:%S"))
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
            task = asyncio.ensure_future(ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    sys.stdout.write(json.dumps({"kinds": kinds, "first": first}))


asyncio.run(main())
