"""A mesh from up to down, from outside: what starts, what is said, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from localmesh import LocalMesh, deployment, is_alive, server, service, until


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[LocalMesh]:
    one = LocalMesh(tmp_path)
    yield one
    one.close()


def test_everything_starts_and_ctrl_c_ends_all_of_it(mesh: LocalMesh) -> None:
    mesh.write("web.yaml", server("web", replicas=2))
    mesh.write("plain.yaml", server("plain", annotations={"smi-mesh.io/inject": "disabled"}))
    mesh.write("image.yaml", deployment("image", command=None))
    mesh.write(
        "instead.yaml", deployment("instead", command=None, annotations={"local.smi-mesh.io/command": "sleep 99"})
    )
    mesh.write("db.yaml", deployment("db", kind="StatefulSet", replicas=2))
    # A daemon leaves its parent's process group and session.
    daemon = "import subprocess, time; subprocess.Popen(['sleep', '9876'], start_new_session=True); time.sleep(999)"
    mesh.write("single.yaml", deployment("single", kind="Pod", command=[sys.executable, "-c", daemon]))
    mesh.write_text("wrong.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: [a]\n")

    ready = mesh.start()
    assert ready.startswith('mesh "mesh" is ready: 7 pods, API http://127.0.0.1:')
    assert "NoCommand: default/image-" in ready
    assert f"{mesh.manifests}/wrong.yaml:4: metadata.name: " in mesh.said()

    status = mesh.status()
    assert ready.split("API ")[1].split()[0] == status["controller"]["url"]
    assert is_alive(status["controller"]["pid"])
    assert [(problem["line"], problem["field"]) for problem in status["problems"]] == [(4, "metadata.name")]
    pods = {pod["workload"]: pod for pod in status["pods"]}
    assert sorted(pod["name"] for pod in mesh.pods("db")) == ["db-0", "db-1"]
    assert pods["single"]["name"] == "single"
    assert (pods["image"]["phase"], pods["image"]["reason"]) == ("Pending", "NoCommand")
    assert not pods["plain"]["meshed"]
    assert pods["plain"]["sidecar"] is None
    web = pods["web"]
    assert web["ready"]
    assert web["meshed"]
    assert web["sidecar"]["configVersion"] >= 1
    assert web["sidecar"]["certificateExpires"].startswith("20")
    assert web["sidecar"]["admin"] == f"http://{web['ip']}:4191"

    processes = mesh.processes()
    assert {web["app"]["pid"], web["sidecar"]["pid"], status["controller"]["pid"]} < set(processes)
    assert mesh.end(signal.SIGINT) == 0
    assert [pid for pid in processes if is_alive(pid)] == []
    assert not (mesh.home / "mesh").exists()
    assert mesh.smi("status").returncode == 1


def test_detached_it_goes_on_until_down(mesh: LocalMesh) -> None:
    mesh.write("a.yaml", deployment("a"))
    up = mesh.smi("up", str(mesh.manifests), "--detach", "--port", "0")
    assert (up.returncode, up.stderr) == (0, "")
    assert 'mesh "mesh" is ready: 1 pod, API' in up.stdout
    again = mesh.smi("up", str(mesh.manifests))
    assert again.returncode == 1
    assert "already up" in again.stderr
    assert "smi local down" in again.stderr
    processes = mesh.processes()
    assert mesh.smi("down").returncode == 0
    assert [pid for pid in processes if is_alive(pid)] == []
    down = mesh.smi("down")
    assert down.returncode == 1
    assert 'no mesh named "mesh": start it with "smi local up DIR"' in down.stderr


def test_after_the_supervisor_was_killed_its_name_can_be_used_again(mesh: LocalMesh) -> None:
    # The app outlives its shell, as it is not told that the supervisor died.
    mesh.write("a.yaml", deployment("a", command=["sh", "-c", "sleep 9877 & wait"]))
    mesh.start()
    processes = mesh.processes()
    assert mesh.up is not None
    pod = mesh.pod("a")
    mesh.end(signal.SIGKILL)
    direct = (pod["app"]["pid"], pod["sidecar"]["pid"])
    until(lambda: not any(is_alive(pid) for pid in direct), "its own children die with it")
    assert any(is_alive(pid) for pid in processes), "something outlived its supervisor"
    assert mesh.smi("status").returncode == 1
    mesh.start()
    assert [pid for pid in processes if is_alive(pid)] == []
    assert mesh.end() == 0


def test_down_clears_up_after_a_killed_supervisor(mesh: LocalMesh) -> None:
    mesh.write("a.yaml", deployment("a", command=["sh", "-c", "sleep 9878 & wait"]))
    mesh.start()
    processes = mesh.processes()
    mesh.end(signal.SIGKILL)
    assert mesh.smi("down").returncode == 0
    assert [pid for pid in processes if is_alive(pid)] == []


def test_pods_that_do_not_get_ready_are_named_and_everything_ends(mesh: LocalMesh) -> None:
    mesh.write("deaf.yaml", deployment("deaf", ports=[{"containerPort": 8080}]))
    mesh.write("crash.yaml", deployment("crash", command=["sh", "-c", "echo out of luck; exit 3"]))
    mesh.write("map.yaml", deployment("map", envFrom=[{"configMapRef": {"name": "gone"}}]))
    up = mesh.smi("up", str(mesh.manifests), "--port", "0", "--timeout", "8s", "--detach")
    assert up.returncode == 1
    lines = up.stderr.partition("not ready after 8 s:\n")[2].splitlines()
    assert len(lines) == 3
    assert "default/crash-" in lines[0]
    assert "CrashLoopBackOff: exited with 3: out of luck" in lines[0]
    assert "nothing listens on 127.81." in lines[1]
    assert 'ConfigMap "gone" not found' in lines[2]
    assert mesh.smi("status").returncode == 1


def test_more_pods_than_there_are_addresses_for(mesh: LocalMesh) -> None:
    """It is said once, and nothing waits for those that never come."""
    mesh.write("many.yaml", deployment("many", command=None, replicas=10**9))
    up = mesh.smi("up", str(mesh.manifests), "--port", "0", "--timeout", "5s")
    assert up.returncode == 1
    message = "default/many: not all of its pods start: all addresses of 127.80."
    assert up.stderr.count(message) == 2
    assert message in up.stderr.partition("not ready after 5 s:\n")[2]


def test_an_app_on_all_addresses_is_told_where_to_listen(mesh: LocalMesh) -> None:
    everywhere = "import socket; socket.create_server(('0.0.0.0', 8080))"
    mesh.write("a.yaml", deployment("a", command=[sys.executable, "-c", everywhere], ports=[{"containerPort": 8080}]))
    up = mesh.smi("up", str(mesh.manifests), "--port", "0", "--timeout", "4s")
    assert up.returncode == 1
    assert "Address already in use" in up.stderr
    assert "; it must listen on HOST and PORT only (127.81." in up.stderr


def test_state_that_cannot_be_written_does_not_end_the_mesh(mesh: LocalMesh) -> None:
    mesh.write("web.yaml", server("web"), service("web"))
    mesh.start()
    first, controller = mesh.pod("web")["app"]["pid"], mesh.status()["controller"]["pid"]
    # As on a full disk, but for anybody: what a file would be written to is a folder.
    in_the_way = [mesh.home / "mesh" / f".{name}.new" for name in ("pods.json", "mesh.json")]
    for path in in_the_way:
        path.mkdir()
    os.kill(first, signal.SIGKILL)
    os.kill(controller, signal.SIGKILL)
    until(lambda: "cannot be written" in mesh.said(), "it is said")
    ask = ("exec", "deploy/web", "--", sys.executable, "-c", "import urllib.request as u; u.urlopen('http://web/')")
    until(lambda: mesh.smi(*ask).returncode == 0, "web serves")
    for path in in_the_way:
        path.rmdir()
    until(lambda: mesh.pod("web")["app"]["pid"] not in (first, None), "the new process is in the status")
    until(lambda: is_alive(mesh.status()["controller"]["pid"]), "the new controller is in the status")
    assert mesh.end() == 0


def test_a_port_that_is_taken(mesh: LocalMesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = mesh.smi("up", str(mesh.manifests), "--port", str(port))
    assert up.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in up.stderr


def test_two_meshes_do_not_meet(mesh: LocalMesh, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = LocalMesh(tmp_path / "other")
    try:
        for one in (mesh, other):
            one.write("a.yaml", deployment("a"))
            one.start()
        controllers = {one.record()["control_address"] for one in (mesh, other)}
        assert len(controllers) == 2, "each has a subnet of its own, and the controller its first address"
        assert mesh.pod("a")["ip"] != other.pod("a")["ip"]
    finally:
        other.close()


def test_a_second_ctrl_c_does_not_wait(mesh: LocalMesh) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(999)"
    )
    mesh.write("a.yaml", deployment("a", command=[sys.executable, "-c", stubborn]))
    mesh.start()
    until(lambda: "deaf" in mesh.smi("logs", "deploy/a").stdout, "the app ignores SIGTERM")
    processes = mesh.processes()
    assert mesh.up is not None
    os.kill(mesh.up.pid, signal.SIGINT)
    assert mesh.end() == 0
    assert [pid for pid in processes if is_alive(pid)] == []


def test_the_state_is_for_the_user_alone(mesh: LocalMesh) -> None:
    mesh.write("a.yaml", deployment("a"))
    mesh.start()
    state = mesh.home / "mesh"
    assert state.stat().st_mode & 0o777 == 0o700
    token = state / "pods" / f"default.{mesh.pod('a')['name']}" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert json.loads((state / "pods.json").read_text())["pods"][0]["phase"] == "Running"


def test_a_port_of_root_is_moved_up_for_those_who_may_not_bind_it(mesh: LocalMesh) -> None:
    low = server("low", replicas=2, says="low")
    low["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    low_service = service("low")
    low_service["spec"]["ports"][0]["targetPort"] = 80
    mesh.write("low.yaml", low, low_service)
    mesh.start(prefix=("setpriv", "--bounding-set", "-net_bind_service") if os.geteuid() == 0 else ())
    assert mesh.said() == "default/low: containerPort 80 needs root, 20080 takes its place (PORT)\n"
    assert mesh.smi("exec", "deploy/low", "--", "printenv", "PORT").stdout == "20080\n"
    through_the_mesh = "import urllib.request as r; print(r.urlopen('http://low/', timeout=5).read().decode())"
    assert mesh.smi("exec", "deploy/low", "--", sys.executable, "-c", through_the_mesh).stdout == "low\n"
