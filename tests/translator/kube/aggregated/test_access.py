"""Authorization: what the API server is asked, and that nobody may without its yes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from apiserver import FakeApiServer, serving

from translator.kube.aggregated.access import MOST, PATH, REMEMBERED, AccessGate, review_of, verdict
from translator.kube.aggregated.frontproxy import FrontProxy, User
from translator.metricsapi.server import Attributes

USER = User(name="jane", uid="7", groups=("dev", "system:authenticated"), extra=(("scopes", ("a", "b")),))
WANTED = Attributes(
    verb="get", resource="pods", subresource="edges", namespace="shop", name="web-1", version="v1alpha1"
)
YES: dict[str, Any] = {"status": {"allowed": True}}


class Scene:
    """A gate, a clock, and the API server that is asked."""

    def __init__(self, server: FakeApiServer, gate: AccessGate, clock: list[float]) -> None:
        self.server, self.gate, self._clock = server, gate, clock

    def pass_by(self, seconds: float) -> None:
        self._clock[0] += seconds

    @property
    def asked(self) -> int:
        return len(self.server.bodies)


def scene(play: Callable[[Scene], Awaitable[None]], answer: Any = None) -> None:
    async def run() -> None:
        server = FakeApiServer()
        server.answers[PATH] = YES if answer is None else answer
        clock = [1000.0]
        async with serving(server) as api:
            await play(Scene(server, AccessGate(api, FrontProxy(api), lambda: clock[0]), clock))

    asyncio.run(run())


def test_what_is_asked() -> None:
    async def play(scene: Scene) -> None:
        assert await scene.gate.may(USER, WANTED) == ""
        assert scene.server.bodies == [
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": "jane",
                    "uid": "7",
                    "groups": ["dev", "system:authenticated"],
                    "extra": {"scopes": ["a", "b"]},
                    "resourceAttributes": {
                        "group": "metrics.smi-spec.io",
                        "version": "v1alpha1",
                        "resource": "pods",
                        "subresource": "edges",
                        "namespace": "shop",
                        "name": "web-1",
                        "verb": "get",
                    },
                },
            }
        ]

    scene(play)


def test_what_is_not_said_is_left_out() -> None:
    spec = review_of(User(name="x"), Attributes(verb="list", resource="pods"))["spec"]
    assert spec["resourceAttributes"] == {
        "group": "metrics.smi-spec.io", "version": "v1alpha2", "resource": "pods", "verb": "list"
    }  # fmt: skip
    assert "uid" not in spec


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"status": None}, {"status": []}, {"status": "allowed"}, {"status": {}}, {"status": {"allowed": False}},
        {"status": {"allowed": "true"}}, {"status": {"allowed": 1}}, {"status": {"allowed": True, "denied": True}},
        {"status": {"denied": False}}, {"allowed": True},
    ],
)  # fmt: skip
def test_only_a_clear_yes_is_one(answer: dict[str, Any]) -> None:
    assert "is forbidden" in verdict(answer, USER, WANTED)


def test_the_text_is_the_api_servers() -> None:
    assert verdict({}, USER, WANTED) == (
        'pods/edges.metrics.smi-spec.io "web-1" is forbidden: User "jane" cannot get resource "pods/edges" in API '
        'group "metrics.smi-spec.io" in the namespace "shop"'
    )
    assert verdict({}, USER, Attributes(verb="list", resource="pods")) == (
        'pods.metrics.smi-spec.io is forbidden: User "jane" cannot list resource "pods" in API group '
        '"metrics.smi-spec.io" at the cluster scope'
    )


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_without_the_api_server_nobody_may(status: int) -> None:
    async def play(scene: Scene) -> None:
        scene.server.faults.append(web.json_response({"message": "secret text"}, status=status))
        why = await scene.gate.may(USER, WANTED)
        assert why.endswith("the API server could not be asked")
        assert "secret" not in why
        # And it is asked again at once.
        assert await scene.gate.may(USER, WANTED) == ""

    scene(play)


@pytest.mark.parametrize("body", [b"", b"yes", b"[]", b"[1]", b'"x"', b"null", b"true", b"\xff"])
def test_an_answer_that_is_none_is_no_yes(body: bytes) -> None:
    async def play(scene: Scene) -> None:
        scene.server.faults.append(web.Response(body=body))
        assert await scene.gate.may(USER, WANTED)

    scene(play)


def test_an_api_server_that_is_not_there() -> None:
    async def run() -> None:
        async with serving(FakeApiServer()) as api:
            gate = AccessGate(api, FrontProxy(api))
        # It has ended by now.
        with pytest.raises(RuntimeError, match="closed"):
            await gate.may(USER, WANTED)

    asyncio.run(run())


def test_answers_are_remembered_for_ten_seconds_at_most() -> None:
    assert REMEMBERED <= 10.0

    async def play(scene: Scene) -> None:
        await scene.gate.may(USER, WANTED)
        scene.pass_by(REMEMBERED - 0.1)
        scene.server.answers[PATH] = {"status": {"allowed": False}}
        assert await scene.gate.may(USER, WANTED) == ""
        assert scene.asked == 1
        scene.pass_by(0.1)
        assert await scene.gate.may(USER, WANTED)
        assert scene.asked == 2
        # A no is remembered as a yes is; neither gets older by being asked for.
        scene.server.answers[PATH] = YES
        scene.pass_by(REMEMBERED - 0.1)
        assert await scene.gate.may(USER, WANTED)
        scene.pass_by(0.1)
        assert await scene.gate.may(USER, WANTED) == ""

    scene(play)


@pytest.mark.parametrize(
    "other",
    [replace(USER, name="joe"), replace(USER, uid="8"), replace(USER, groups=("dev",)), replace(USER, extra=())],
)
def test_one_users_answer_is_no_others(other: User) -> None:
    async def play(scene: Scene) -> None:
        await scene.gate.may(USER, WANTED)
        await scene.gate.may(other, WANTED)
        assert scene.asked == 2

    scene(play)


@pytest.mark.parametrize("field", ["verb", "resource", "subresource", "namespace", "name", "version"])
def test_one_rights_answer_is_no_others(field: str) -> None:
    async def play(scene: Scene) -> None:
        await scene.gate.may(USER, WANTED)
        await scene.gate.may(USER, replace(WANTED, **{field: "other"}))
        assert scene.asked == 2

    scene(play)


def test_what_is_remembered_is_bounded() -> None:
    async def play(scene: Scene) -> None:
        for number in range(MOST + 10):
            scene.gate._known[USER, replace(WANTED, name=str(number))] = (2000.0, "")
        await scene.gate.may(USER, WANTED)
        assert len(scene.gate._known) == 1

    scene(play)
