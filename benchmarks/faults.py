"""Endpoints killed, hung, slow, resetting, half-answering under load: what the client sees, and who is sent requests.

A local mesh with four servers, one of which is hurt and healed again, a fault
at a time. A failure that the Service's policy does not intend makes the exit
code 1, and so does a POST that came to a server twice. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.load import SERVE, Load, Mesh, deployment, running, service

# Seconds before a fault, until it is healed, and after that.
BEFORE, DURING, AFTER = 3.0, 4.0, 12.0
# Seconds until breaker and balancer are to have moved away.
AWAY = 1.0
# Seconds that no sound server takes here, even on a busy machine.
LONG = 0.2

SERVER = """\
import asyncio, os, pathlib, socket, struct, time
place, pod = pathlib.Path(os.environ["PLACE"]), os.environ["POD_NAME"]
fault, hits, posts = place / f"{pod}.fault", place / f"{pod}.hits", (place / f"{pod}.posts").open("a", buffering=1)
async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
            wrong = fault.read_text() if fault.exists() else ""
            if head.startswith("POST"):
                print(head.lower().partition("x-name: ")[2].partition("\\r")[0], file=posts)
            if wrong:
                with hits.open("a") as file:
                    print(time.monotonic(), file=file)
            if wrong == "slow":
                await asyncio.sleep(0.5)
            status, body = "503 Busy" if wrong == "busy" else "200 OK", pod.encode()
            answer = f"HTTP/1.1 {status}\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n".encode() + body
            if wrong == "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif wrong == "half":
                writer.write(answer[:-4])
                writer.close()
            else:
                writer.write(answer)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()
"""

Change = Callable[[dict[str, Any], Path], None]
"""Does something to a pod (as ``smi local status`` shows it); the folder is where its server looks for a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``intended`` are failures that the policy does not hide from the client, as method and kind."""

    name: str
    hurt: Change
    heal: Change = lambda _pod, _place: None
    service: str = "web"
    intended: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of one fault. ``late``: requests begun ``AWAY`` seconds after it or later that took ``LONG`` or failed.

    ``late_hits`` were those the hurt server noticed then, of ``late_requests``
    in all; ``share_after`` is its part of the answers in the last three seconds,
    ``back_after`` when it first answered again, in seconds after it was healed.
    """

    fault: str
    rate: float
    answers: dict[str, int]
    unintended: dict[str, int]
    duplicates: int
    p50_ms: float
    p99_ms: float
    late: int
    late_hits: int
    late_requests: int
    back_after: float | None
    share_after: float


def send(number: signal.Signals, process: str) -> Change:
    """A signal to a pod's ``app`` or ``sidecar``."""
    return lambda pod, _place: os.kill(pod[process]["pid"], number)


def turn(fault: str) -> Change:
    """A server that does something wrong; empty: nothing any more."""

    def change(pod: dict[str, Any], place: Path) -> None:
        file = place / f"{pod['name']}.fault"
        if fault:
            file.write_text(fault)
        else:
            file.unlink()

    return change


# A POST may be lost where nobody knows whether it was carried out; it is not sent again.
LOST = frozenset({"POST 502 reset"})
FAULTS = (
    Fault(name="application killed", hurt=send(signal.SIGKILL, "app"), intended=LOST),
    Fault(name="sidecar killed", hurt=send(signal.SIGKILL, "sidecar"), intended=LOST),
    Fault(
        name="application hung",
        hurt=send(signal.SIGSTOP, "app"),
        heal=send(signal.SIGCONT, "app"),
        intended=frozenset({"POST 504 timeout"}),
    ),
    Fault(
        name="sidecar hung",
        hurt=send(signal.SIGSTOP, "sidecar"),
        heal=send(signal.SIGCONT, "sidecar"),
        intended=frozenset({"POST 504 timeout"}),
    ),
    Fault(name="slow by 500 ms", hurt=turn("slow"), heal=turn(""), service="calm"),
    Fault(name="busy", hurt=turn("busy"), heal=turn(""), intended=frozenset({"POST 503"})),
    Fault(name="resetting", hurt=turn("reset"), heal=turn(""), intended=LOST),
    # An answer that has begun is not taken back.
    Fault(name="half-answering", hurt=turn("half"), heal=turn(""), intended=frozenset({"GET broken", "POST broken"})),
)


async def suffer(fault: Fault, mesh: Mesh, place: Path, rate: float) -> Figures:
    """Hurts one server under load, heals it, and counts."""
    pods = await asyncio.to_thread(ready, mesh)
    (client,) = mesh.pods("client")
    victim = pods[0]
    load = Load(host=client["ip"], service=fault.service, rate=rate, posts=10)
    hits = place / f"{victim['name']}.hits"
    hits.write_text("")
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(load.run(BEFORE + DURING + AFTER))
        await asyncio.sleep(BEFORE)
        hurt = time.monotonic()
        fault.hurt(victim, place)
        await asyncio.sleep(DURING)
        fault.heal(victim, place)
        healed = time.monotonic()
        await sending
    return judge(fault, load, victim["name"], (hurt, healed), [float(line) for line in hits.read_text().split()], place)


def ready(mesh: Mesh) -> list[dict[str, Any]]:
    """The servers, once all of them are ready."""
    while True:
        pods = mesh.pods("web")
        if all(pod["ready"] and pod["app"]["pid"] and pod["sidecar"]["pid"] for pod in pods):
            return pods
        time.sleep(0.2)


def judge(fault: Fault, load: Load, victim: str, times: tuple[float, float], hits: list[float], place: Path) -> Figures:
    """The figures of what was counted."""
    hurt, healed = times
    answers, kinds = load.answers, load.kinds()
    late = [answer for answer in answers if hurt + AWAY <= answer.at < healed]
    back = [answer.at + answer.seconds for answer in answers if answer.body == victim and answer.at > healed]
    end = max(answer.at for answer in answers)
    last = [answer for answer in answers if answer.at > end - 3.0]
    seconds = sorted(answer.seconds for answer in answers)
    posts = Counter(line for file in place.glob("*.posts") for line in file.read_text().split())
    return Figures(
        fault=fault.name,
        rate=round(len(answers) / (end - min(answer.at for answer in answers)), 1),
        answers=dict(kinds),
        unintended={
            kind: count for kind, count in kinds.items() if not kind.endswith(" 200") and kind not in fault.intended
        },
        duplicates=sum(count - 1 for count in posts.values()),
        p50_ms=round(seconds[len(seconds) // 2] * 1e3, 1),
        p99_ms=round(seconds[len(seconds) * 99 // 100] * 1e3, 1),
        late=sum(answer.seconds > LONG or answer.kind != "200" for answer in late),
        late_hits=sum(hurt + AWAY <= hit < healed for hit in hits),
        late_requests=len(late),
        back_after=round(min(back) - healed, 2) if back else None,
        share_after=round(sum(answer.body == victim for answer in last) / len(last), 3),
    )


def main() -> int:
    """Prints a line of JSON for each fault; 1 if there was a failure that nobody intended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second (default 300)")
    parser.add_argument("--fault", action="append", help=f"only these: {', '.join(fault.name for fault in FAULTS)}")
    options = parser.parse_args()
    breaker = {
        "breaker__consecutive_failures": "5",
        "breaker__min_penalty": "500ms",
        "breaker__max_penalty": "1s",
        "timeout__request": "10s",
    }
    retries = {"retry__on": "5xx,connect-failure,reset", "retry__limit": "3", "retry__timeout": "500ms"}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        server = deployment("web", 4, [sys.executable, "-c", SERVER + SERVE], {"PLACE": folder})
        client = deployment("client", 1, ["sleep", "infinity"])
        with running(
            server, client, service("web", "web", **retries, **breaker), service("calm", "web", **breaker)
        ) as mesh:
            for fault in FAULTS:
                if not options.fault or fault.name in options.fault:
                    figures = asyncio.run(suffer(fault, mesh, Path(folder), options.rate))
                    wrong += sum(figures.unintended.values()) + figures.duplicates
                    print(json.dumps(asdict(figures)), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
