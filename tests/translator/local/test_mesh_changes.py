"""What a running mesh does when something dies and when its folder changes, from outside."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localmesh import LocalMesh, deployment, is_alive, server, service, until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    one = LocalMesh(tmp_path_factory.mktemp("changes"))
    one.write("web.yaml", server("web", says="v1"), service("web"))
    one.start()
    yield one
    one.close()


def host_of(mesh: LocalMesh, pod: dict[str, Any]) -> str:
    """Where the pod's app listens."""
    return mesh.smi("exec", pod["name"], "--", "sh", "-c", "echo $HOST:$PORT").stdout.strip()


def app_says(address: str) -> str:
    """What the app answers, asked directly and not through the mesh."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/", timeout=5) as response:
        return str(response.read().decode())


def test_a_killed_app_is_started_again_and_its_sidecar_stays(mesh: LocalMesh) -> None:
    before = mesh.pod("web")
    os.kill(before["app"]["pid"], signal.SIGKILL)

    def again() -> bool:
        now = mesh.pod("web")
        return now["ready"] and now["app"]["pid"] not in (None, before["app"]["pid"])

    until(again, "the app runs again")
    after = mesh.pod("web")
    assert (after["name"], after["ip"], after["sidecar"]["pid"]) == (
        before["name"],
        before["ip"],
        before["sidecar"]["pid"],
    )
    assert "killed by SIGKILL; starts again in 0.1 s" in mesh.said()


def test_a_killed_sidecar_is_started_again_and_its_app_stays(mesh: LocalMesh) -> None:
    before = mesh.pod("web")
    os.kill(before["sidecar"]["pid"], signal.SIGKILL)

    def again() -> bool:
        now = mesh.pod("web")
        return now["ready"] and now["sidecar"]["pid"] not in (None, before["sidecar"]["pid"])

    until(again, "the sidecar runs again")
    assert mesh.pod("web")["app"]["pid"] == before["app"]["pid"]


def test_a_killed_controller_is_started_again_and_the_status_goes_on_without_it(mesh: LocalMesh) -> None:
    before = mesh.status()
    os.kill(before["controller"]["pid"], signal.SIGKILL)
    assert mesh.status()["problems"] == []

    def again() -> bool:
        now = mesh.status()["controller"]
        return now["pid"] not in (None, before["controller"]["pid"]) and is_alive(now["pid"])

    until(again, "the controller runs again")
    after = mesh.status()
    assert after["controller"]["url"] == before["controller"]["url"]
    assert [pod["app"] for pod in after["pods"]] == [pod["app"] for pod in before["pods"]]


def test_a_wrong_file_changes_nothing_and_is_reported(mesh: LocalMesh) -> None:
    names = [pod["name"] for pod in mesh.pods()]
    mesh.write_text("web.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: [web]\n")
    problems = until(lambda: mesh.status()["problems"], "the problem is in the status")
    assert [(one["line"], one["field"]) for one in problems] == [(4, "metadata.name")]
    reported = f"{mesh.manifests}/web.yaml:4: metadata.name: "
    until(lambda: reported in mesh.said(), "the problem is on stderr")
    assert reported in mesh.smi("logs", "controller").stdout
    assert [pod["name"] for pod in mesh.pods()] == names
    mesh.write("web.yaml", server("web", says="v1"), service("web"))
    until(lambda: not mesh.status()["problems"], "the problem is gone")
    assert [pod["name"] for pod in mesh.pods()] == names


def test_what_objects_do_not_mean_is_in_the_status(mesh: LocalMesh) -> None:
    assert mesh.status()["findings"] == []
    backends = [{"service": "web", "weight": 1}]
    splits = [
        {
            "apiVersion": "split.smi-spec.io/v1alpha4",
            "kind": "TrafficSplit",
            "metadata": {"name": name},
            "spec": {"service": "web", "backends": backends},
        }
        for name in ("first", "second")
    ]
    wrong = {"smi-mesh.io/policy-mode": "perhaps"}
    mesh.write("extra.yaml", *splits, deployment("odd", annotations=wrong))

    def found() -> bool:
        said = mesh.status()["findings"]
        return {(one["kind"], one["reason"]) for one in said or ()} == {
            ("TrafficSplit", "Conflicted"),
            ("Pod", "InvalidAnnotation"),
        }

    until(found, "both findings are in the status")
    (line,) = [line for line in mesh.smi("status").stdout.splitlines() if "Conflicted" in line]
    assert line.startswith("finding: TrafficSplit default/second: Conflicted: ")
    (mesh.manifests / "extra.yaml").unlink()
    until(lambda: mesh.status()["findings"] == [], "they are gone")


def test_scaling_up_and_down(mesh: LocalMesh) -> None:
    (first,) = [pod["name"] for pod in mesh.pods("web")]
    mesh.write("web.yaml", server("web", says="v1", replicas=3), service("web"))
    until(lambda: [pod["ready"] for pod in mesh.pods("web")] == [True] * 3, "three are ready")
    mesh.write("web.yaml", server("web", says="v1", replicas=1), service("web"))
    until(lambda: len(mesh.pods("web")) == 1, "two have gone")
    assert mesh.pod("web")["name"] == first, "the oldest stays"


def test_a_new_template_rolls_over_and_the_old_pod_serves_until_the_new_one_does(mesh: LocalMesh) -> None:
    old = mesh.pod("web")
    address = host_of(mesh, old)
    mesh.write("web.yaml", server("web", says="v2"), service("web"))

    def is_over() -> bool:
        pods = mesh.pods("web")
        ready = [pod["name"] for pod in pods if pod["ready"]]
        assert ready, "there is always one that serves"
        if old["name"] in ready:
            assert app_says(address) == "v1"
        return [pod["name"] for pod in pods] == ready and old["name"] not in ready

    until(is_over, "the new one has taken over")
    assert app_says(host_of(mesh, mesh.pod("web"))) == "v2"


def test_a_pod_that_leaves_is_no_endpoint_while_it_drains(mesh: LocalMesh) -> None:
    mesh.write("extra.yaml", server("extra"))
    until(lambda: [pod["ready"] for pod in mesh.pods("extra")] == [True], "it is ready")
    extra = mesh.pod("extra")
    (mesh.manifests / "extra.yaml").unlink()
    leaving = until(
        lambda: next((pod for pod in mesh.pods("extra") if pod["phase"] == "Terminating"), None), "it is leaving"
    )
    assert leaving is not None
    assert not leaving["ready"]
    assert is_alive(extra["app"]["pid"])
    until(lambda: not mesh.pods("extra"), "it has gone")
    assert not is_alive(extra["app"]["pid"])
    assert not is_alive(extra["sidecar"]["pid"])


def test_config_maps_are_environment_and_files(mesh: LocalMesh) -> None:
    def config(text: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"FROM": "map", "f": text}}

    mounted = server(
        "mounted",
        env=[{"name": "SAYS", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "FROM"}}}],
        envFrom=[{"configMapRef": {"name": "m"}}],
        volumeMounts=[{"name": "v", "mountPath": "/etc/app"}],
    )
    container = mounted["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["sh", "-c", 'MOUNTED=/etc/app/f exec "$@"', "sh", *container["command"]]
    mounted["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "m"}}]
    mesh.write("mounted.yaml", mounted, config("-one"))
    until(lambda: [pod["ready"] for pod in mesh.pods("mounted")] == [True], "it is ready")
    pod = mesh.pod("mounted")
    address = host_of(mesh, pod)
    assert app_says(address) == "map-one"
    assert mesh.smi("exec", pod["name"], "--", "printenv", "FROM").stdout == "map\n"
    mesh.write("mounted.yaml", mounted, config("-two"))
    until(lambda: app_says(address) == "map-two", "the mounted file follows the ConfigMap")
    assert mesh.pod("mounted")["app"]["pid"] == pod["app"]["pid"]
    (mesh.manifests / "mounted.yaml").unlink()


@pytest.mark.parametrize(
    "probe",
    [
        {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 1},
        {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        {"exec": {"command": ["test", "-e", "$FLAG"]}, "periodSeconds": 1},
    ],
)
def test_readiness_probes(mesh: LocalMesh, tmp_path: Path, probe: dict[str, Any]) -> None:
    flag = tmp_path / "serve"
    if "exec" in probe:
        probe["exec"]["command"][2] = str(flag)
    probed = server("probed", readinessProbe=probe)
    container = probed["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"containerPort": 8080, "name": "web"}]
    wait = f'while [ ! -e {flag} ]; do sleep 0.05; done; exec "$@"'
    container["command"] = ["sh", "-c", wait, "sh", *container["command"]]
    mesh.write("probed.yaml", probed)
    until(lambda: [pod["reason"] for pod in mesh.pods("probed")] == ["NotReady"], "it runs and is not ready")
    flag.touch()
    until(lambda: mesh.pod("probed")["ready"], "it is ready")
    (mesh.manifests / "probed.yaml").unlink()
    until(lambda: not mesh.pods("probed"), "it has gone")


def test_exec_speaks_as_the_pod(mesh: LocalMesh) -> None:
    pod = mesh.pod("web")
    printed = mesh.smi("exec", "deploy/web", "--", "printenv", "POD_NAME", "HTTP_PROXY", "NO_PROXY").stdout.split()
    assert printed == [pod["name"], f"http://{pod['ip']}:4140", "localhost,127.0.0.1,::1"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("exec", "deploy/web", "--", "sh", "-c", "exit 42"), 42, ""),
        (("exec", "deploy/web", "--", "no-such-command"), 127, "no-such-command: command not found"),
        (("exec", "deploy/web", "--", "/etc/passwd"), 126, "Permission denied"),
        (("exec", "nobody", "--", "true"), 1, 'no pod "nobody" in namespace "default": there is deploy/web'),
        (("exec", "-n", "other", "deploy/web", "--", "true"), 1, "it is in default (-n)"),
        (("exec", "svc/web", "--", "true"), 1, "neither a pod nor deploy/NAME"),
        (("exec", "deploy/web"), 2, "Missing argument"),
        (("exec", "--name", "none", "deploy/web", "--", "true"), 1, 'no mesh named "none"'),
        (("logs", "nobody"), 1, 'no pod "nobody"'),
        (("logs", "deploy/web", "-c", "other"), 1, 'has no container "other"'),
        (("run", "Web_1", "--", "true"), 2, "is no name"),
        (("run", "x", "-l", "novalue", "--", "true"), 2, "write key=value"),
        (("run", "x", "--timeout", "soon", "--", "true"), 2, "write 60s, 1m30s or 500ms"),
    ],
)
def test_exit_codes(mesh: LocalMesh, arguments: tuple[str, ...], code: int, error: str) -> None:
    done = mesh.smi(*arguments)
    assert (done.returncode, error in done.stderr) == (code, True), done.stderr


def test_logs(mesh: LocalMesh) -> None:
    assert mesh.smi("logs", "deploy/web").stdout == "serving\n"
    assert mesh.smi("logs", mesh.pod("web")["name"], "-c", "c").stdout == "serving\n"
    assert mesh.smi("logs", "deploy/web", "-c", "proxy").returncode == 0


def test_logs_are_followed_to_the_pods_end(mesh: LocalMesh, tmp_path: Path) -> None:
    mesh.write(
        "talk.yaml",
        deployment(
            "talk",
            command=["sh", "-c", f"echo one; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo two; sleep 99"],
        ),
    )
    until(lambda: [pod["ready"] for pod in mesh.pods("talk")] == [True], "it is ready")
    following = mesh.follow("logs", "-f", "deploy/talk")
    assert following.stdout is not None
    assert following.stdout.readline() == "one\n"
    (tmp_path / "go").touch()
    assert following.stdout.readline() == "two\n"
    (mesh.manifests / "talk.yaml").unlink()
    assert following.wait(20) == 0
    following.stdout.close()


LISTENER = "import os, socket; socket.create_server((os.environ['HOST'], int(os.environ['PORT']))).accept()"


def test_run_adds_a_pod_that_lives_like_others(mesh: LocalMesh) -> None:
    options = ("-l", "app=added,tier=x", "--serviceaccount", "bob", "--port", "9000")
    added = mesh.smi("run", "added", *options, "--", "python3", "-c", LISTENER)
    pod = mesh.pod("added")
    assert (added.returncode, added.stdout) == (0, f"pod default/added is ready: {pod['ip']}\n")
    assert (pod["serviceAccount"], pod["labels"], pod["meshed"]) == ("bob", {"app": "added", "tier": "x"}, True)
    os.kill(pod["app"]["pid"], signal.SIGKILL)
    until(lambda: mesh.pod("added")["app"]["pid"] not in (None, pod["app"]["pid"]), "it runs again")
    again = mesh.smi("run", "added", "--", "true")
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


def test_run_without_sidecar_in_the_callers_folder_and_environment(mesh: LocalMesh) -> None:
    mesh.environment["MARK"] = "mine"
    try:
        out = mesh.home.parent / "out"
        done = mesh.smi(
            "run",
            "plain",
            "--no-sidecar",
            "--",
            "sh",
            "-c",
            f'echo "$PWD $MARK $HOST=$POD_IP [$HTTP_PROXY]" > {out}; sleep 99',
        )
        assert done.returncode == 0, done.stderr
        pod = mesh.pod("plain")
        assert not pod["meshed"]
        assert until(out.read_text, "it has written") == f"{Path.cwd()} mine {pod['ip']}={pod['ip']} []\n"
    finally:
        del mesh.environment["MARK"]


def test_run_of_something_that_does_not_get_ready_leaves_nothing(mesh: LocalMesh) -> None:
    done = mesh.smi("run", "dud", "--timeout", "2s", "--", "sh", "-c", "echo no way; exit 1")
    assert done.returncode == 1
    assert "pod dud is not ready after 2 s: CrashLoopBackOff: exited with 1: no way" in done.stderr
    until(lambda: not mesh.pods("dud"), "it has gone")


def test_run_that_is_interrupted_leaves_nothing(mesh: LocalMesh) -> None:
    with mesh.follow("run", "dud", "--port", "9000", "--", "sleep", "99") as running:
        until(lambda: mesh.pods("dud"), "it has begun")
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 1
    until(lambda: not mesh.pods("dud"), "it has gone")


def test_a_service_with_a_port_that_no_container_names_gets_a_listener(mesh: LocalMesh) -> None:
    before = mesh.pod("web")
    late = service("late", "web")
    late["spec"]["ports"][0]["targetPort"] = 8081
    mesh.write("late.yaml", late)

    def listens() -> bool:
        sidecar = mesh.pod("web")["sidecar"]
        settings = (mesh.home / "mesh" / "pods" / f"default.{before['name']}" / "sidecar.json").read_text()
        return sidecar["pid"] not in (None, before["sidecar"]["pid"]) and '"port": 8081' in settings

    until(listens, "the sidecar listens there too")
    until(lambda: mesh.pod("web")["ready"], "and is ready")
    assert mesh.pod("web")["app"]["pid"] == before["app"]["pid"]
