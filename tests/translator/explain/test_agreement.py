"""Random requests in random meshes: what ``smi explain`` says of each, and what real sidecars then do with it.

``SMI_MESH_EXPLAINED`` is how many requests there are.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import scenes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inprocess import Standing, free_net, placed, standing
from oracle import Scene
from wire import Answered, play

from proxy.contract.check import is_host
from proxy.matching import canonical_host
from smi.workloads import Pod, Service
from translator.explain.answer import Answer, Explanation, Server
from translator.explain.explain import explain
from translator.explain.question import Question, asked
from translator.settings import Settings
from translator.world import World

REQUESTS = int(os.environ.get("SMI_MESH_EXPLAINED", "300"))
EACH = 20
SERVICE = 10
"""Drawn numbers from here on are Services that there are, those below are pods."""

HOSTS = (
    *("web", "v1", "v2", "web.one", "v1.one", "web.two") * 3,
    *("web", "web", "web", "v1", "v2", "web.one", "WEB.two", "web.one.svc", "v1.one.svc.cluster.local.", "web..two"),
    *("gone", "web.three", "a.b.c.d", "127.0.0.1", "p0.web", "we_b"),
)
PORTS = (*("",) * 12, ":80", ":8080", ":9090", ":81", ":4143", ":4140")
PATHS = (
    *scenes.PATHS,
    *("/api/../admin", "/api/%2e%2e/admin", "//api//v1", "/%61pi", "/api;x", "/api%2Fv1", "/api/%zz", "/a%00b"),
    *("/api?x=/admin", "/api?x=http://web/"),
    *("/api\\x", "/\xe9", "/%c3%a9", "/api/..%3b/admin", "/.", "", "?x", "/api/%7Euser", "/ap%69", "/x y", "*"),
)  # fmt: skip
METHODS = (*scenes.METHODS, "OPTIONS", "DELETE", "PURGE")
HEADERS = (
    *("X-User: alice", "x-user: al", "X-USER: bob", "x-beta: 1", "X-Beta: 11") * 4,
    *("X_User: alice", "x.beta: 1", "X-User:", "Connection: x-user", "Connection: close", "Host: api", "Cookie: a=b"),
    *("smi-mesh-client-id: one/a", "Content-Length: 0", "Upgrade: h2c", "Expect: never", "X-User : alice"),
)

_requests = st.tuples(
    st.integers(0, 3),
    st.sampled_from(METHODS),
    st.sampled_from(HOSTS) | st.integers(0, 3) | st.integers(SERVICE, SERVICE + 7) | st.integers(SERVICE, SERVICE + 7),
    st.sampled_from(PORTS),
    st.sampled_from(PATHS) | st.sampled_from(scenes.PATHS),
    st.lists(st.sampled_from(HEADERS), max_size=3, unique_by=lambda text: text.lower().partition(":")[0]),
)
Drawn = tuple[int, str, str | int, str, str, list[str]]
_ALGORITHMS = ("round-robin", "least-request", "hash:x-user", "hash:X-Beta")
_called = st.fixed_dictionaries(
    {},
    optional={
        "balancer.smi-mesh.io/algorithm": st.sampled_from(_ALGORITHMS),
        "timeout.smi-mesh.io/request": st.just("60s"),
    },
)


def world_of(scene: Scene, net: str, unmeshed: int, called: list[dict[str, str]]) -> World:
    """The scene at addresses of ``net``; a pod may have no sidecar, the Services want to be called somehow."""
    pods = [replace(pod, mesh_port=0 if number == unmeshed else 4143) for number, pod in enumerate(scene.pods)]
    wanted = iter(called)
    objects = [
        replace(thing, meta=replace(thing.meta, annotations=next(wanted))) if isinstance(thing, Service) else thing
        for thing in scene.objects
    ]
    return World.of(objects, placed(pods, net), Settings(default_policy=scene.default_policy))


def question_of(world: World, drawn: Drawn) -> tuple[Pod, Question]:
    number, method, host, port, path, headers = drawn
    caller = world.pods[number]
    if isinstance(host, int) and host >= SERVICE:
        services = [world.objects.services[key] for key in sorted(world.objects.services)]
        service = services[host % len(services)]
        host, port = f"{service.meta.name}.{service.meta.namespace}", f":{service.ports[0].port}"
    elif isinstance(host, int):
        host = world.pods[host].ip
    if not caller.meshed:  # it has nobody who would know names
        host, port, path = world.pods[(number + 1) % 4].ip, ":8080", path if path.startswith("/") else "/"
    url = f"http://{host}{port}{path}"
    return caller, asked(method, url, caller.meta.name, caller.meta.namespace, headers=headers)


def sent(question: Question, *, absolute: bool) -> bytes:
    """The request as a client writes it."""
    rest = question.url.removeprefix("http://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    target = question.url if absolute else rest.removeprefix(authority)
    host = "" if any(name.lower() == "host" for name, _ in question.headers) else f"Host: {authority}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in question.headers)
    return f"{question.method} {target} HTTP/1.1\r\n{host}{lines}\r\n".encode()


def hosts_of(world: World) -> frozenset[str]:
    """Every host that may be asked for, by any pod."""
    texts = [*HOSTS, *(pod.ip for pod in world.pods)]
    found = {canonical_host(text, namespace, "cluster.local") for text in texts for namespace in scenes.NAMESPACES}
    return frozenset(host for host in found if is_host(host))


def agrees(told: Explanation, got: Answered) -> bool:
    """Whether the sidecars did what was said."""
    if told.answer.allowed is None:
        return any(fits(told, server.answer, got, server) for server in told.servers)
    if not told.answer.allowed:
        return fits(told, told.answer, got, None)
    return any(fits(told, server.answer, got, server) for server in told.servers)


def fits(told: Explanation, answer: Answer, got: Answered, server: Server | None) -> bool:
    if not answer.allowed:
        return (got.status, got.headers.get("smi-mesh-reason")) == (answer.status, f"{answer.reason}; {answer.detail}")
    if got.status != 200 or server is None:
        return False
    pod, port, target = got.body.decode().split(" ", 2)
    takes_turns = {pod for backend in told.backends if backend.share for pod in backend.endpoints}
    hashed = {backend.chosen for backend in told.backends if backend.share and backend.chosen} - {told.caller.pod}
    by_hash = len([backend for backend in told.backends if backend.share]) == len(hashed) > 0
    return (
        pod in server.pods
        and pod in (hashed if by_hash else takes_turns)
        and int(port) == server.port
        and target == server.path
    )


# A scene takes a tenth of a second, so that shrinking one would take minutes; what is printed says enough.
@settings(
    max_examples=max(1, REQUESTS // EACH),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(
    scene=scenes.whole_scenes,
    unmeshed=st.sampled_from((9, 9, 9, 0, 3)),
    called=st.lists(_called, min_size=4, max_size=4),
    drawn=st.lists(_requests, min_size=EACH, max_size=EACH),
)
def test_sidecars_do_what_was_explained(
    scene: Scene, unmeshed: int, called: list[dict[str, str]], drawn: list[Drawn]
) -> None:
    async def ask(mesh: Standing, one: Drawn) -> None:
        caller, question = question_of(mesh.mesh.world, one)
        told = explain(mesh.mesh, question)
        server = next((pod for pod in mesh.mesh.world.pods if f"//{pod.ip}:8080" in question.url), caller)
        got = await mesh.ask(
            caller, sent(question, absolute=caller.meshed), None if caller.meshed else (server.ip, 8080)
        )
        assert agrees(told, got), f"\n{question}\n{told}\n{got}"

    async def play_scene() -> None:
        world = world_of(scene, free_net(), unmeshed, called)
        async with standing(world, hosts_of(world)) as mesh:
            for one in drawn:
                await ask(mesh, one)

    play(play_scene())
