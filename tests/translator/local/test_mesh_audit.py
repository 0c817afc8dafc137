"""From audit to enforcement in a running mesh: what was seen becomes TrafficTargets, and exactly that is let in."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from localmesh import LocalMesh, deployment, server, service, until

SEEN = (("a", "GET", "/api/x"), ("a", "GET", "/api/x?q=1"), ("a", "GET", "/"), ("b", "POST", "/form(1)"))
UNSEEN = (("a", "POST", "/api/x"), ("a", "GET", "/api/xy"), ("b", "GET", "/form(1)"), ("b", "POST", "/form1"))
DENIED = "403 denied; no TrafficTarget allows it"
ASK = """\
import sys, urllib.error, urllib.request
for method, path in zip(sys.argv[1::2], sys.argv[2::2]):
    request = urllib.request.Request("http://web" + path, method=method)
    try:
        print(urllib.request.urlopen(request, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.status, error.headers.get("smi-mesh-reason", ""))
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[LocalMesh]:
    one = LocalMesh(tmp_path)
    yield one
    one.close()


def running_as(account: str, workload: dict[str, Any]) -> dict[str, Any]:
    workload["spec"]["template"]["spec"]["serviceAccountName"] = account
    return workload


def mode(mesh: LocalMesh, said: str) -> None:
    annotations = {"smi-mesh.io/policy-mode": said}
    mesh.write(
        "ns.yaml",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "annotations": annotations}},
    )


def ask(mesh: LocalMesh, *requests: tuple[str, str, str]) -> list[str]:
    """The status of each, and the reason of a refusal; they are sorted by who asks."""
    answers = []
    for who, several in groupby(requests, lambda request: request[0]):
        words = [word for _, method, path in several for word in (method, path)]
        done = mesh.smi("exec", f"deploy/{who}", "--", sys.executable, "-c", ASK, *words)
        answers += [line.strip() for line in done.stdout.splitlines()]
    return answers


def smi(mesh: LocalMesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``smi …``, not ``smi local …``."""
    command = (sys.executable, "-P", "-m", "translator.cli", *arguments)
    return subprocess.run(command, env=mesh.environment, capture_output=True, text=True, timeout=60, check=False)


def explained(mesh: LocalMesh, who: str, method: str, path: str) -> dict[str, Any]:
    told = smi(mesh, "explain", method, f"http://web{path}", "--from", f"deploy/{who}", "-o", "json")
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def test_what_was_seen_in_audit_mode_is_what_the_suggested_targets_let_in(mesh: LocalMesh) -> None:
    mode(mesh, "audit")
    mesh.write("web.yaml", running_as("web", server("web", says="hi")), service("web"))
    mesh.write("clients.yaml", *(running_as(name, deployment(name)) for name in "ab"))
    mesh.start()
    nothing = smi(mesh, "policy", "suggest")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "nothing was seen" in nothing.stderr

    # The application has no POST, which is an answer of its own.
    assert ask(mesh, *SEEN) == ["200", "200", "200", "501"]
    with urllib.request.urlopen(mesh.pod("web")["sidecar"]["admin"] + "/metrics", timeout=10) as answer:
        assert 'client_id="spiffe://cluster.local/ns/default/sa/a"} 3\n' in answer.read().decode().partition("audit")[2]
    assert explained(mesh, "a", "GET", "/")["answer"]["wouldBe"] == "denied: default policy same-identity"

    suggested = smi(mesh, "policy", "suggest", "deploy/web")
    assert suggested.returncode == 0, suggested.stderr
    assert suggested.stdout.startswith("# 4 requests seen by 1 sidecars; policy would refuse 4 now.\napiVersion: ")
    mesh.write_text("targets.yaml", suggested.stdout)
    mode(mesh, "enforce")
    until(lambda: ask(mesh, UNSEEN[0]) == [DENIED], "policy is enforced")

    assert ask(mesh, *SEEN) == ["200", "200", "200", "501"]
    assert ask(mesh, *UNSEEN) == [DENIED] * 4
    for request in UNSEEN[::3]:
        answer = explained(mesh, *request)["answer"]
        assert (answer["allowed"], answer["status"], answer["reason"]) == (False, 403, "denied")
    (target,) = [one for one in explained(mesh, "a", "GET", "/api/x")["servers"][0]["targets"] if one["letsIn"]]
    assert target["target"] == "default/a-to-web-8080"

    matrix = smi(mesh, "policy", "check", "-o", "json")
    permissions = {(one["caller"], one["server"]): one["may"] for one in json.loads(matrix.stdout)}
    assert permissions == {
        ("default/a", "default/web"): "some",
        ("default/b", "default/web"): "some",
        ("default/web", "default/web"): "no",
    }
    one = smi(mesh, "policy", "check", "--from", "deploy/b", "--to", "deploy/web", "POST", "/form(1)")
    assert one.stdout.splitlines()[1].split() == ["default/b", "default/web", "8080", "yes", "default/b-to-web-8080"]
