"""The golden cases of the compiler as worlds; see ``tests/golden/README.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from smi.decode import Decoded, decode_text
from smi.meta import Meta
from smi.workloads import Pod
from translator.settings import Settings
from translator.world import World

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.rglob("*.yaml"))


def pod_of(number: int, text: dict[str, Any]) -> Pod:
    namespace, name = text["pod"].split("/")
    kind, _, workload = text.get("workload", "").partition("/")
    return Pod(
        meta=Meta(
            name=name, namespace=namespace, labels=text.get("labels", {}), annotations=text.get("annotations", {})
        ),
        ip=text.get("ip", f"127.80.0.{number + 2}"),
        service_account=text["as"],
        workload=workload,
        workload_kind=kind,
        ports=text.get("ports", {}),
        ready=text.get("ready", True),
        mesh_port=4143 if text.get("meshed", True) else 0,
        listen_ports=text.get("listen", {}),
    )


def load_case(path: Path) -> tuple[World, Pod, frozenset[str]]:
    """The world, whose sidecar, and the hosts it asked for."""
    header, _, manifests = path.read_text().partition("---\n")
    case = yaml.safe_load(header)
    decoded = decode_text(manifests, path.name) if manifests else Decoded()
    assert decoded.problems == ()
    pods = [pod_of(number, text) for number, text in enumerate(case["pods"])]
    world = World.of(decoded.objects, pods, Settings(**case.get("settings", {})))
    return world, world.index.pods[case["sidecar"]], frozenset(case.get("hosts", ()))
