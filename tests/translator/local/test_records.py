from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smi.meta import Meta
from smi.workloads import Pod
from translator.local.environment import NO_COMMAND
from translator.local.errors import NoSuchMesh, NoSuchPod
from translator.local.lookup import find_pod
from translator.local.records import MeshRecord, PodRecord, decode_pods, encode_pods
from translator.local.state import MeshState, is_locked, root, running_state, try_lock, write_atomically
from translator.local.up import ready_line


def record(
    name: str, workload: str, *, namespace: str = "default", ready: bool = True, phase: str = "Running"
) -> PodRecord:
    pod = Pod(
        meta=Meta(name=name, namespace=namespace, labels={"a": "b"}, created=datetime(2026, 1, 2, tzinfo=UTC)),
        ip="127.80.0.2",
        workload=workload,
        workload_kind="Deployment",
        ports={"http": 80},
        listen_ports={80: 20080},
        ready=ready,
        mesh_port=4143,
    )
    return PodRecord(pod=pod, uid="u", app_address="127.81.0.2", phase=phase, app_pid=1, sidecar_pid=2)


def test_records_survive_their_file() -> None:
    records = (record("a", "w"), record("b", "w"))
    assert decode_pods(encode_pods(records)) == records
    assert json.loads(encode_pods(records))["pods"][0]["pod"]["meta"]["name"] == "a"


def test_half_a_file_is_no_file() -> None:
    with pytest.raises(ValueError, match="truncated"):
        decode_pods(encode_pods((record("a", "w"),))[:-5])


@pytest.fixture
def state(tmp_path: Path) -> MeshState:
    return MeshState(directory=tmp_path)


def test_pods_are_found_by_name_and_workload(state: MeshState) -> None:
    pods = (
        record("w-0", "w", phase="Terminating"),
        record("w-1", "w", ready=False),
        record("w-2", "w"),
        record("w-3", "w"),
        record("x", "x", namespace="other"),
    )
    state.pods.write_bytes(encode_pods(pods))
    assert find_pod(state, "default", "w-1").name == "w-1"
    assert find_pod(state, "default", "pod/w-1").name == "w-1"
    assert find_pod(state, "default", "deploy/w").name == "w-2", "the first that is ready"
    assert find_pod(state, "other", "deployment/x").name == "x"
    for namespace, asked, message in (
        ("default", "x", "it is in other"),
        ("default", "sts/w", r'no pod "sts/w" in namespace "default": there is deploy/w$'),
        ("default", "rs/w", "neither a pod nor"),
        ("empty", "q", "there are no pods"),
    ):
        with pytest.raises(NoSuchPod, match=message):
            find_pod(state, namespace, asked)


def test_of_many_workloads_some_are_named(state: MeshState) -> None:
    state.pods.write_bytes(encode_pods(tuple(record(f"w-{n:02}", f"w{n:02}") for n in range(12))))
    with pytest.raises(NoSuchPod, match=r"there are deploy/w00, .*deploy/w09 and 2 more$"):
        find_pod(state, "default", "deploy/x")


def test_a_mesh_of_nothing_says_so_when_it_is_ready() -> None:
    mesh = MeshRecord(
        name="shop", instance="i", pid=1, api_port=8001, directories=(),
        control_address="127.80.0.1", control_port=4190,
    )  # fmt: skip
    ready = 'mesh "shop" is ready: {} API http://127.0.0.1:8001'
    assert ready_line(mesh, (record("a", "w"),)) == ready.format("1 pod,")
    assert ready_line(mesh, ()).startswith(ready.format("0 pods,") + " (no Deployment, StatefulSet or Pod")
    pending = replace(record("a", "w"), reason=NO_COMMAND)
    assert ready_line(mesh, (pending,)).endswith("(pending, NoCommand: default/a)")


def test_where_meshes_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMI_MESH_HOME", "/somewhere")
    assert root() == Path("/somewhere")
    monkeypatch.setenv("SMI_MESH_HOME", "here")
    assert root() == Path.cwd() / "here"
    monkeypatch.delenv("SMI_MESH_HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert root().parent == Path("/run/user/7")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert root().parent == Path("/tmp")


def test_a_mesh_is_there_while_its_supervisor_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMI_MESH_HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mesh.json").touch()
    with pytest.raises(NoSuchMesh):
        running_state("m")
    lock = try_lock(tmp_path / "m.lock")
    assert lock is not None
    assert try_lock(tmp_path / "m.lock") is None
    assert is_locked(tmp_path / "m.lock")
    with open(lock):
        assert running_state("m").directory == tmp_path / "m"
    assert not is_locked(tmp_path / "m.lock")


def test_files_are_replaced_whole_and_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_atomically(file, b"one")
    old = file.open("rb")
    write_atomically(file, b"two")
    assert (old.read(), file.read_bytes()) == (b"one", b"two")
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    old.close()
