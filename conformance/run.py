"""Plays cases: one mesh for all cases of a world, the case's objects swapped in and out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.case import Bounds, Case, Request
from conformance.mesh import Heard, Mesh, MeshError, World

_ADDRESS = re.compile(r"\{ip:([^}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one case went: ``faults`` is empty when it held. ``seconds`` is its duration."""

    case: Case
    faults: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything due was there."""
        return not self.faults


def run(cases: Iterable[Case], mesh: Mesh, worlds: Path, finished: Callable[[Result], None]) -> tuple[Result, ...]:
    """Plays all cases, those of one world together. ``finished`` hears of each as it ends. Raises ``MeshError``."""
    by_world: dict[str, list[Case]] = {}
    for case in cases:
        by_world.setdefault(case.world, []).append(case)
    results = []
    for name, members in by_world.items():
        with mesh.world(name, (worlds / "app.yaml", worlds / f"{name}.yaml")) as world:
            for case in members:
                results.append(_play(case, world))
                finished(results[-1])
    return tuple(results)


def _play(case: Case, world: World) -> Result:
    begin = time.monotonic()
    faults: list[str] = []
    try:
        for number, step in enumerate(case.steps, start=1):
            if step.apply is not None or number == 1:
                world.apply(step.apply or ())
            for request in step.requests:
                faults += [f"step {number}: {_what(request)}: {fault}" for fault in _ask(request, world)]
    except MeshError as error:
        faults.append(str(error))
    return Result(case=case, faults=tuple(faults), seconds=time.monotonic() - begin)


def _ask(request: Request, world: World) -> list[str]:
    order = {
        "url": _ADDRESS.sub(lambda found: world.address(found[1]), request.url),
        "method": request.method,
        "headers": dict(request.headers),
        "raw": _ADDRESS.sub(lambda found: world.address(found[1]), request.raw),
        "times": request.times,
        "clients": request.clients,
        "hear": [name.lower() for name in request.sees],
    }
    before = {workload: world.arrived(workload) for workload in request.reaches}
    found = faults(request, world.send(request.caller, order))
    for workload, due in request.reaches.items():
        came = world.arrived(workload) - before[workload]
        if came != due:
            found.append(f"{came} requests came to the application of {workload}, due are {due}")
    return found


def faults(request: Request, got: Heard) -> list[str]:
    """What is wrong with the answers, in words; empty when all is as due."""
    found = _wrong_counts(request.answers, got.answers)
    for name, due in request.sees.items():
        values = list(got.heard.get(name.lower(), ()))
        if values != [due]:
            found.append(f"the server must see {name}: {due!r}, it saw {values}")
    if found and got.failure:
        found.append(got.failure)
    return found


def _wrong_counts(due: Mapping[str, Bounds], answers: Mapping[str, int]) -> list[str]:
    counted = dict.fromkeys(due, 0)
    surplus = {}
    for kind, count in answers.items():
        status = kind.partition(" ")[0]
        place = kind if kind in counted else status if status in counted else None
        if place is None:
            surplus[kind] = count
        else:
            counted[place] += count
    wrong = [
        f"{kind}: {counted[kind]} answers, due are {low if low == high else f'{low} to {high}'}"
        for kind, (low, high) in due.items()
        if not low <= counted[kind] <= high
    ]
    return wrong + [f"{kind}: {count} answers, due is none" for kind, count in surplus.items()]


def _what(request: Request) -> str:
    if request.raw:
        return f"{request.caller} {request.url} {request.raw!r}"
    return f"{request.caller} {request.method} {request.url}"
