"""``pytest --native``: the compiled modules of the request path are tested instead of their source."""

from __future__ import annotations

import pytest

from proxy import native


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
    if config.getoption("native"):
        patching = [item for item in items if "monkeypatch" in getattr(item, "fixturenames", ())]
        patching += [item for item in items if item.get_closest_marker("source")]
        config.hook.pytest_deselected(items=patching)
        items[:] = [item for item in items if item not in patching]
