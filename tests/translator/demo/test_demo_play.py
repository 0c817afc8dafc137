"""A scenario played against a server that stands for the sidecar: what is counted and how it is judged."""

import http.server
import io
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from translator.demo import play as module
from translator.demo.mesh import DemoError
from translator.demo.play import Report, play
from translator.demo.scenario import Request, Scenario, Step
from translator.demo.table import LiveTable, summary
from translator.demo.traffic import Tally, kind_of

Answer = tuple[int, str, str]
"""Status, smi-mesh-reason, body."""

V1, V2 = (200, "", "Version 1: server id a\n"), (200, "", "Version 2: server id b\n")
SILENT = (0, "", "")
LOST = (502, "reset; broken", "")


class Proxy(http.server.ThreadingHTTPServer):
    """Gives one answer after the other of ``cycle``, which a test may exchange; None breaks the connection."""

    daemon_threads = True

    def __init__(self, *cycle: Answer | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.turn(*cycle)
        self.requests: list[tuple[str, str, str]] = []

    def turn(self, *cycle: Answer | None) -> None:
        self.answers = itertools.cycle(cycle)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Proxy

    def do_GET(self) -> None:
        self.server.requests.append((self.command, self.path, self.headers.get("Cookie", "")))
        answer = next(self.server.answers)
        if answer is None:
            self.close_connection = True
            return
        if answer is SILENT:
            self.close_connection = self.rfile.read(1) == b""  # the client has gone
            return
        status, reason, body = answer
        self.send_response(status)
        self.send_header("smi-mesh-reason", reason)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class FakeMesh:
    """Counts edits as versions; ``meanwhile`` happens while a change is on its way."""

    folder = Path("/nowhere")

    def __init__(self) -> None:
        self.version = 1
        self.shown: Iterator[dict[str, int]] = iter(())
        self.waits: list[tuple[str, int]] = []
        self.requests: list[tuple[str, str, str]] = []

    def address(self, workload: str) -> str:
        return "127.0.0.1"

    def versions(self, workload: str) -> dict[str, int]:
        return {f"{workload}-0": self.version}

    def wait_for_change(self, workload: str, before: dict[str, int]) -> None:
        assert before == {f"{workload}-0": self.version - 1}

    def edges(self) -> dict[str, int]:
        return next(self.shown)

    def wait_until_ready(self, workload: str) -> None:
        self.waits.append((workload, len(self.requests)))


@contextmanager
def serving(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(module, "OUTBOUND", proxy.server_port)
    with proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def scenario(*steps: Step) -> Scenario:
    return Scenario(name="some", about="", client="client", url="http://web/", steps=steps)


def run(steps: Scenario) -> Report:
    return play(steps, FakeMesh(), lambda _index, _tally: None)


def test_what_is_reported_is_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(name="one", due={"Version 1": 15, "Version 2": 5}, request=Request(headers={"Cookie": "a=b"}))
    with serving(Proxy(V1, V1, V1, V2), monkeypatch) as proxy:
        report = run(scenario(step))

    assert report.as_json() == {
        "demo": "some",
        "ok": True,
        "steps": [
            {
                "name": "one",
                "expected": {"Version 1": 15, "Version 2": 5},
                "observed": {"Version 1": 15, "Version 2": 5},
            },
            {"name": "no request failed while something changed", "expected": {"failed": 0}, "observed": {"failed": 0}},
        ],
    }
    assert proxy.requests == [("GET", "http://web/", "a=b")] * 20
    assert report.steps[0].median is not None


def test_a_step_says_what_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(name="one", due={"Version 1": 2}, request=Request(method="POST", query="?a=b"))
    with serving(Proxy(V1), monkeypatch) as proxy:
        assert run(scenario(step)).ok

    assert proxy.requests == [("POST", "http://web/?a=b", "")] * 2


def test_each_request_of_a_step_that_awaits_pods_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = FakeMesh()
    with serving(Proxy(V1), monkeypatch) as proxy:
        mesh.requests = proxy.requests
        report = play(scenario(Step(name="one", due={"Version 1": 3}, awaits="web")), mesh, lambda _index, _tally: None)

    assert report.ok
    assert mesh.waits == [("web", 0), ("web", 1), ("web", 2)]


def test_what_edges_show_is_looked_at_until_all_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, due = FakeMesh(), {"default/a → default/b √": 3}
    mesh.shown = iter(({}, {"default/a → default/b √": 2}, due))
    with serving(Proxy(V1), monkeypatch):
        report = play(
            replace(scenario(Step(name="one", due={"Version 1": 3})), edges=due), mesh, lambda _index, _tally: None
        )

    assert report.ok
    assert report.steps[1].observed == due


def test_edges_that_show_something_else_fail_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORTED", 0.0)
    mesh = FakeMesh()
    mesh.shown = itertools.repeat({"default/a → default/b ×": 3})
    with serving(Proxy(V1), monkeypatch):
        steps = replace(scenario(Step(name="one", due={"Version 1": 3})), edges={"default/a → default/b √": 3})
        assert not play(steps, mesh, lambda _index, _tally: None).ok


def test_a_step_past_the_mesh_calls_the_pod_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Proxy(V1), monkeypatch) as proxy:
        monkeypatch.setattr(module, "APP_PORT", proxy.server_port)
        assert run(scenario(Step(name="one", due={"Version 1": 2}, past_mesh="web"))).ok

    assert [path for _, path, _ in proxy.requests] == ["/", "/"]


def test_where_the_servers_throw_dice_a_step_holds_within_its_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(name="one", due={"Version 1": 9, "Version 2": 11}, chance=1)
    with serving(Proxy(V1, V2), monkeypatch):
        assert run(scenario(step)).ok


def test_an_answer_that_takes_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(name="one", due={"Version 1": 2, "no answer": 1}, request=Request(timeout=0.2))
    with serving(Proxy(V1, SILENT, V1), monkeypatch):
        assert run(scenario(step)).ok


def test_a_wrong_share_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Proxy(V1, V2), monkeypatch):
        report = run(scenario(Step(name="one", due={"Version 1": 15, "Version 2": 5})))

    assert not report.ok
    assert report.steps[0].observed == {"Version 1": 10, "Version 2": 10}


def test_a_refusal_is_a_kind_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Proxy(V1, (503, "no-endpoint; nobody is there", "")), monkeypatch):
        report = run(scenario(Step(name="one", due={"Version 1": 10})))

    assert not report.ok
    assert report.steps[0].observed == {"Version 1": 5, "503 no-endpoint": 5}


def test_a_request_lost_during_a_change_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = FakeMesh()
    lost = threading.Event()

    with serving(Proxy(V1), monkeypatch) as proxy:

        def edit(_folder: Path) -> None:
            mesh.version += 1
            proxy.turn(LOST)
            lost.wait(0.05)  # some requests fall into it
            proxy.turn(V2)

        steps = scenario(
            Step(name="before", due={"Version 1": 5}),
            Step(name="after", due={"Version 2": 5}, edit=edit, enforced_by="client"),
        )
        report = play(steps, mesh, lambda _index, _tally: None)

    *steps_held, nothing_lost = report.steps
    assert all(step.ok for step in steps_held)
    assert nothing_lost.observed["failed"] > 0
    assert not report.ok


def test_a_mesh_that_does_not_answer_ends_the_demo_early(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Proxy(None), monkeypatch), pytest.raises(DemoError, match="came back without an answer"):
        run(scenario(Step(name="one", due={"Version 1": 100_000})))


def test_a_report_without_steps_is_not_ok() -> None:
    assert not Report(demo="some").ok


def test_kinds() -> None:
    assert kind_of(200, "", "Version 1: server id 4\n") == "Version 1"
    assert kind_of(403, "denied; no TrafficTarget", "") == "403 denied"
    assert kind_of(404, "", "not found") == "404"


def test_the_table_shows_numbers_as_they_are() -> None:
    console = Console(record=True, width=100, force_terminal=False, file=io.StringIO())
    step = Step(name="90/10", due={"Version 1": 90, "Version 2": 10})
    tally = Tally()
    for kind in ["Version 1"] * 3 + ["503 no-endpoint"]:
        tally.add(kind, 0.002)

    with LiveTable(console, scenario(step)) as table:
        table.watch(0, tally)
    text = console.export_text()

    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    rows = {answer: numbers for _, answer, *numbers in cells}
    assert rows["Version 1"] == ["90.0%", "75.0%", "3", "2.0", "2.0"]
    assert rows["Version 2"] == ["10.0%", "0.0%", "0", "–", "–"]
    assert rows["503 no-endpoint"] == ["0.0%", "25.0%", "1", "2.0", "2.0"]


def test_the_summary_names_what_did_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    with serving(Proxy(V2), monkeypatch):
        report = run(scenario(Step(name="one", due={"Version 1": 3})))

    console.print(summary(report))
    text = console.export_text()

    assert "× " in text
    assert "due: Version 1: 3" in text
    assert "some: FAILED" in text
