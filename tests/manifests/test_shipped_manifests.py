"""The manifests that ship: found, complete, and free of problems."""

from pathlib import Path

import pytest

import manifests
from smi.decode import decode_text
from smi.workloads import Workload

WORLDS = sorted((Path(__file__).parents[2] / "conformance" / "worlds").glob("*.yaml"))
SHIPPED = [*(path for name in manifests.demos() for path in sorted(manifests.demo(name).glob("*.yaml"))), *WORLDS]


def test_the_demos_are_found_by_name() -> None:
    assert manifests.demos() == ("access", "canary", "header-canary", "mtls", "retries")
    assert all((manifests.demo(name) / "app.yaml").is_file() for name in manifests.demos())


def test_an_unknown_demo_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        manifests.demo("nowhere")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_file_decodes_whole(path: Path) -> None:
    decoded = decode_text(path.read_text(), path.name)

    assert decoded.problems == ()
    assert decoded.ignored == ()
    assert decoded.objects


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_workloads_run_on_a_cluster_too(path: Path) -> None:
    """An image, a command, and a probe for whatever serves."""
    workloads = [thing for thing in decode_text(path.read_text(), path.name).objects if isinstance(thing, Workload)]

    for container in (container for workload in workloads for container in workload.containers):
        assert container.image
        assert container.command
        assert bool(container.ports) == (container.readiness is not None)
