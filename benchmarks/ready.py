"""How much later a pod is ready with a sidecar than the very same pod without, on the cluster that KUBECONFIG names.

Pods are made in pairs (A B B A), one at a time, each gone before the next. A kubelet looks at its containers
once a second, so a single difference says little: where in that second a pod is made is spread evenly over the
pods of a kind. Prints JSON. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

PROXY: Final = "smi-mesh-proxy"
NAMESPACE: Final = "bench-ready"
DEADLINE: Final = 120.0
"""Seconds for one pod to be ready, and for it to be gone."""

SAMPLES: Final = 2000
"""Resamplings of the bootstrap interval."""

STEPS: Final = {
    "request path": "sidecar imported",
    "certificate of": "certificate",
    "control stream open": "stream",
    "config in force": "config",
}
"""What the sidecar's log says, and what it is called here. Only what it does say is shown."""


class Api:
    """The API server behind ``kubectl proxy``: whatever a kubeconfig says of credentials is kubectl's business."""

    def __init__(self, port: int) -> None:
        self._port = port

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's object. Raises ``RuntimeError`` with what it says if it is an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, body=text, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read().decode("utf-8")
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]}")
        return json.loads(said) if said.startswith("{") else said

    def watch(self, path: str) -> Iterator[tuple[float, str, dict[str, Any]]]:
        """Time of arrival (monotonic), type and object of each event. The first item says that it has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        connection.request("GET", f"{path}&watch=1")
        answer = connection.getresponse()
        yield time.monotonic(), "", {}
        while line := answer.readline():
            event = json.loads(line)
            yield time.monotonic(), event["type"], event["object"]


@contextmanager
def api() -> Iterator[Api]:
    """While the block runs."""
    process = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Api(int(process.stdout.readline().rpartition(":")[2]))
    finally:
        process.terminate()
        process.wait()


def pod(name: str, meshed: bool, node: str, image: str) -> dict[str, Any]:
    """An application that is ready as soon as it runs: what is measured is not its own start."""
    container = {"name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"]}
    chosen = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"smi-mesh.io/inject": "enabled" if meshed else "disabled"},
        },
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **chosen},
    }


def steps(seen: Mapping[str, Any]) -> Iterator[str]:
    """What a pod's status says has happened."""
    status = seen.get("status", {})
    for condition in status.get("conditions") or ():
        if condition["type"] in ("PodScheduled", "Ready") and condition["status"] == "True":
            yield {"PodScheduled": "scheduled", "Ready": "ready"}[condition["type"]]
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        for state in one["state"]:
            if state != "waiting":
                yield f"{one['name']} {state}"


def measure(api: Api, what: Mapping[str, Any]) -> dict[str, float]:
    """Seconds from the request that makes the pod until each step was reported; the pod is gone on return."""
    name = what["metadata"]["name"]
    base = f"/api/v1/namespaces/{NAMESPACE}/pods"
    events = api.watch(f"{base}?fieldSelector=metadata.name={name}")
    next(events)
    began, clock = time.monotonic(), time.time()
    made = api.call("POST", base, what)
    found = {"created": time.monotonic() - began}
    for at, _, seen in events:
        for step in steps(seen):
            found.setdefault(step, at - began)
        if "ready" in found:
            break
        if at - began > DEADLINE:
            raise RuntimeError(f"{name} is not ready within {DEADLINE:g} s")
    if PROXY in json.dumps(made["spec"]):
        found |= logged(api.call("GET", f"{base}/{name}/log?container={PROXY}&timestamps=true"), clock)
    api.call("DELETE", f"{base}/{name}")
    for _, kind, _ in events:
        if kind == "DELETED":
            break
    return {step: round(at, 3) for step, at in found.items()}


def logged(text: str, began: float) -> dict[str, float]:
    """Seconds from ``began`` (this machine's clock; a node's may differ) until the sidecar said so."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        at, _, said = line.partition(" ")
        for piece, step in STEPS.items():
            if piece in said:
                found.setdefault(step, datetime.fromisoformat(at).timestamp() - began)
    return found


def spread(count: int) -> list[float]:
    """Parts of a second, one in each of ``count`` equal parts of it, in random order."""
    parts = [(index + random.random()) / count for index in range(count)]
    random.shuffle(parts)
    return parts


def interval(differences: list[float]) -> list[float]:
    """95 % of the bootstrap's means."""
    means = sorted(fmean(random.choices(differences, k=len(differences))) for _ in range(SAMPLES))
    return [round(means[int(SAMPLES * part)], 3) for part in (0.025, 0.975)]


def stolen() -> tuple[float, float]:
    """CPU seconds that were stolen from this machine, and all there were."""
    numbers = [float(word) for word in Path("/proc/stat").read_text("ascii").split("\n")[0].split()[1:9]]
    return numbers[7], sum(numbers)


def summary(runs: Mapping[bool, list[dict[str, float]]]) -> dict[str, Any]:
    """The figures of ``runs``: those without a sidecar and those with one."""
    ready = {meshed: [one["ready"] for one in found] for meshed, found in runs.items()}
    differences = [later - sooner for sooner, later in zip(ready[False], ready[True], strict=True)]
    shown = {
        name: {step: round(median(one[step] for one in found if step in one), 3) for step in in_order(found)}
        for name, found in (("without", runs[False]), ("with", runs[True]))
    }
    return {
        "pairs": len(differences),
        "later_median": round(median(differences), 3),
        "later_mean": round(fmean(differences), 3),
        "later_mean_95": interval(differences),
        "ready_without": sorted(ready[False]),
        "ready_with": sorted(ready[True]),
        "medians": shown,
    }


def in_order(found: list[dict[str, float]]) -> list[str]:
    """All steps, by when they happened."""
    every = {step for one in found for step in one}
    return sorted(every, key=lambda step: median(one[step] for one in found if step in one))


def main() -> int:
    """0 unless the sidecar costs more than ``--limit``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--node", default="", help="the node they are made on; the scheduler's choice without")
    parser.add_argument("--image", default="localhost/python:slim", help="the application's (%(default)s)")
    parser.add_argument("--limit", type=float, default=2.0, help="seconds later, as the mean (%(default)s)")
    wanted = parser.parse_args()
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    before = stolen()
    with api() as server:
        server.call("POST", "/api/v1/namespaces", space)
        try:
            account_there(server)
            for meshed in (False, True):  # volumes and images are warm from here on
                measure(server, pod(f"warm-{meshed}".lower(), meshed, wanted.node, wanted.image))
            waits = {False: spread(wanted.pairs), True: spread(wanted.pairs)}
            for pair in range(wanted.pairs):
                for meshed in (False, True) if pair % 2 == 0 else (True, False):
                    time.sleep(1 + waits[meshed][pair])
                    runs[meshed].append(
                        measure(server, pod(f"p{pair}-{meshed}".lower(), meshed, wanted.node, wanted.image))
                    )
        finally:
            server.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    after = stolen()
    found = summary(runs)
    found["load"] = [float(word) for word in Path("/proc/loadavg").read_text("ascii").split()[:3]]
    found["steal"] = round((after[0] - before[0]) / (after[1] - before[1]), 3)
    print(json.dumps(found, indent=2))
    return 0 if found["later_mean"] <= wanted.limit else 1


def account_there(server: Api) -> None:
    """Returns when the namespace has the ServiceAccount that its pods run as."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            server.call("GET", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default")
        except RuntimeError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"no ServiceAccount in {NAMESPACE} after {DEADLINE:g} s")


if __name__ == "__main__":
    sys.exit(main())
