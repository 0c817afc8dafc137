"""What each demo does, as data: the edits, the requests, and how many answers of which kind are due.

An answer's *kind* is what it says before the server's id (``Version 1``), or,
when it is not a 200, its status and the first word of ``smi-mesh-reason``
(``403 denied``). ``translator.demo.traffic`` finds it, ``translator.demo.play``
carries the scenario out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Edit = Callable[[Path], None]

TOLERANCE = 1
"""Answers more or less than due: smooth weighted round-robin is exact over whole periods, a window may cut one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``edit`` changes the mesh's folder first, if anything; then ``due`` answers are asked for and counted.

    ``enforced_by`` names the workload whose sidecars carry the change out.
    """

    name: str
    due: Mapping[str, int]
    headers: Mapping[str, str] = field(default_factory=dict)
    edit: Edit | None = None
    enforced_by: str = ""

    @property
    def requests(self) -> int:
        """How many requests the step sends."""
        return sum(self.due.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One demo: the folder ``name`` of the demos without the ``absent`` files; ``client`` calls ``url``."""

    name: str
    about: str
    client: str
    url: str
    steps: tuple[Step, ...]
    absent: tuple[str, ...] = ()


def holds(due: Mapping[str, int], got: Mapping[str, int]) -> bool:
    """Whether the answers are the ones due: each kind within ``TOLERANCE``, one with 0 due not at all."""
    return all(
        got.get(kind, 0) == 0 if due.get(kind, 0) == 0 else abs(got.get(kind, 0) - due[kind]) <= TOLERANCE
        for kind in {*due, *got}
    )


def rewrite(file: str, *changes: tuple[str, str]) -> Edit:
    """An edit that replaces text in one file. It raises ``ValueError`` where the text is not to be found."""

    def edit(folder: Path) -> None:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            if old not in text:
                raise ValueError(f"{file} does not say {old!r}")
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")

    return edit


def remove(file: str) -> Edit:
    """An edit that deletes one file."""
    return lambda folder: (folder / file).unlink()


def add(source: Path) -> Edit:
    """An edit that puts a copy of ``source`` into the folder."""

    def edit(folder: Path) -> None:
        (folder / source.name).write_bytes(source.read_bytes())

    return edit


def scenarios(folder: Callable[[str], Path]) -> tuple[Scenario, ...]:
    """All demos. ``folder`` gives the folder of a demo's manifests by its name."""
    return (_canary(), _header_canary(), _access(folder("access")))


def _canary() -> Scenario:
    file = "traffic-split.yaml"
    return Scenario(
        name="canary",
        about="a TrafficSplit moves myweb-service from version 1 to version 2, weight by weight",
        client="client",
        url="http://myweb-service/",
        steps=(
            Step(name="weights 900m/100m", due={"Version 1": 900, "Version 2": 100}),
            Step(
                name="weights 500m/500m",
                due={"Version 1": 500, "Version 2": 500},
                edit=rewrite(file, ("weight: 900m", "weight: 500m"), ("weight: 100m", "weight: 500m")),
                enforced_by="client",
            ),
            Step(
                name="weights 0/1000m",
                due={"Version 1": 0, "Version 2": 1000},
                edit=rewrite(file, ("weight: 500m", "weight: 0"), ("weight: 500m", "weight: 1000m")),
                enforced_by="client",
            ),
        ),
    )


def _header_canary() -> Scenario:
    tester = {"Cookie": "theme=dark; usertype=tester"}
    return Scenario(
        name="header-canary",
        about="whoever carries the cookie usertype=tester gets version 2, everybody else version 1",
        client="client",
        url="http://myweb-service/",
        steps=(
            Step(name="no cookie", due={"Version 1": 300, "Version 2": 0}),
            Step(
                name="another cookie",
                due={"Version 1": 300, "Version 2": 0},
                headers={"Cookie": "usertype=customer"},
            ),
            Step(name="usertype=tester", due={"Version 1": 0, "Version 2": 300}, headers=tester),
            Step(
                name="tester, after usertype=tester became usertype=insider",
                due={"Version 1": 300, "Version 2": 0},
                headers=tester,
                edit=rewrite("traffic-split.yaml", ("?usertype=tester", "?usertype=insider")),
                enforced_by="client",
            ),
        ),
    )


def _access(manifests: Path) -> Scenario:
    denied = {"b": 0, "403 denied": 200}
    return Scenario(
        name="access",
        about="b refuses a until a TrafficTarget lets it in, and again when that is gone",
        client="a",
        url="http://b/",
        absent=("traffic-target.yaml",),
        steps=(
            Step(name="no TrafficTarget", due=denied),
            Step(
                name="TrafficTarget a → b",
                due={"b": 200, "403 denied": 0},
                edit=add(manifests / "traffic-target.yaml"),
                enforced_by="b",
            ),
            Step(
                name="TrafficTarget deleted",
                due=denied,
                edit=remove("traffic-target.yaml"),
                enforced_by="b",
            ),
        ),
    )
