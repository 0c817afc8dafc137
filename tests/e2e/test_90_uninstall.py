"""What the mesh leaves behind: nothing."""

from __future__ import annotations

import pytest
from cluster import DEMOS, MESH, eventually, kubectl, place, run, smi

OURS = "app.kubernetes.io/part-of=smi-mesh"


@pytest.mark.usefixtures("mesh")
def test_meshed_pods_go_on_and_nothing_of_ours_is_left() -> None:
    with place("e2e-uninstall") as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        where.settled()
        # What a pod has called once it goes on calling; for a name it never asked for it needs a controller.
        where.python("deploy/client", "ask", "http://myweb-service/", "20", "GET", "{}")
        kubectl("delete", "-f", "-", text=smi("uninstall"))
        eventually("the namespace is gone", lambda: run("kubectl", "get", "namespace", MESH).returncode != 0)

        kinds = kubectl("api-resources", "--verbs=list", "-o", "name").split()
        assert not [kind for kind in kinds if "smi-spec.io" in kind]
        assert kubectl("get", ",".join(kinds), "-A", "-l", OURS, "--ignore-not-found", "-o", "name") == ""
        # Without its definition there is no TrafficSplit either: the root Service answers, by any of its pods.
        answers = where.python("deploy/client", "ask", "http://myweb-service/", "200", "GET", "{}")
        assert set(answers) == {"Version 1", "Version 2"}
        assert sum(answers.values()) == 200
