"""Three services in a row, each with a retry policy, the last of which fails always: how many requests reach it?

No more than (1 + ratio) × the client's, plus min × (time + ttl) for each of the
three callers, whatever the rate. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.load import SERVE, Load, Mesh, deployment, running, service

RATIO, MINIMUM, TTL = 0.2, 2.0, 5.0
CALLERS = 3

SERVER = """\
import asyncio, os, re, urllib.parse
following, proxy = os.environ["NEXT"], urllib.parse.urlsplit(os.environ["HTTP_PROXY"])
count, idle = open(os.environ["PLACE"] + "/" + os.environ["POD_NAME"] + ".count", "a", buffering=1), []
async def status():
    if not following:
        return "503"
    pair = idle.pop() if idle else await asyncio.open_connection(proxy.hostname, proxy.port)
    pair[1].write(f"GET / HTTP/1.1\\r\\nHost: {following}\\r\\n\\r\\n".encode())
    head = (await pair[0].readuntil(b"\\r\\n\\r\\n")).decode()
    length = re.search(r"(?i)content-length: *(\\d+)", head)
    await pair[0].readexactly(int(length[1]) if length else 0)
    idle.append(pair)
    return head[9:12]
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            count.write("x\\n")
            writer.write(f"HTTP/1.1 {await status()} So\\r\\ncontent-length: 0\\r\\n\\r\\n".encode())
    except (OSError, EOFError):
        writer.close()
"""


async def measure(mesh: Mesh, place: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Requests that came to each service, and what they may be at most."""
    (client,) = mesh.pods("client")
    before = counts(place)
    load = Load(host=client["ip"], service="a", rate=rate, at_once=16)
    began = time.monotonic()
    await load.run(seconds)
    lasted = time.monotonic() - began
    sent = len(load.answers)
    reached = {name: count - before[name] for name, count in counts(place).items()}
    return {
        "rate": rate,
        "rate_reached": round(sent / lasted, 1),
        "seconds": round(lasted, 1),
        "answers": dict(load.kinds()),
        "reached": reached,
        "factor": round(reached["c"] / sent, 3),
        "most_for_one_caller": round((1 + RATIO) * sent + MINIMUM * (lasted + TTL)),
        "most": round((1 + RATIO) * sent + CALLERS * MINIMUM * (lasted + TTL)),
    }


def counts(place: Path) -> dict[str, int]:
    """How many requests each service has had so far."""
    return {name: sum(len(file.read_text()) // 2 for file in place.glob(f"{name}-*.count")) for name in "abc"}


def main() -> int:
    """Prints a line of JSON for each rate; 1 if it was too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, action="append", help="requests a second (default 20, 100 and 300)")
    parser.add_argument("--seconds", type=float, default=15.0, help="for so long each (default 15)")
    options = parser.parse_args()
    retries = {
        "retry__on": "5xx",
        "retry__limit": "10",
        "retry__budget": f"ratio={RATIO},min={MINIMUM:.0f}/s,ttl={TTL:.0f}s",
        "retry__backoff": "1ms..10ms",
    }
    excess = False
    with tempfile.TemporaryDirectory() as folder:
        following = {"a": "b", "b": "c", "c": ""}
        servers = [
            deployment(name, 1, [sys.executable, "-c", SERVER + SERVE], {"PLACE": folder, "NEXT": after})
            for name, after in following.items()
        ]
        services = [service(name, name, **retries) for name in following]
        with running(*servers, *services, deployment("client", 1, ["sleep", "infinity"])) as mesh:
            for rate in options.rate or (20.0, 100.0, 300.0):
                figures = asyncio.run(measure(mesh, Path(folder), rate, options.seconds))
                excess = excess or figures["reached"]["c"] > figures["most"]
                print(json.dumps(figures), flush=True)
    return 1 if excess else 0


if __name__ == "__main__":
    sys.exit(main())
