"""The runner: what it tells the mesh, and how it judges what comes back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformance.case import Bounds, Case, Request, Step
from conformance.mesh import Heard, MeshError, World
from conformance.run import Result, faults, run


class FakeMesh:
    """Answers every request with what it was given; writes down what happens."""

    def __init__(self, *answers: Heard | MeshError) -> None:
        self.answers = list(answers)
        self.came = 0
        self.told: list[object] = []

    @contextmanager
    def world(self, name: str, manifests: Sequence[Path]) -> Iterator[World]:
        self.told.append(("up", name, [path.name for path in manifests]))
        yield self
        self.told.append(("down", name))

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self.told.append(("apply", [thing["kind"] for thing in objects]))

    def send(self, caller: str, order: Mapping[str, Any]) -> Heard:
        self.told.append(("send", caller, order["url"]))
        answer = self.answers.pop(0)
        if isinstance(answer, MeshError):
            raise answer
        self.came += sum(answer.answers.values())
        return answer

    def arrived(self, workload: str) -> int:
        self.told.append(("arrived", workload))
        return self.came

    def address(self, workload: str) -> str:
        return f"10.0.0.1#{workload}"


def heard(**answers: int) -> Heard:
    return Heard(answers=answers, heard={}, failure="")


def request(url: str = "http://web/", **answers: Bounds) -> Request:
    return Request(caller="client", url=url, answers=answers)


def case(name: str, *steps: Step, world: str = "split") -> Case:
    return Case(name=name, world=world, about="", steps=steps)


def play(mesh: FakeMesh, *cases: Case) -> tuple[Result, ...]:
    return run(cases, mesh, Path("worlds"), lambda _: None)


def test_cases_of_one_world_share_a_mesh_and_leave_nothing_behind() -> None:
    mesh = FakeMesh(*[heard(v1=1)] * 4)
    ask = (request(v1=(1, 1)),)
    first = case("first", Step(apply=({"kind": "TrafficSplit"},), requests=ask), Step(apply=None, requests=ask))
    second = case("second", Step(apply=None, requests=ask))
    other = case("other", Step(apply=(), requests=ask), world="access")

    results = play(mesh, first, other, second)

    assert [(result.case.name, result.ok) for result in results] == [("first", True), ("second", True), ("other", True)]
    assert mesh.told == [
        ("up", "split", ["app.yaml", "split.yaml"]),
        ("apply", ["TrafficSplit"]),
        ("send", "client", "http://web/"),
        ("send", "client", "http://web/"),
        ("apply", []),
        ("send", "client", "http://web/"),
        ("down", "split"),
        ("up", "access", ["app.yaml", "access.yaml"]),
        ("apply", []),
        ("send", "client", "http://web/"),
        ("down", "access"),
    ]


def test_an_address_is_put_into_the_url() -> None:
    mesh = FakeMesh(heard(b=1))

    play(mesh, case("one", Step(apply=(), requests=(request("http://{ip:far/b}:8080/", b=(1, 1)),))))

    assert ("send", "client", "http://10.0.0.1#far/b:8080/") in mesh.told


def test_what_came_to_an_application_is_counted_around_the_request_alone() -> None:
    mesh = FakeMesh(heard(b=3), heard(b=2), heard(b=2))
    due = [Request(caller="c", url="u", raw="x", answers={"b": (0, 9)}, reaches={"b": count}) for count in (3, 2, 0)]

    (result,) = play(mesh, case("a", Step(apply=(), requests=tuple(due))))

    assert result.faults == ("step 1: c u 'x': 2 requests came to the application of b, due are 0",)
    assert mesh.told[2:5] == [("arrived", "b"), ("send", "c", "u"), ("arrived", "b")]


def test_a_wrong_answer_fails_its_case_alone() -> None:
    mesh = FakeMesh(heard(v2=1), heard(v1=1))
    ask = (request(v1=(1, 1)),)

    wrong, right = play(mesh, case("a", Step(apply=(), requests=ask)), case("b", Step(apply=(), requests=ask)))

    assert wrong.faults == (
        "step 1: client GET http://web/: v1: 0 answers, due are 1",
        "step 1: client GET http://web/: v2: 1 answers, due is none",
    )
    assert right.ok


def test_a_mesh_that_cannot_be_asked_fails_the_case() -> None:
    (result,) = play(FakeMesh(MeshError("the caller ended")), case("a", Step(apply=(), requests=(request(v1=(1, 1)),))))

    assert result.faults == ("the caller ended",)


def test_counts_must_lie_within_their_bounds() -> None:
    due = request(v1=(89, 91), v2=(9, 11))

    assert faults(due, heard(v1=90, v2=10)) == []
    assert faults(due, heard(v1=91, v2=9)) == []
    assert faults(due, heard(v1=92, v2=8)) == [
        "v1: 92 answers, due are 89 to 91",
        "v2: 8 answers, due are 9 to 11",
    ]


def test_a_bare_status_takes_any_reason() -> None:
    due = Request(caller="c", url="u", answers={"403": (2, 2), "503 no-endpoint": (1, 1)})

    assert faults(due, Heard(answers={"403 denied": 1, "403": 1, "503 no-endpoint": 1}, heard={}, failure="")) == []
    assert faults(due, Heard(answers={"403 denied": 2, "503 weights-zero": 1}, heard={}, failure="")) == [
        "503 no-endpoint: 0 answers, due are 1",
        "503 weights-zero: 1 answers, due is none",
    ]


def test_headers_must_be_as_due_at_every_server() -> None:
    due = Request(caller="c", url="u", answers={"b": (2, 2)}, sees={"X-Added": "yes", "x-gone": None})

    right = Heard(answers={"b": 2}, heard={"x-added": ["yes"], "x-gone": [None]}, failure="")
    wrong = Heard(answers={"b": 2}, heard={"x-added": ["yes", None], "x-gone": ["here"]}, failure="")

    assert faults(due, right) == []
    assert faults(due, wrong) == [
        "the server must see X-Added: 'yes', it saw ['yes', None]",
        "the server must see x-gone: None, it saw ['here']",
    ]


def test_a_transport_error_is_told() -> None:
    got = Heard(answers={"no answer": 1}, heard={}, failure="ConnectionResetError(104)")

    assert faults(request(v1=(1, 1)), got)[-1] == "ConnectionResetError(104)"
