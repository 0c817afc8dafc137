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

TIMEOUT = 10.0
"""Seconds an answer may take, unless a request says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a step sends: ``query`` goes behind the scenario's URL, ``timeout`` seconds later there is no answer."""

    method: str = "GET"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``edit`` changes the mesh's folder first, if anything; then ``due`` answers are asked for and counted.

    ``enforced_by`` names the workload whose sidecars carry the change out.
    ``chance`` is by how many answers a kind in ``due`` may be off where the
    servers throw dice. ``awaits`` names a workload whose
    pods are all ready when a request begins; empty: nobody looks. ``past_mesh``
    names a workload whose pod is called at its own address, by somebody who has
    no sidecar; empty: the client calls.
    """

    name: str
    due: Mapping[str, int]
    request: Request = field(default_factory=Request)
    edit: Edit | None = None
    enforced_by: str = ""
    chance: int = 0
    awaits: str = ""
    past_mesh: str = ""

    @property
    def requests(self) -> int:
        """How many requests the step sends."""
        return sum(self.due.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One demo: ``client`` calls ``url`` on the folder ``name`` of the demos, after ``prepare`` has edited its copy.

    ``edges`` is what ``smi edges`` must show in the end, as far as there is
    something: requests by identities and whether the connection was secured.
    """

    name: str
    about: str
    client: str
    url: str
    steps: tuple[Step, ...]
    prepare: Edit | None = None
    edges: Mapping[str, int] = field(default_factory=dict)


def holds(due: Mapping[str, int], got: Mapping[str, int], chance: int = 0) -> bool:
    """Whether the answers are the ones due: each kind within ``TOLERANCE``, one with 0 due not at all.

    With more ``chance`` each kind that ``due`` names, also one with 0 due, within that.
    """
    return all(
        abs(got.get(kind, 0) - due.get(kind, 0)) <= max(TOLERANCE if due.get(kind) else 0, chance if kind in due else 0)
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


def without_lines(file: str, *texts: str) -> Edit:
    """An edit that takes lines with ``texts`` out of a file. It raises ``ValueError`` where one is missing."""

    def edit(folder: Path) -> None:
        path = folder / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        for text in texts:
            if not any(text in line for line in lines):
                raise ValueError(f"{file} does not say {text!r}")
        path.write_text("".join(line for line in lines if not any(text in line for text in texts)), encoding="utf-8")

    return edit


def remove(file: str) -> Edit:
    """An edit that deletes one file."""
    return lambda folder: (folder / file).unlink()


def add(source: Path) -> Edit:
    """An edit that puts a copy of ``source`` into the folder, in place of what may be there."""

    def edit(folder: Path) -> None:
        (folder / source.name).write_bytes(source.read_bytes())

    return edit


def scenarios(folder: Callable[[str], Path]) -> tuple[Scenario, ...]:
    """All demos. ``folder`` gives the folder of a demo's manifests by its name."""
    return (_canary(), _header_canary(), _access(folder("access")), _mtls(), _retries(folder("retries")))


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
    tester = Request(headers={"Cookie": "theme=dark; usertype=tester"})
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
                request=Request(headers={"Cookie": "usertype=customer"}),
            ),
            Step(name="usertype=tester", due={"Version 1": 0, "Version 2": 300}, request=tester),
            Step(
                name="tester, after usertype=tester became usertype=insider",
                due={"Version 1": 300, "Version 2": 0},
                request=tester,
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
        prepare=remove("traffic-target.yaml"),
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


def _mtls() -> Scenario:
    return Scenario(
        name="mtls",
        about="a and b prove to each other who they are; smi edges shows it, and who could not",
        client="a",
        url="http://b/",
        steps=(
            Step(name="a calls b", due={"b": 200}),
            Step(name="somebody without a sidecar calls b's pod", due={"b": 0, "403 no-identity": 50}, past_mesh="b"),
        ),
        edges={"default/a → default/b √": 200, "- → - ×": 50},
    )


def _retries(manifests: Path) -> Scenario:
    file = "retry-service.yaml"
    busy = "?failRate=50&mode=busy"
    half = {"answered": 100, "503": 100}
    return Scenario(
        name="retries",
        about="servers fail every second time, and the client sees it no more once retry-service asks for retries",
        client="client",
        url="http://retry-service/",
        prepare=without_lines(file, "annotations:", "retry.smi-mesh.io/"),
        steps=(
            Step(
                name="no policy: 40 to 60 % fail",
                due=half,
                request=Request(query=busy),
                chance=20,
            ),
            Step(
                name="limit 10: at most 1 % fail",
                due={"answered": 200, "503": 0},
                request=Request(query=busy),
                edit=add(manifests / file),
                enforced_by="client",
                chance=2,
            ),
            Step(
                name="POST is not retried unasked",
                due=half,
                request=Request(method="POST", query=busy),
                chance=40,
            ),
            Step(
                name="servers die without an answer, all ready before",
                due={"answered": 12, "502 reset": 0, "no answer": 0},
                request=Request(query="?failRate=50", timeout=30.0),
                chance=1,
                awaits="retry",
            ),
        ),
    )
