"""The five packages are ours, the wheel carries all its data, and the locks are complete and neutral."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
ROOMS = ("smi", "translator", "proxy", "conformance", "manifests")
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("room", ROOMS)
def test_the_package_is_ours(room: str) -> None:
    """PyPI has a distribution that installs another package named ``proxy``."""
    found = subprocess.run(
        [sys.executable, "-P", "-c", f"import {room}; print({room}.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )

    assert Path(found.stdout.strip()) == HOUSE / room / "__init__.py"


def test_a_sidecar_stays_small() -> None:
    """What the sidecar process imports is what every pod pays for."""
    probe = "import sys, proxy.__main__, proxy.start, proxy.process; print(*sys.modules)"
    # A measured test run would measure this process, too, with modules that no sidecar has.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=HOUSE, env=bare
    )
    modules = set(done.stdout.split())

    assert {name.partition(".")[0] for name in modules}.isdisjoint(
        {"pydantic", "yaml", "kubernetes", "kubernetes_asyncio", "opentelemetry", "watchfiles", "click", "rich"}
        | {"smi", "translator", "manifests", "conformance"}
        | {"cryptography", "argparse", "hpack", "unittest", "multiprocessing"}
    )
    # What of aiohttp's server the admin port has no use for; some of its modules import more than they are.
    assert modules.isdisjoint(
        {"aiohttp.web", "aiohttp.web_urldispatcher", "aiohttp.web_fileresponse", "aiohttp.web_ws"}
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what ``pip install .`` installs, dependencies apart."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=HOUSE, check=True, capture_output=True)
    (wheel,) = folder.glob("smi_mesh-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_every_file_of_the_five_rooms(installed: Path) -> None:
    files = [
        path.relative_to(HOUSE)
        for room in ROOMS
        for path in (HOUSE / room).rglob("*")
        if path.is_file() and not {"__pycache__", "_native"}.intersection(path.parts)
    ]

    assert len(files) > 100
    assert [str(file) for file in files if not (installed / file).is_file()] == []
    assert sorted(path.name for path in installed.iterdir() if path.suffix != ".dist-info") == sorted(ROOMS)


def test_smi_works_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "translator.cli", "demo", "--list"]
    where = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}

    done = subprocess.run(command, env=where, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "canary",
        "header-canary",
        "access",
        "mtls",
        "retries",
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_host(lock: str) -> None:
    lines = (HOUSE / lock).read_text().splitlines()

    pins = [line for line in lines if not line.startswith(" ")]
    hashes = [line for line in lines if line.startswith(" ")]

    assert pins
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][^ ]*( ; .+)? \\", line) for line in pins)
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes)


def test_the_locks_have_every_dependency() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    runtime = {_name(line) for line in project["dependencies"]}
    dev = {_name(line) for line in project["optional-dependencies"]["dev"]}

    pinned = {lock: {_name(line) for line in (HOUSE / lock).read_text().splitlines()} for lock in LOCKS}

    assert runtime - pinned["requirements.lock"] == set()
    assert (runtime | dev) - pinned["requirements-dev.lock"] == set()


def _name(line: str) -> str:
    return re.split(r"[ =<>;[]", line.strip(), maxsplit=1)[0]
