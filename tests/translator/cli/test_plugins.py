"""``kubectl smi`` and ``kubectl traffic``, and the tree that ``topology`` draws."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from translator.cli import main, plugins
from translator.cli.topology import UNKNOWN, tree
from translator.rows import EdgeRow, Stats

KUBECTL = shutil.which("kubectl")
SCRIPTS = Path(sys.executable).parent
SOME = Stats(
    requests=300, success=297, failure=3, success_rate=0.99, rps=10.0,
    best_ms=0.5, p50_ms=1.2, p95_ms=12.3, p99_ms=123.4, worst_ms=1234.5,
)  # fmt: skip


def edge(source: str, destination: str, *, secured: bool = True) -> EdgeRow:
    """Of ``namespace/name`` each; an empty one is not known."""
    ends = [text.partition("/") for text in (source, destination)]
    return EdgeRow(
        source=ends[0][2],
        source_namespace=ends[0][0],
        destination=ends[1][2],
        destination_namespace=ends[1][0],
        client_id="",
        server_id="",
        secured=secured,
        stats=SOME,
    )


def test_the_tree_begins_with_those_that_nobody_calls() -> None:
    rows = [
        edge("shop/web", "shop/db"),
        edge("shop/client", "shop/web"),
        edge("shop/client", "shop/audit"),
        edge("", "shop/web", secured=False),
    ]
    assert tree(rows) == [
        UNKNOWN,
        "└─ shop/web  10.0rps 99.00% ×",
        "   └─ shop/db  10.0rps 99.00% √",
        "shop/client",
        "├─ shop/audit  10.0rps 99.00% √",
        "└─ shop/web  10.0rps 99.00% √  …",
    ]


def test_rings_and_who_calls_itself_end() -> None:
    assert tree([edge("a/x", "a/y"), edge("a/y", "a/x")]) == [
        "a/x",
        "└─ a/y  10.0rps 99.00% √",
        "   └─ a/x  10.0rps 99.00% √  …",
    ]
    assert tree([edge("a/x", "a/x"), edge("a/x", "a/y")])[0] == "a/x"
    assert tree([]) == []


def test_a_long_chain_is_drawn() -> None:
    lines = tree(edge(f"a/{here:05}", f"a/{there:05}") for here, there in pairwise(range(3000)))
    assert len(lines) == 3000


def test_the_plugin_has_the_commands_of_smis_text() -> None:
    result = CliRunner().invoke(plugins.traffic, ["--help"], prog_name="kubectl traffic")
    assert result.exit_code == 0
    assert "Usage: kubectl traffic" in result.output
    assert list(plugins.traffic.commands) == []
    for name in ("top", "edges", "topology"):
        asked = ["--help"]
        plugin = CliRunner().invoke(plugins.traffic, [name, *asked], prog_name="x")
        command = CliRunner().invoke(main, [name, *asked], prog_name="x")
        assert (plugin.exit_code, plugin.output) == (0, command.output)


def test_the_scripts_are_installed_and_say_what_they_are_called() -> None:
    for script, name in (("kubectl-smi", "kubectl smi"), ("kubectl-traffic", "kubectl traffic")):
        done = subprocess.run([SCRIPTS / script, "-h"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"Usage: {name}")


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl: its own list of plugins was not asked")
def test_kubectl_finds_them() -> None:
    where = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    listed = subprocess.run([str(KUBECTL), "plugin", "list"], env=where, capture_output=True, text=True, check=False)
    assert {"kubectl-smi", "kubectl-traffic"} <= {Path(line).name for line in listed.stdout.splitlines()}
    for arguments, name in ((["smi", "version"], "smi-mesh "), (["traffic", "-h"], "Usage: kubectl traffic")):
        done = subprocess.run([str(KUBECTL), *arguments], env=where, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(name)
