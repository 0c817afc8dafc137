"""What each kubectl shows of TrafficMetrics through a real API server: golden outputs, the same for all of them.

The kubectl of the PATH, and those in the folder ``.kubectls`` (``make kubectls`` fetches them). What differs between
runs (times, counts, the ends of pods' names) is written as a letter. To write them anew after an intended change:

    SMI_MESH_REWRITE_GOLDEN=1 pytest tests/e2e/test_27_kubectl.py
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import DEMOS, ROOT, Place, done, eventually, place, run
from underload import load

pytestmark = pytest.mark.usefixtures("mesh")

GOLDEN = Path(__file__).parent / "golden" / "kubectl.yaml"
ANEW = os.environ.get("SMI_MESH_REWRITE_GOLDEN") == "1"
KUBECTLS = ["kubectl", *(str(path) for path in sorted((ROOT / ".kubectls").glob("kubectl-*")))]

each = pytest.mark.parametrize("kubectl", KUBECTLS, ids=lambda path: Path(path).name)

COMMANDS = (
    "api-resources --api-group=metrics.smi-spec.io",
    "get trafficmetrics",
    "get trafficmetric",
    "get tm",
    "get tm deployment.b",
    "get tm service.b pod.nosuch",
    "get tm -o wide",
    "get tm -o name",
    "get tm -l app=b",
    "get tm -l app!=b",
    "get tm --field-selector resource.kind=Service",
    "get tm --sort-by=.resource.kind",
    "get tm --show-labels",
    "get tm -A",
    "get tm deployment.b -o yaml",
    "get tm deployment.b -o json",
    "get pods.metrics.smi-spec.io",
    "get deployments.metrics.smi-spec.io",
    "get deployments.metrics.smi-spec.io b -o wide",
    "get services.metrics.smi-spec.io -o jsonpath={.items[*].metadata.name}",
    "get namespaces.metrics.smi-spec.io e2e-kubectl",
    "get trafficsplits.metrics.smi-spec.io",
    "get trafficmetrics.v1alpha1.metrics.smi-spec.io deployment.b -o yaml",
    "describe tm deployment.b",
    "describe deployments.metrics.smi-spec.io b",
    "explain tm",
    "explain tm.edge --recursive",
    "explain tm.metrics",
    "get tm nosuch",
    "get tm -l =",
    "delete tm deployment.b",
)


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-kubectl") as where:
        where.apply(*sorted((DEMOS / "mtls").glob("*.yaml")))
        where.settled()
        with load(where, 10, ("GET",), workload="deploy/a", url="http://b/"):
            # Both sides have reported, and of the first requests, which are slower, nothing is left to see.
            eventually("all have counted", lambda: "-" not in columns(where, "deployment.b", "service.b"), 30)
            yield where


def columns(where: Place, *names: str) -> set[str]:
    lines = where.kubectl("get", "tm", *names, "--no-headers").splitlines()
    return {column for line in lines for column in line.split()[1:]}


def shown(kubectl: str, where: Place, command: str) -> list[str]:
    """What it prints, with letters for what differs from run to run; of errors and tables of all namespaces our own."""
    ended = run(kubectl, "-n", where.name, *command.split())
    text = (ended.stdout + ended.stderr).replace("\t", "  ")
    for pattern, letter in (
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "WHEN"),
        (r"\b([ab])-[0-9a-f]{6,10}-[a-z0-9]{5}\b", r"\1-POD"),
        (r"pod-template-hash=[0-9a-f]+", "pod-template-hash=HASH"),
        (r'("?[Vv]alue"?:\s+)"?[0-9]+[mu]?"?', r"\1N"),
        (r"\b\d+(\.\d+)?ms\b", "MS"),
        (r"\b\d+\.\d\b(?!\.)", "R"),
        (r"(?<=\S) {2,}(?=\S)", "  "),
        (r"(?m) +$", ""),
    ):
        text = re.sub(pattern, letter, text)
    lines = text.rstrip("\n").splitlines()
    if command.endswith("-A"):
        lines = [line for line in lines if line.startswith(("NAMESPACE", f"{where.name} "))]
    return lines


@each
def test_golden_outputs(shop: Place, kubectl: str) -> None:
    found = {command: shown(kubectl, shop, command) for command in COMMANDS}
    if ANEW and kubectl == KUBECTLS[0]:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(yaml.safe_dump(found, sort_keys=False, width=200))
    wanted = yaml.safe_load(GOLDEN.read_text())
    for command in COMMANDS:
        assert found[command] == wanted[command], command
    assert found.keys() == wanted.keys()


@each
def test_kubernetes_own_resources_stay_its_own(shop: Place, kubectl: str) -> None:
    for words in ("deployments", "deploy", "pods", "po", "services", "svc", "replicasets", "jobs", "namespaces"):
        text = done(kubectl, "-n", shop.name, "get", words, "-o", "yaml")
        kinds = {item["apiVersion"].partition("/")[0] for item in yaml.safe_load(text)["items"]}
        assert kinds <= {"v1", "apps", "batch"}, words
    assert done(kubectl, "-n", shop.name, "get", "deployments").split()[:2] == ["NAME", "READY"]


@each
def test_watching_shows_rows_that_change(shop: Place, kubectl: str) -> None:
    command = [kubectl, "-n", shop.name, "get", "tm", "-w", "--no-headers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watching:
        assert watching.stdout is not None
        # It ends when it is ended: by us, or in a minute, whatever it has shown.
        watchdog = threading.Timer(60, watching.kill)
        watchdog.start()
        seen: list[str] = []
        try:
            for line in watching.stdout:
                seen.append(line.split()[0])
                if seen.count("deployment.b") == 3:
                    break
        finally:
            watchdog.cancel()
            watching.kill()
    assert seen.count("deployment.b") == 3, seen
    # Who receives nothing is listed once, and does not change.
    assert seen.count("deployment.a") == 1
