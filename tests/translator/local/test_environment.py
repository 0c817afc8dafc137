"""A container as a process: every sentence of "Manifests" in local-mode.md that speaks of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smi.meta import Meta
from smi.workloads import ConfigMap, Container, ContainerPort, EnvVar, Pod
from translator.local.environment import (
    AppProcess,
    NotStartable,
    PodFacts,
    app_process,
    expand,
    has_command,
    relocate,
)
from translator.local.inherit import inherited

POD = Pod(
    meta=Meta(name="web-1", namespace="shop", labels={"app": "web"}, annotations={"note": "n"}),
    ip="127.80.3.7",
    service_account="seller",
    mesh_port=4143,
)
FACTS = PodFacts(pod=POD, uid="u1", app_address="127.81.3.7", files="/state/files", first_unprivileged=0, ports=(8080,))
MAPS = {
    ("shop", "settings"): ConfigMap(meta=Meta(name="settings", namespace="shop"), data={"COLOR": "red", "SIZE": "9"}),
    ("shop", "odd"): ConfigMap(
        meta=Meta(name="odd", namespace="shop"), data={"A=B": "1", "": "2", "N\0": "3", "GOOD": "yes", "..": "up"}
    ),
    ("shop", "code"): ConfigMap(meta=Meta(name="code", namespace="shop"), data={"app.py": "print(1)"}),
}


def process(facts: PodFacts = FACTS, annotations: dict[str, str] | None = None, **container: Any) -> AppProcess:
    container.setdefault("command", ("serve",))
    container.setdefault("ports", (ContainerPort(port=8080),))
    if annotations:
        facts = replace(facts, pod=replace(facts.pod, meta=replace(facts.pod.meta, annotations=annotations)))
    return app_process(Container(name="c", **container), facts, MAPS, first=True)


def test_the_mesh_says_where_to_listen_and_through_what_to_speak() -> None:
    assert process().variables == {
        "HOST": "127.81.3.7",
        "PORT": "8080",
        "POD_NAME": "web-1",
        "POD_NAMESPACE": "shop",
        "POD_IP": "127.80.3.7",
        "HTTP_PROXY": "http://127.80.3.7:4140",
        "http_proxy": "http://127.80.3.7:4140",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def test_an_unmeshed_pod_has_no_proxy() -> None:
    facts = replace(FACTS, pod=replace(POD, mesh_port=0), app_address=POD.ip)
    variables = process(facts).variables
    assert variables["HOST"] == POD.ip
    assert not {"HTTP_PROXY", "http_proxy"} & variables.keys()


def test_a_port_of_root_is_moved_up() -> None:
    assert (
        process(replace(FACTS, first_unprivileged=1024), ports=(ContainerPort(port=80),)).variables["PORT"] == "20080"
    )
    assert process(ports=(ContainerPort(port=80),)).variables["PORT"] == "80"


def test_without_a_port_of_its_own_a_container_is_told_the_pods() -> None:
    assert process(ports=()).variables["PORT"] == "8080"
    assert "PORT" not in process(replace(FACTS, ports=()), ports=()).variables


def test_a_udp_port_is_not_the_one_to_listen_on() -> None:
    ports = (ContainerPort(port=53, protocol="UDP"), ContainerPort(port=8080))
    assert process(ports=ports).variables["PORT"] == "8080"


def test_the_meshs_place_wins_over_the_manifests_and_the_manifests_proxy_over_the_meshs() -> None:
    env = (EnvVar(name="HOST", value="0.0.0.0"), EnvVar(name="PORT", value="1"), EnvVar(name="NO_PROXY", value="*"))
    variables = process(env=env).variables
    assert (variables["HOST"], variables["PORT"], variables["NO_PROXY"]) == ("127.81.3.7", "8080", "*")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("status.podIP", "127.80.3.7"),
        ("spec.serviceAccountName", "seller"),
        ("metadata.uid", "u1"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "n"),
        ("metadata.labels['none']", ""),
    ],
)
def test_field_refs(path: str, value: str) -> None:
    assert process(env=(EnvVar(name="X", field_path=path),)).variables["X"] == value


def test_config_maps_feed_the_environment_and_env_wins() -> None:
    env = (EnvVar(name="SIZE", value="10"), EnvVar(name="PAINT", config_map=("settings", "COLOR")))
    variables = process(env=env, env_from=("settings",)).variables
    assert (variables["COLOR"], variables["SIZE"], variables["PAINT"]) == ("red", "10", "red")


def test_keys_of_a_config_map_that_are_no_names_of_variables_are_passed_over() -> None:
    variables = process(env_from=("odd",)).variables
    assert variables == {**process().variables, "..": "up", "GOOD": "yes"}


def test_env_values_may_name_what_stands_before_them() -> None:
    env = (
        EnvVar(name="A", value="1"),
        EnvVar(name="B", value="$(A)$(C)-$(HOST)"),
        EnvVar(name="C", value="3"),
    )
    assert process(env=env).variables["B"] == "1$(C)-127.81.3.7"


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"env_from": ("gone",)}, "CreateContainerConfigError"),
        ({"env": (EnvVar(name="X", config_map=("settings", "gone")),)}, "CreateContainerConfigError"),
        ({"env": (EnvVar(name="X", field_path="spec.nothing"),)}, "CreateContainerConfigError"),
        ({"env": (EnvVar(name="A=B", value="1"),)}, "CreateContainerConfigError"),
        ({"env": (EnvVar(name="", value="1"),)}, "CreateContainerConfigError"),
        ({"config_mounts": (("/app", "gone"),)}, "CreateContainerConfigError"),
        ({"config_mounts": (("/app", "odd"),)}, "CreateContainerConfigError"),
        ({"command": (), "args": ("only",)}, "NoCommand"),
    ],
)
def test_what_keeps_a_container_from_starting(container: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotStartable) as caught:
        process(**container)
    assert caught.value.reason == reason


def test_command_and_args_are_expanded() -> None:
    argv = process(command=("serve", "--on=$(HOST):$(PORT)"), args=("$(NONE)", "$$(HOST)", "$HOST")).argv
    assert argv == ("serve", "--on=127.81.3.7:8080", "$(NONE)", "$(HOST)", "$HOST")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(", "$("), ("$()", "$()"), ("a$b$(A)$", "a$b1$")],
)
def test_expansion_is_kubernetes_own(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_the_annotation_says_what_to_run_instead() -> None:
    line = process(annotations={"local.smi-mesh.io/command": "python3 app.py $(PORT) | tee x"}).argv
    assert line == ("/bin/sh", "-c", "python3 app.py 8080 | tee x")
    listed = process(command=(), annotations={"local.smi-mesh.io/command": '["python3", "-c", "print(1)"]'}).argv
    assert listed == ("python3", "-c", "print(1)")


def test_an_annotation_that_is_half_a_list_is_refused() -> None:
    with pytest.raises(NotStartable, match="neither a command line nor a JSON list") as caught:
        process(annotations={"local.smi-mesh.io/command": '["python3", 1]'})
    assert caught.value.reason == "NoCommand"


def test_has_command() -> None:
    bare = Container(name="c", image="nginx", args=("x",))
    annotated = {"local.smi-mesh.io/command": "x"}
    assert not has_command(bare, {}, True)
    assert has_command(bare, annotated, True)
    assert not has_command(bare, annotated, False)
    assert has_command(Container(name="c", command=("x",)), {}, False)


def test_mounted_config_maps_become_files_and_the_command_finds_them() -> None:
    made = process(command=("python3", "/app/app.py"), args=("--dir=/app",), config_mounts=(("/app", "code"),))
    assert made.argv == ("python3", "/state/files/c/app/app.py", "--dir=/state/files/c/app")
    assert made.files == {"c/app/app.py": "print(1)"}


def test_single_files_of_a_config_map_become_files_too() -> None:
    made = process(args=("/etc/x/sub/run.py",), config_files=(("/etc/x/sub/run.py", "code", "app.py"),))
    assert made.argv[-1] == "/state/files/c/etc/x/sub/run.py"
    assert made.files == {"c/etc/x/sub/run.py": "print(1)"}


def test_a_key_that_is_not_there_keeps_the_container_from_starting() -> None:
    with pytest.raises(NotStartable, match='no key "gone"'):
        process(config_files=(("/etc/x", "code", "gone"),))


def test_a_mount_path_cannot_lead_out_of_the_pods_folder() -> None:
    made = process(config_mounts=(("/../../etc", "code"),))
    assert list(made.files) == ["c/etc/app.py"]


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("/app", "/new"),
        ("/app/x", "/new/x"),
        ("--file=/app/x:/app", "--file=/new/x:/new"),
        ("cat '/app/x' /app.", "cat '/new/x' /new."),
        ("file:///app/x", "file:///new/x"),
        ("/application", "/application"),
        ("/app-2", "/app-2"),
        ("/app.d", "/app.d"),
        ("/srv/app", "/srv/app"),
        ("./app", "./app"),
    ],
)
def test_only_whole_paths_are_rewritten(text: str, moved: str) -> None:
    assert relocate(text, {"/app": "/new"}) == moved


def test_the_longest_mount_path_wins() -> None:
    assert relocate("/etc/app/x /etc/y", {"/etc": "/A", "/etc/app": "/B"}) == "/B/x /A/y"


def test_the_users_own_proxies_are_not_inherited() -> None:
    assert inherited({"PATH": "/bin", "ALL_PROXY": "x", "https_proxy": "y", "HTTP_PROXY": "z"}) == {"PATH": "/bin"}


def test_an_optional_key_that_is_missing_sets_nothing() -> None:
    wanted = EnvVar(name="A", config_map=("code", "gone"), optional=True)
    nowhere = EnvVar(name="B", config_map=("gone", "x"), optional=True)
    assert not {"A", "B"} & process(env=(wanted, nowhere)).variables.keys()
