"""The comparison as a whole: which measurements are taken, in which order, and which figures come of them.

A measurement that cannot be taken on this machine leaves a note and its goals null. Figures are named by what they are
and between whom: ``cpu: ours / Envoy``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import calls, handshakes, latency, memory
from benchmarks.estimate import Estimate, abba, average, ratio_of_pairs, ratio_of_sums
from benchmarks.goals import Row, strangers
from benchmarks.latency import Latency
from benchmarks.pairs import Pair, compared, counts
from benchmarks.peers.contenders import Arena, entered
from benchmarks.peers.processes import ROOT
from benchmarks.saturation import Sample, saturated

TWINS = ("ours", "ours")
PATIENCE = 2
"""How often the twins are compared at most before anything else is, until a restless machine has come to rest."""

ENOUGH = 3.0
"""How many times as many requests as the quickest proxy the load and the server must manage without one."""


SATURATED = 0.95
"""Part of its core that a proxy at saturation uses at least; below it throughput is not that of a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. ``seconds`` are those of one run, whole ones for wrk; an empty tuple or 0 leaves it out."""

    name: str
    comparisons: tuple[tuple[str, str], ...]
    pairs: int
    seconds: int
    counted: tuple[str, ...]
    rates: tuple[int, ...]
    latency_pairs: int
    latency_seconds: float
    handshake_pairs: int
    grpc_pairs: int
    memory_of: tuple[str, ...]
    control: bool


FULL = Plan(
    name="full",
    comparisons=(
        TWINS,
        ("ours", "Envoy"),
        ("ours", "HAProxy"),
        ("ours", "naive"),
        ("ours plain", "Envoy plain"),
        ("ours plain", "nginx"),
        ("ours pair", "Envoy pair"),
    ),
    pairs=12,
    seconds=3,
    counted=("ours plain", "ours", "ours pair", "Envoy plain", "Envoy", "Envoy pair", "HAProxy", "nginx", "naive"),
    rates=(300, 1000, 2000),
    latency_pairs=6,
    latency_seconds=8.0,
    handshake_pairs=10,
    grpc_pairs=10,
    memory_of=("ours pair", "Envoy pair"),
    control=True,
)
QUICK = Plan(
    name="quick",
    comparisons=(TWINS, ("ours", "Envoy"), ("ours", "HAProxy"), ("ours pair", "Envoy pair")),
    pairs=3,
    seconds=1,
    counted=("ours", "ours pair"),
    rates=(1000,),
    latency_pairs=2,
    latency_seconds=2.0,
    handshake_pairs=0,
    grpc_pairs=0,
    memory_of=(),
    control=False,
)


@dataclass(slots=True, kw_only=True)
class Findings:
    """What has been found. ``brought`` are rows of goals that others measured."""

    figures: dict[str, Estimate] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    brought: list[Row] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tells it now, and in the report."""
        self.notes.append(text)
        tell(f"note: {text}")


def tell(text: str) -> None:
    """What is going on, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def measure(plan: Plan, where: Arena) -> Findings:
    """Everything of ``plan``."""
    found = Findings()
    at_saturation(plan, where, found)
    at_rates(plan, where, found)
    with_certificates(plan, where, found)
    of_grpc(plan, found)
    of_memory(plan, where, found)
    of_the_control_plane(plan, found)
    return found


def at_saturation(plan: Plan, where: Arena, found: Findings) -> None:
    """CPU time and throughput of all pairs, then what is counted at a cost."""
    runs: defaultdict[str, list[Sample]] = defaultdict(list)
    for first, second in plan.comparisons:
        pairs = _twins(plan, where, found) if (first, second) == TWINS else _pairs(plan, where, found, first, second)
        runs[first] += [a for a, _ in pairs]
        runs[second] += [b for _, b in pairs]
    counted = {name: counts(where, name, plan.seconds) for name in plan.counted}
    means = {name: _mean(samples) for name, samples in runs.items()}
    found.samples["saturation"] = {name: {**mean, **counted.get(name, {})} for name, mean in means.items()}
    with entered(where, "direct") as server:
        direct = saturated(where, server, plan.seconds).rate
    found.samples["direct rate"] = round(direct, 1)
    quickest = max(mean["rate"] for mean in means.values())
    if direct < ENOUGH * quickest:
        found.note(
            f"load and server manage {direct / quickest:.1f} times what the quickest proxy does, not {ENOUGH:.0f}: "
            "its throughput is a lower bound"
        )
    idle = {name: mean["busy"] for name, mean in means.items() if mean["busy"] < SATURATED}
    if idle:
        told = ", ".join(f"{name} {part:.0%}" for name, part in idle.items())
        found.note(f"not all of the core was used, be it for want of load or for others that ran there: {told}")


def _twins(plan: Plan, where: Arena, found: Findings) -> list[Pair]:
    """The A/A pair, again while it says that the machine is restless; each time is told, the last one counts."""
    pairs = _pairs(plan, where, found, *TWINS)
    for _ in range(PATIENCE - 1):
        if not (why := invalid(found.figures)):
            break
        found.note(f"{why}; compared again")
        pairs = _pairs(plan, where, found, *TWINS)
    return pairs


def _pairs(plan: Plan, where: Arena, found: Findings, first: str, second: str) -> list[Pair]:
    pairs = compared(where, first, second, plan.pairs, plan.seconds)
    _compare(found, first, second, pairs)
    return pairs


def _compare(found: Findings, first: str, second: str, pairs: list[Pair]) -> None:
    between = f"{first} / {second}"
    cpu = ratio_of_pairs([(a.cpu_us, b.cpu_us) for a, b in pairs])
    found.figures[f"cpu: {between}"] = cpu
    found.figures[f"rate: {between}"] = ratio_of_pairs([(a.rate, b.rate) for a, b in pairs])
    found.samples.setdefault("pairs", {})[between] = [[asdict(a), asdict(b)] for a, b in pairs]
    tell(f"{between}: CPU {cpu.value:.3f} [{cpu.low:.3f}, {cpu.high:.3f}]")


def _mean(samples: list[Sample]) -> dict[str, float]:
    requests = sum(sample.requests for sample in samples)
    seconds, ticks = sum(sample.seconds for sample in samples), sum(sample.user + sample.system for sample in samples)
    cpu_us = sum(sample.cpu for sample in samples) / requests * 1e6
    # The scheduler's count is exact, the ticks only tell how it divides.
    user = sum(sample.user for sample in samples) / ticks if ticks else 0.0
    return {
        "cpu_us": round(cpu_us, 2),
        "user_us": round(cpu_us * user, 2),
        "system_us": round(cpu_us * (1 - user), 2),
        "rate": round(requests / seconds, 1),
        "busy": round(sum(sample.cpu for sample in samples) / seconds, 3),
    }


def at_rates(plan: Plan, where: Arena, found: Findings) -> None:
    """Latency of the two pairs at fixed rates, each between two runs without a proxy."""
    ours, envoy = "ours pair", "Envoy pair"
    for rate in plan.rates:
        runs = _latencies(where, ours, envoy, rate, plan)
        names = ("direct", ours, envoy)
        curves = {name: _curve([run[at] for run in runs]) for at, name in enumerate(names)}
        found.samples.setdefault("latency", {})[str(rate)] = curves
        found.samples.setdefault("cpu at rate", {})[str(rate)] = {
            name: round(average([run[at].cpu_us for run in runs]).value, 2) for at, name in enumerate(names)
        }
        late = max(run.late_ms for triple in runs for run in triple)
        middle = ", ".join(f"{name} {curve['50']:.2f} ms" for name, curve in curves.items())
        tell(f"at {rate} rps: p50 {middle}; generator at most {late:.2f} ms late")
        found.samples.setdefault("late", {})[str(rate)] = late
        if rate == latency.RATE:
            for percent in (50, 99):
                added = [(a.at(percent) - d.at(percent), b.at(percent) - d.at(percent)) for d, a, b in runs]
                found.samples.setdefault("added", {})[f"p{percent}"] = added
                ratio = ratio_of_sums(added)
                if ratio is None:
                    found.note(f"p{percent}: {envoy} adds nothing that could be told from noise")
                else:
                    found.figures[f"added p{percent}: {ours} / {envoy}"] = ratio


def _latencies(
    where: Arena, first: str, second: str, rate: int, plan: Plan
) -> list[tuple[Latency, Latency, Latency]]:  # fmt: skip
    with ExitStack() as stack:
        direct, *both = (stack.enter_context(entered(where, name)) for name in ("direct", first, second))
        runs = []
        for order in abba(plan.latency_pairs):
            base = latency.measured(where, direct, rate, plan.latency_seconds)
            taken = {turn: latency.measured(where, both[turn], rate, plan.latency_seconds) for turn in order}
            runs.append((base, taken[0], taken[1]))
        return runs


def _curve(runs: list[Latency]) -> dict[str, float]:
    """Milliseconds by percent, the mean over runs."""
    return {percent: round(average([run.curve[percent] for run in runs]).value, 4) for percent in runs[0].curve}


def with_certificates(plan: Plan, where: Arena, found: Findings) -> None:
    """Connections a second and core, by the CPU time of the server's side."""
    if not plan.handshake_pairs:
        return
    pairs = handshakes.compared(where, "ours pair", "Envoy pair", plan.handshake_pairs, plan.seconds)
    found.figures["handshakes: ours / Envoy"] = ratio_of_pairs([(1 / a.cpu_us, 1 / b.cpu_us) for a, b in pairs])
    found.samples["handshakes"] = {
        "ours": round(1e6 / average([a.cpu_us for a, _ in pairs]).value, 1),
        "Envoy": round(1e6 / average([b.cpu_us for _, b in pairs]).value, 1),
        "pairs": [[asdict(a), asdict(b)] for a, b in pairs],
    }
    tell(f"handshakes a core: ours {found.samples['handshakes']['ours']}, Envoy {found.samples['handshakes']['Envoy']}")


def of_grpc(plan: Plan, found: Findings) -> None:
    """CPU time of a call."""
    if not plan.grpc_pairs:
        return
    try:
        pairs, counted = calls.measured(plan.grpc_pairs, plan.seconds)
    except calls.NotMeasured as reason:
        found.note(str(reason))
        return
    _compare(found, calls.OURS, calls.ENVOY, pairs)
    for at, name in enumerate((calls.OURS, calls.ENVOY)):
        found.samples["saturation"][name] = {**_mean([pair[at] for pair in pairs]), **counted[name]}


def of_memory(plan: Plan, where: Arena, found: Findings) -> None:
    """Proportional set sizes at rest."""
    sizes = {"ours": memory.of_a_mesh()}
    sizes |= {name: memory.of_contenders(where, name) for name in plan.memory_of}
    for name, each in sizes.items():
        found.figures[f"PSS: {name}"] = average(each)
        tell(f"PSS of {name}: {found.figures[f'PSS: {name}'].value:.1f} MB")
    found.samples["PSS"] = sizes


def of_the_control_plane(plan: Plan, found: Findings) -> None:
    """What ``benchmarks.control`` measures."""
    if not plan.control:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "control.json")
        command = [sys.executable, "-m", "benchmarks.control", "--json", str(file)]
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        if not file.is_file():
            found.note(f"the control plane was not measured: benchmarks.control ended with {done.returncode}")
            return
        said = json.loads(file.read_text())
    found.brought = said["goals"]
    found.samples["control"] = said.get("samples", {})
    for name in strangers(found.brought):
        found.note(f"control.py measured {name!r}, which is no goal of the table")


def invalid(figures: dict[str, Estimate]) -> str:
    """Why nothing may be concluded from a run; empty: it may."""
    twin = figures.get(f"cpu: {' / '.join(TWINS)}")
    if twin is None:
        return "the sidecar was not compared to its own twin"
    if not twin.same:
        return f"two processes of the very same sidecar differ: A/A is {twin.value:.3f}, the machine was too restless"
    return ""
