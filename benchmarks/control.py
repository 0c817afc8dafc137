"""The control plane at scale: what a change costs, how soon it is in force, what a thousand sidecars weigh.

Simulated sidecars (``swarm.py``) at a controller of its own process that reads an API server of so many Services
(``plane.py``); a few real ones for what they weigh (``scoped.py``). ``--json FILE`` takes goals and samples; usage:
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.goals import GOALS, Row
from benchmarks.plane import Plane, host_of, plane
from benchmarks.scoped import SIDECARS, memory_of_sidecars
from benchmarks.swarm import Pod, Stream, Swarm, Taken, epoch, percentile, shake_hands
from proxy.contract import report as counts
from proxy.contract.report import Labels, Report, bucket_of, pack

POPULAR, RARE, PLAIN = 0, 10, 20
"""Services with a split that all, and that ``AFFECTED`` sidecars call; from ``PLAIN`` on those called without one."""

DEPENDENCIES = 10
AFFECTED = 10
QUIET = 0.25
"""Seconds between two changes: the pace of pushes has recovered by then."""

REPORT_SECONDS = 5.0
SERIES = 20
"""In each report: ten dependencies, both ways."""

LISTS = 5
REFUSED = re.compile(r"smi_mesh_controller_reports_refused_total(\{.*\})? [1-9]")

ANSWER_SECONDS = 60.0
SETTLE_SECONDS = 5.0

_TEXTS = {one.name: one.text for one in GOALS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How much of it."""

    services: tuple[int, ...] = (100, 1_000, 10_000)
    few: int = 100
    many: int = 1_000
    changes: int = 50
    reports: int = 12
    handshakes: float = 10.0


QUICK = Form(services=(100, 1_000), few=20, many=100, changes=10, reports=3, handshakes=2.0)


@dataclass(slots=True, kw_only=True)
class Sidecars:
    """A swarm, and what it was pushed since it was last asked."""

    plane: Plane
    taken: list[tuple[Stream, Taken]] = field(default_factory=list)
    swarm: Swarm = field(init=False)

    def __post_init__(self) -> None:
        self.swarm = Swarm(
            self.plane.authority, self.plane.options.control_port, lambda stream, one: self.taken.append((stream, one))
        )

    async def connect(self, callers: Sequence[Pod]) -> list[int]:
        """Bytes of the first push to each."""
        self.taken.clear()
        fresh = await self.swarm.connect(callers)
        await self.answered(len(fresh))
        return [one.wire for _, one in self.taken]

    async def answered(self, count: int) -> None:
        """So many different sidecars have taken something."""
        until = time.monotonic() + ANSWER_SECONDS
        while len({id(stream) for stream, _ in self.taken}) < count:
            if time.monotonic() > until or any(stream.lost for stream in self.swarm.streams):
                raise SystemExit(f"{len(self.taken)} of {count} sidecars took the change, then no more")
            await asyncio.sleep(0.001)

    async def change(self, number: int, weight: int, affected: int) -> tuple[list[float], list[int]]:
        """Milliseconds until each of those affected runs on a change of weights, and bytes that all got."""
        await asyncio.sleep(QUIET)
        self.taken.clear()
        began = time.perf_counter()
        self.plane.weigh(number, weight)
        await self.answered(affected)
        await asyncio.sleep(0.05)  # whoever gets bytes and should not
        return [(one.at - began) * 1e3 for _, one in self.taken], [one.wire for _, one in self.taken]


def callers_of(services: int, count: int) -> list[Pod]:
    """Pods that call ``DEPENDENCIES`` Services each: all the popular one, some the rare one, the last only plain."""
    found = []
    for number in range(count):
        name = f"caller-{number:05d}"
        first = [] if number == count - 1 else [POPULAR]
        first += [RARE] if number < AFFECTED else []
        plain = (PLAIN + (number * 7 + step) % (services - PLAIN - 3) for step in range(DEPENDENCIES - len(first)))
        numbers = [*first, *plain]
        hosts = tuple(map(host_of, numbers))
        found.append(Pod(namespace=f"callers-{number // 50:03d}", name=name, account=name, hosts=hosts))
    return found


async def changes(sidecars: Sidecars, form: Form, connected: int) -> dict[str, Any]:
    """Latency, bytes and CPU of changes that concern some, and all."""
    # The API server's objects are ours: looking through them for rubbish would delay sidecars that are ours as well.
    gc.collect()
    gc.freeze()
    idle = await idle_cpu(sidecars.plane)
    found: dict[str, Any] = {"idle_cpu": idle}
    # The one that calls plain Services only is not affected by either.
    for kind, number, affected in (("rare", RARE, min(AFFECTED, connected)), ("popular", POPULAR, connected - 1)):
        each, last, wire = [], [], []
        cpu, began = sidecars.plane.cpu(), time.monotonic()
        for step in range(form.changes):
            taken, bytes_of = await sidecars.change(number, 10 + step % 80, affected)
            each += taken
            last.append(max(taken))
            wire += bytes_of
        await asyncio.sleep(1.0)  # statuses are written a moment later
        spent = sidecars.plane.cpu() - cpu - idle * (time.monotonic() - began)
        found[kind] = {
            "affected": affected,
            "got_bytes": len(wire) / form.changes,
            "bytes": max(wire),
            "cpu_ms": spent * 1e3 / form.changes,
            "first_ms": {"p50": percentile(each, 0.5), "p99": percentile(each, 0.99)},
            "last_ms": {"p50": percentile(last, 0.5), "p99": percentile(last, 0.99)},
        }
    return found


async def idle_cpu(of: Plane) -> float:
    """Share of a core."""
    await asyncio.sleep(SETTLE_SECONDS)
    began, cpu = time.monotonic(), of.cpu()
    await asyncio.sleep(SETTLE_SECONDS)
    return (of.cpu() - cpu) / (time.monotonic() - began)


async def alone(of: Plane, form: Form) -> dict[str, float]:
    """One sidecar, one change after another: milliseconds."""
    sidecars = Sidecars(plane=of)
    await sidecars.connect(callers_of(of.services, form.few)[:1])
    found: list[float] = []
    for step in range(form.changes):
        found += (await sidecars.change(POPULAR, 10 + step % 80, 1))[0]
    sidecars.swarm.close()
    return {"p50": percentile(found, 0.5), "p99": percentile(found, 0.99)}


async def reports(sidecars: Sidecars, form: Form) -> dict[str, float]:
    """All sidecars report, spread over each interval; what that costs, and what a list of all pods' metrics takes.

    ``list_ms`` is what the client waits for, ``list_cpu_ms`` what the controller spends on it.
    """
    of, streams = sidecars.plane, sidecars.swarm.streams
    before, cpu, began = of.pss(), of.cpu(), time.monotonic()
    lives = {id(stream): epoch() for stream in streams}
    for round_ in range(1, form.reports + 1):
        for index, stream in enumerate(streams):
            stream.say(_report(lives[id(stream)], round_, stream.pod))
            if index % 10 == 9:
                due = began + (round_ - 1 + index / len(streams)) * REPORT_SECONDS
                await asyncio.sleep(max(0.0, due - time.monotonic()))
    share = (of.cpu() - cpu) / (time.monotonic() - began)
    memory = of.pss() - before
    await asyncio.sleep(1.0)  # the last reports are answered
    took, body = [], b""
    async with of.metrics() as ask:
        await ask("/apis/metrics.smi-spec.io/v1alpha1/pods")
        cpu = of.cpu()
        for _ in range(LISTS):
            asked = time.monotonic()
            body = await ask("/apis/metrics.smi-spec.io/v1alpha1/pods")
            took.append((time.monotonic() - asked) * 1e3)
        spent = (of.cpu() - cpu) * 1e3 / LISTS
    answer = json.loads(body)
    pods = len(answer["items"]) + answer["metadata"].get("remainingItemCount", 0)
    if pods < len(streams):
        raise SystemExit(f"only {pods} of {len(streams)} pods have metrics")
    refused = [line for line in (await of.page("/metrics")).decode().splitlines() if REFUSED.match(line)]
    if refused:
        raise SystemExit(f"reports were refused: {refused[0]}")
    return {
        "cpu_share": share,
        "mb_over_idle": memory,
        "list_ms": percentile(took, 0.5),
        "list_cpu_ms": spent,
        "pods": pods,
    }


async def listed(form: Form) -> dict[str, float]:
    """What reports and lists take where there are few pods beside those that report."""
    callers = callers_of(form.services[0], form.many)
    async with plane(form.services[0], [(pod.namespace, pod.name, pod.account) for pod in callers]) as of:
        sidecars = Sidecars(plane=of)
        await sidecars.connect(callers)
        found = await reports(sidecars, form)
        sidecars.swarm.close()
        return found


def _report(life: str, sequence: int, pod: Pod) -> Report:
    cell = pack((0, 38, 0, 1, 1), 220_000, {bucket_of(0.001 * step): 4 for step in range(1, 11)})
    rows = []
    for series in range(SERIES):
        outbound = series < SERIES // 2
        labels = Labels(
            direction="outbound" if outbound else "inbound",
            destination=f"{pod.hosts[series % DEPENDENCIES]}:80" if outbound else "8080",
            pod=f"{pod.namespace}/peer-{series}" if outbound else "",
            peer=f"spiffe://cluster.local/ns/{pod.namespace}/sa/peer-{series}",
            tls="true",
            verdict="" if outbound else "allow",
        )
        rows.append(counts.Row(series, cell, labels if sequence == 1 else None))
    return Report(epoch=life, sequence=sequence, seconds=REPORT_SECONDS, rows=tuple(rows))


async def at(services: int, form: Form, *, whole: bool) -> dict[str, Any]:
    """All figures at so many Services; ``whole``: also with many sidecars, and what does not depend on Services."""
    wanted = callers_of(services, form.many if whole else form.few)
    callers = [*wanted[: form.few - 1], wanted[-1]]
    async with plane(services, [(pod.namespace, pod.name, pod.account) for pod in wanted]) as of:
        found: dict[str, Any] = {"services": services, "pss_bare": of.pss()}
        if whole:
            found["alone_ms"] = await alone(of, form)
        sidecars = Sidecars(plane=of)
        found["config_bytes"] = (await sidecars.connect(callers[-1:]))[0]
        await sidecars.connect(callers[:-1])
        found["few"] = await changes(sidecars, form, len(callers)) | {"sidecars": len(callers), "pss": of.pss()}
        if whole:
            await sidecars.connect(wanted[form.few - 1 : -1])
            found["many"] = await changes(sidecars, form, len(wanted)) | {"sidecars": len(wanted), "pss": of.pss()}
            found["reports"] = await reports(sidecars, form)
            context, cpu = sidecars.swarm.context(callers[0]), of.cpu()
            shaken = await shake_hands(context, of.options.control_port, form.handshakes, 8)
            found["handshakes_per_core"] = shaken / (of.cpu() - cpu)
        sidecars.swarm.close()
        # The same pods at every size call the same Services: what differs is how many others there are.
        found["sidecar_mb"] = await memory_of_sidecars(of, callers[:SIDECARS])
    if whole:
        found["listed"] = await listed(form)
    return found


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least-squares line through the logarithms; not a number where noise drowned the figures."""
    if any(y <= 0 for _, y in points):
        return math.nan
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x, mean_y = (sum(one[axis] for one in logs) / len(logs) for axis in (0, 1))
    rise = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return float(rise / sum((x - mean_x) ** 2 for x, _ in logs))


def goal(name: str, measured: dict[str, float], met: bool) -> Row:
    """One row; a part that could not be measured leaves open whether it is met."""
    known = {key: None if math.isnan(value) else round(value, 4) for key, value in measured.items()}
    return {"name": name, "goal": _TEXTS[name], "measured": known, "met": None if None in known.values() else met}


def goals(runs: Sequence[dict[str, Any]], form: Form) -> list[Row]:
    """The rows of docs/performance.md's table that are the control plane's; what a smaller form cannot say is None."""
    last = runs[-1]
    many, few = last["many"], last["few"]
    config = [(float(run["services"]), float(run["config_bytes"])) for run in runs]
    cpu = [(float(run["services"]), float(run["few"]["rare"]["cpu_ms"])) for run in runs]
    memory = _memory(runs, "pss")
    each = (many["pss"] - few["pss"]) * 1024 / (many["sidecars"] - few["sidecars"])
    bytes_, others = float(many["rare"]["bytes"]), many["rare"]["got_bytes"] - many["rare"]["affected"]
    one, late = last["alone_ms"], many["popular"]["last_ms"]["p99"]
    whole = form == Form()
    found = [
        goal(
            "config, 10 dependencies of 3 endpoints, of any N Services",
            {f"bytes at {size:g}": value for size, value in config},
            max(value for _, value in config) <= 1536,
        ),
        goal(
            "one weight change",
            {"bytes": bytes_, "others that got bytes": others},
            bytes_ <= 150 and others == 0,
        ),
        goal(
            "change → enforced, one sidecar, first change after 100 ms of quiet",
            {"p50 ms": one["p50"], "p99 ms": one["p99"]},
            one["p50"] <= 5 and one["p99"] <= 20,
        ),
        goal("change → enforced at the last of 1,000 sidecars", {"p99 ms": late}, late <= 200),
        goal(
            "controller PSS, 10,000 Services, 1,000 sidecars",
            {"MB": many["pss"], "KB per sidecar": each},
            many["pss"] <= 220 and each <= 60,
        ),
        _of_memory(runs),
        goal(
            "growth: scoped config and sidecar memory against all Services",
            {"exponent of config": exponent(config), "exponent of sidecar memory": exponent(memory)},
            max(exponent(config), exponent(memory)) <= 0.05,
        ),
        goal(
            "CPU of one change against all Services",
            {
                "exponent": exponent(cpu),
                **{f"ms at {size:g}": value for size, value in cpu},
                f"ms at {last['services']} and {many['sidecars']} sidecars": float(many["rare"]["cpu_ms"]),
            },
            exponent(cpu) <= 0.1,
        ),
    ]
    found += _of_reports(last)
    if not whole:
        of_scale = ("1,000", "10,000")
        for row in found:
            if any(size in row["name"] for size in of_scale):
                row["measured"] = row["met"] = None
    return found


def _memory(runs: Sequence[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    """Services, and MB of a real sidecar: the median of several."""
    return [(float(run["services"]), statistics.median(run["sidecar_mb"][kind])) for run in runs]


def _of_memory(runs: Sequence[dict[str, Any]]) -> Row:
    """What a sidecar weighs more where there are most Services than where there are fewest; it calls the same."""
    pss, written = _memory(runs, "pss"), _memory(runs, "private_dirty")
    more = pss[-1][1] - pss[0][1]
    measured = {"MB more": more, "MB more that it shares with none": written[-1][1] - written[0][1]}
    measured |= {f"MB at {size:g}": value for size, value in pss}
    return goal("PSS for 10,000 Services in the cluster", measured, more <= 1)


def _of_reports(run: dict[str, Any]) -> list[Row]:
    """What TrafficMetrics cost: intake beside all Services, a list where there are no pods but those that report."""
    took, listing = run["reports"], run["listed"]
    return [
        goal(
            "reports of 1,000 pods, share of a core",
            {"%": took["cpu_share"] * 100},
            took["cpu_share"] <= 0.15,
        ),
        goal(
            "memory over idle for 1,000 pods' reports",
            {"MB": took["mb_over_idle"]},
            took["mb_over_idle"] <= 90,
        ),
        goal(
            "list of all pods' metrics, 1,000 pods",
            {
                f"{what} of {run_['pods']:g} pods": run_[key]
                for run_ in (listing, took)
                for what, key in (("ms", "list_ms"), ("CPU ms", "list_cpu_ms"))
            },
            listing["list_ms"] <= 200,
        ),
    ]


async def measured(form: Form) -> dict[str, Any]:
    """Goals and samples."""
    runs = []
    for services in form.services:
        print(f"{services} Services", file=sys.stderr, flush=True)
        runs.append(await at(services, form, whole=services == form.services[-1]))
    growth = {
        "config bytes": [(run["services"], run["config_bytes"]) for run in runs],
        "MB of a sidecar": _memory(runs, "pss"),
        "CPU ms of one change": [(run["services"], run["few"]["rare"]["cpu_ms"]) for run in runs],
    }
    return {"goals": goals(runs, form), "samples": {"runs": runs, "growth": growth}}


def main() -> int:
    """Prints the goals, or writes all; 0 whatever came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write goals and samples")
    parser.add_argument("--quick", action="store_true", help="smaller: 1,000 Services, 100 sidecars")
    options = parser.parse_args()
    found = uvloop.run(measured(QUICK if options.quick else Form()))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))
    print(json.dumps(found["goals"] if options.json is not None else found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
