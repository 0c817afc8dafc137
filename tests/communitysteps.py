"""The 24 steps of the community's SMI conformance suite; ``tests/community/README.md`` says what differs and why.

A case is a namespace and its steps in order. ``kuttl`` has the objects' part, ``Play.measured`` the calls' part.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NewType

import kuttl
import yaml
from cluster import Place, eventually

OBJECTS = Path(__file__).with_name("community")

IMAGE = os.environ.get("SMI_MESH_COMMUNITY_IMAGE", "localhost/community-app:dev")
"""The sample application, on every node already; ``make community-image`` builds it."""

PAUSE = 5.0
"""Seconds that the suite sleeps between a change and its calls."""

PROMPT = 3.0
"""Seconds within which a change has to be in force here. A mesh needs milliseconds, each look at it some hundred."""

CALLS = 50
"""Calls of each step on splits."""

Form = NewType("Form", str)
PLAIN, OWN = Form("plain"), Form("own")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the applications counted: calls answered well and not, as (method, URL, status), and who came to whom."""

    well: list[tuple[str, str, int]]
    failed: list[tuple[str, str, int]]
    came: dict[str, list[str]]
    unanswered: int


@dataclass(slots=True)
class Play:
    """A case in its namespace: how far it has come. ``runner`` is where calls are made from."""

    form: Form
    where: Place
    runner: Place
    addresses: dict[str, str] = field(default_factory=dict)
    reached: list[str] = field(default_factory=list)
    failed: str = ""

    def objects(self, name: str, **words: object) -> list[dict[str, Any]]:
        """The objects of a file, its words in capitals replaced."""
        text = (OBJECTS / f"{name}.yaml").read_text("utf-8")
        for word, value in {"NAMESPACE": self.where.name, "COMMUNITY_IMAGE": IMAGE, **words}.items():
            text = text.replace(word, str(value))
        return list(yaml.safe_load_all(text))

    def url(self, service: str, path: str) -> str:
        """What app-a is told to call. The suite has the empty label for leaves only, not for the root of a split."""
        if self.form == PLAIN:
            host = f"{service}.{self.where.name}"
        else:
            dots = "." if service == "app-svc" else ".."
            host = f"{service}.{self.where.name}{dots}svc.cluster.local."
        return f"http://{host}:9091/{path}"

    def measured(self, *orders: tuple[str, str, int]) -> Counts:
        """Clears all counters, has app-a make the calls (method, URL, times) and reads what was counted."""
        if not self.addresses:
            services = self.where.got("services")["items"]
            found = {one["metadata"]["name"]: one["spec"]["clusterIP"] for one in services}
            self.addresses = {app: found[app] for app in ("app-a", "app-b", "app-c")}
        plan = {
            "services": self.addresses,
            "orders": [{"method": method, "url": url, "times": times} for method, url, times in orders],
        }
        got = self.runner.python("deploy/runner", "community", json.dumps(plan))
        caller = got["counts"]["app-a"]
        well, failed = (
            [(one["Method"], one["URL"], one["Status"]) for one in caller[kind]]
            for kind in ("RespSucceeded", "RespFailed")
        )
        came = {app: got["counts"][app]["ReqReceived"] for app in ("app-b", "app-c")}
        return Counts(well=well, failed=failed, came=came, unanswered=got["unanswered"])


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a case, by the number that the suite gives it."""

    case: str
    number: int
    title: str
    does: Callable[[Play], None]

    def __str__(self) -> str:
        return f"{self.case}-{self.number:02} {self.title}"


def reach(play: Play, due: Step) -> None:
    """Plays a step, and before it those of its case that have not been played. Raises ``AssertionError``."""
    for step in (step for step in STEPS if step.case == due.case and step.number <= due.number):
        if str(step) in play.reached:
            continue
        assert not play.failed, f"not reached: {play.failed} has failed"
        play.failed = str(step)
        step.does(play)
        play.failed = ""
        play.reached.append(str(step))


def served_as(plural: str, kind: str, short: str) -> Callable[[Play], None]:
    """The CRD is there, and its names are these and no others."""
    name, _, group = plural.partition(".")
    names = {"kind": kind, "shortNames": [short], "plural": name, "singular": kind.lower()}
    definition = {
        # v1beta1 in the suite: gone since Kubernetes 1.22.
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": plural},
        "spec": {"group": group},
        "status": {"acceptedNames": names},
    }
    return lambda play: kuttl.holds(play.where, [definition])


def deploy(file: str) -> Callable[[Play], None]:
    """Applications and Services; then all Deployments have one ready pod, with a sidecar in it."""

    def does(play: Play) -> None:
        objects = play.objects(file)
        kuttl.put(play.where, objects)
        deployments = [thing for thing in objects if thing["kind"] == "Deployment"]
        ready = [
            {**{key: thing[key] for key in ("apiVersion", "kind")}, "metadata": {"name": thing["metadata"]["name"]}}
            | {"status": {"readyReplicas": 1}}
            for thing in deployments
        ]
        kuttl.holds(play.where, [*ready, *(thing for thing in objects if thing["kind"] == "Service")])
        # The suite would pass most of its steps without a mesh: that there is one is asked here.
        rows = play.where.kubectl("get", "pods", "--no-headers").splitlines()
        assert [row.split()[1] for row in rows] == ["2/2"] * len(deployments), rows

    return does


def prompt(what: str, play: Play, orders: Sequence[tuple[str, str, int]], due: Callable[[Counts], bool]) -> None:
    """A change is in force long before the suite's sleep is over."""
    eventually(f"{what} is in force", lambda: due(play.measured(*orders)), PROMPT)


def echo_is_denied(play: Play) -> None:
    """app-a's call is answered with a denial, and app-b knows nothing of it."""
    time.sleep(PAUSE)
    url = play.url("app-b", "echo")
    got = play.measured(("GET", url, 1))
    assert (got.well, got.failed, got.unanswered) == ([], [("GET", url, 403)], 0), got
    assert got.came == {"app-b": [], "app-c": []}, got


def allow_everything(play: Play) -> None:
    """A TCPRoute of all ports and a TrafficTarget that names it."""
    objects = play.objects("allow-everything")
    kuttl.put(play.where, objects)
    prompt("the TrafficTarget", play, [("GET", play.url("app-b", "echo"), 1)], lambda got: len(got.well) == 1)
    kuttl.holds(play.where, objects)


def echo_is_allowed(play: Play) -> None:
    """app-a's call is answered, and app-b has had exactly that one."""
    time.sleep(PAUSE)
    url = play.url("app-b", "echo")
    got = play.measured(("GET", url, 1))
    assert (got.well, got.failed, got.unanswered) == ([("GET", url, 200)], [], 0), got
    assert got.came == {"app-b": ["app-a"], "app-c": []}, got


def take_back(play: Play) -> None:
    """Route and target are deleted."""
    kuttl.remove(play.where, play.objects("allow-everything"))
    prompt("the deletion", play, [("GET", play.url("app-b", "echo"), 1)], lambda got: len(got.failed) == 1)


def allow_path(play: Play) -> None:
    """/metrics by any method."""
    objects = play.objects("allow-path")
    kuttl.put(play.where, objects)
    prompt("the path", play, [("GET", play.url("app-b", "metrics"), 1)], lambda got: len(got.well) == 1)
    kuttl.holds(play.where, objects)


def only_metrics(play: Play) -> None:
    """GET /metrics is answered, GET /echo is denied."""
    time.sleep(PAUSE)
    metrics, echo = play.url("app-b", "metrics"), play.url("app-b", "echo")
    got = play.measured(("GET", metrics, 1), ("GET", echo, 1))
    assert (got.well, got.failed, got.unanswered) == ([("GET", metrics, 200)], [("GET", echo, 403)], 0), got
    # /metrics is not counted among what came.
    assert got.came == {"app-b": [], "app-c": []}, got


def allow_method(play: Play) -> None:
    """Patched: every path, by GET alone."""
    objects = play.objects("allow-method")
    kuttl.put(play.where, objects)
    prompt("the method", play, [("GET", play.url("app-b", "echo"), 1)], lambda got: len(got.well) == 1)
    kuttl.holds(play.where, objects)


def only_get(play: Play) -> None:
    """GET /echo is answered, POST /echo is denied."""
    time.sleep(PAUSE)
    url = play.url("app-b", "echo")
    got = play.measured(("GET", url, 1), ("POST", url, 1))
    assert (got.well, got.failed, got.unanswered) == ([("GET", url, 200)], [("POST", url, 403)], 0), got
    assert got.came == {"app-b": ["app-a"], "app-c": []}, got


def split(b: int, c: int) -> Callable[[Play], None]:
    """A TrafficSplit of these weights."""

    def does(play: Play) -> None:
        objects = play.objects("split", WEIGHT_B=b, WEIGHT_C=c)
        kuttl.put(play.where, objects)
        # Eight calls are whole periods of all the weights here.
        due = (8 * b // (b + c), 8 * c // (b + c))
        orders = [("GET", play.url("app-svc", "echo"), 8)]
        prompt(f"{b}/{c}", play, orders, lambda got: (len(got.came["app-b"]), len(got.came["app-c"])) == due)
        kuttl.holds(play.where, objects)

    return does


def shares(least: int, most: int) -> Callable[[Play], None]:
    """All calls are answered, and app-b has had between ``least`` and ``most`` of them, app-c the others."""

    def does(play: Play) -> None:
        time.sleep(PAUSE)
        url = play.url("app-svc", "echo")
        got = play.measured(("GET", url, CALLS))
        assert (got.well, got.failed, got.unanswered) == ([("GET", url, 200)] * CALLS, [], 0), got
        b, c = len(got.came["app-b"]), len(got.came["app-c"])
        assert (b + c, least <= b <= most) == (CALLS, True), f"{b} to app-b, {c} to app-c"

    return does


ACCOUNTS, VERSIONS = deploy("apps-of-three-accounts"), deploy("apps-of-one-account")

STEPS = (
    Step(
        "traffic-access",
        1,
        "TrafficTarget is served",
        served_as("traffictargets.access.smi-spec.io", "TrafficTarget", "tt"),
    ),
    Step("traffic-access", 2, "applications come up", ACCOUNTS),
    Step("traffic-access", 3, "nothing is allowed by default", echo_is_denied),
    Step("traffic-access", 4, "a TrafficTarget is made", allow_everything),
    Step("traffic-access", 5, "a may call b", echo_is_allowed),
    Step("traffic-access", 6, "the TrafficTarget is deleted", take_back),
    Step("traffic-access", 7, "a may not call b any more", echo_is_denied),
    Step(
        "traffic-spec",
        1,
        "HTTPRouteGroup is served",
        served_as("httproutegroups.specs.smi-spec.io", "HTTPRouteGroup", "htr"),
    ),
    Step("traffic-spec", 2, "applications come up", ACCOUNTS),
    Step("traffic-spec", 3, "a route of one path", allow_path),
    Step("traffic-spec", 4, "only that path passes", only_metrics),
    Step("traffic-spec", 5, "the route gets one method", allow_method),
    Step("traffic-spec", 6, "only that method passes", only_get),
    Step(
        "traffic-split", 1, "TrafficSplit is served", served_as("trafficsplits.split.smi-spec.io", "TrafficSplit", "ts")
    ),
    Step("traffic-split", 2, "applications come up", VERSIONS),
    # Without a split the balancer has the say: both get some.
    Step("traffic-split", 3, "both get some by default", shares(1, CALLS - 1)),
    Step("traffic-split", 4, "all to b", split(1, 0)),
    Step("traffic-split", 5, "b has had all", shares(CALLS, CALLS)),
    Step("traffic-split", 6, "all to c", split(0, 1)),
    Step("traffic-split", 7, "c has had all", shares(0, 0)),
    Step("traffic-split", 8, "75 per cent to b", split(75, 25)),
    # 50 calls are twelve periods of four and two calls more.
    Step("traffic-split", 9, "b has had three of four", shares(37, 38)),
    Step("traffic-split", 10, "25 per cent to b", split(25, 75)),
    Step("traffic-split", 11, "b has had one of four", shares(12, 13)),
)
