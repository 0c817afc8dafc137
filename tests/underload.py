"""Requests of every method that go on while parts of the mesh are exchanged, and what may become of them.

``tests/e2e/test_40_life.py`` and ``benchmarks/life.py`` take the parts away and hold each failure
against ``explained``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster import MESH, SCRIPTS, Place, eventually, kubectl

MIX = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
"""Half of the requests are GET, the others have equal shares."""

END, SAID = "/tmp/end", "/tmp/said"
"""Files of the load: the one ends it, the other is what it says at its end."""

DETACHED = f'{{ python3 -c "$@" >{SAID}.new && mv {SAID}.new {SAID}; }} </dev/null >/dev/null 2>&1 &'
"""It goes on by itself: the API server is one of the parts that are taken away, and with it what ``exec`` started."""

AWAIT = f"until cat {SAID} 2>/dev/null; do sleep 0.2; done"

ROLLOUT = "--timeout=180s"
VERSIONS = ("myweb-deployment-v1", "myweb-deployment-v2")
"""The Deployments of the canary demo that answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``at``: when it was sent, in seconds since 1970; ``kind`` and ``why`` as ``tests/inpod/load.py`` has them."""

    at: float
    method: str
    kind: str
    why: str


@dataclass(slots=True)
class Load:
    """What became of the requests, once the load has ended: {method: {kind: count}}, and each that was no 200."""

    methods: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)

    def unexplained(self) -> list[Failure]:
        """Failures that must not be."""
        return [one for one in self.failed if not explained(one.method, one.kind)]

    def counted(self) -> Counter[tuple[str, str]]:
        """Failures by method and kind."""
        return Counter((one.method, one.kind) for one in self.failed)


def explained(method: str, kind: str) -> str:
    """Why a failure is as due, empty when it is not.

    RFC 9110, 9.2.2: a request that is not idempotent is not sent again by itself once it was on a connection that
    broke. The server may have carried it out; a Service says that it may be repeated all the same by naming the method
    in a route of ``retry.smi-mesh.io/routes``.
    """
    if method in ("POST", "PATCH") and kind == "502 reset":
        return "the endpoint died with the request in its hands: it may have been carried out, so it is not sent again"
    return ""


@contextmanager
def load(
    where: Place,
    rate: float,
    methods: Sequence[str] = MIX,
    *,
    workload: str = "deploy/client",
    url: str = "http://myweb-service/",
) -> Iterator[Load]:
    """Requests from the container ``client`` of a workload, ``rate`` a second, while the block runs.

    As they are by default they go to the root Service of the canary.
    """
    found = Load()
    script = (SCRIPTS / "load.py").read_text("utf-8")
    where.exec(workload, "rm", "-f", END, SAID, container="client")
    where.exec(
        workload, "sh", "-c", DETACHED, "load", script, url, str(rate), ",".join(methods), END, container="client"
    )
    try:
        yield found
    finally:
        where.exec(workload, "touch", END, container="client")
        said = where.exec(workload, "timeout", "120", "sh", "-c", AWAIT, container="client")
    answer: dict[str, Any] = json.loads(said)
    found.methods = answer["methods"]
    found.failed = [Failure(**one) for one in answer["failed"]]


def restart_application(where: Place) -> None:
    """New pods for both versions, and with them new sidecars."""
    for name in VERSIONS:
        where.kubectl("rollout", "restart", f"deployment/{name}")
    for name in VERSIONS:
        where.kubectl("rollout", "status", f"deployment/{name}", ROLLOUT)


def restart_sidecars(where: Place) -> None:
    """The sidecars of the pods that answer, one after the other, in the pods as they are."""
    where.settled()
    for pod in where.kubectl("get", "pods", "-l", "app=myweb", "-o", "name").split():
        before = _restarts(where, pod)
        where.exec(pod, "python3", "-c", "import os; os.kill(1, 15)", container="smi-mesh-proxy")
        eventually(f"{pod} has a new sidecar", lambda pod=pod, before=before: _restarts(where, pod) > before)  # type: ignore[misc]
        where.kubectl("wait", pod, "--for=condition=Ready", "--timeout=60s")


def _restarts(where: Place, pod: str) -> int:
    statuses = where.got(pod)["status"]["initContainerStatuses"]
    return sum(int(one["restartCount"]) for one in statuses if one["name"] == "smi-mesh-proxy")


def restart_controller(_: Place) -> None:
    """In order."""
    kubectl("-n", MESH, "rollout", "restart", "deployment/smi-mesh-controller")
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", ROLLOUT)


def kill_controller(_: Place) -> None:
    """Without a word to it."""
    kubectl("-n", MESH, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--force", "--grace-period=0")
    kubectl("-n", MESH, "rollout", "status", "deployment/smi-mesh-controller", ROLLOUT)


def scale(where: Place) -> None:
    """More pods, then few, then as many as before."""
    for replicas in ("6", "1", "3"):
        where.kubectl("scale", f"deployment/{VERSIONS[0]}", f"--replicas={replicas}")
        where.kubectl("rollout", "status", f"deployment/{VERSIONS[0]}", ROLLOUT)
