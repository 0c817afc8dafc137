"""``pytest --native``: the compiled modules of the request path are tested instead of their source.

Tests below ``tests/e2e`` take the cluster that KUBECONFIG names, and are skipped where it names none.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy import native

END_TO_END = Path(__file__).parent / "e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--native", action="store_true", help="import the compiled modules of proxy/")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "source: cannot be asked of compiled modules, which take no stand-ins")
    if config.getoption("native"):
        reason = native.prefer()
        if reason:
            raise pytest.UsageError(f"--native: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A compiled module does not see what a test patches: such tests are asked of the source alone."""
    if not os.environ.get("KUBECONFIG"):
        skip = pytest.mark.skip(reason="KUBECONFIG names no cluster: end-to-end tests were not run")
        for item in items:
            if END_TO_END in item.path.parents:
                item.add_marker(skip)
    if config.getoption("native"):
        patching = [item for item in items if "monkeypatch" in getattr(item, "fixturenames", ())]
        patching += [item for item in items if item.get_closest_marker("source")]
        config.hook.pytest_deselected(items=patching)
        items[:] = [item for item in items if item not in patching]


@pytest.fixture(scope="session")
def mesh() -> None:
    """An installed mesh, all checks passed. It is left to those who come after: the last test takes it away."""
    from cluster import IMAGE, kubectl, smi

    kubectl("apply", "-f", "-", text=smi("install", "--set", f"image={IMAGE}"))
    smi("check", "--wait", "90s")
