"""``smi inject`` and ``smi uninject``: who gets the annotation, what stays as it is, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from translator.cli import main

DEPLOYMENT = """\
# the shop's front
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    metadata:
      labels: {app: web}   # as the Service has it
    spec:
      containers:
        - name: web
          image: 'web:1'
"""
INJECTED = DEPLOYMENT.replace(
    "    metadata:\n", "    metadata:\n      annotations:\n        smi-mesh.io/inject: enabled\n"
)
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"


def run(verb: str, *arguments: object, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, [verb, *map(str, arguments)], input=stdin)


def workload(api: str, kind: str, **spec: Any) -> dict[str, Any]:
    pod = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}], **spec}}
    whole: dict[str, Any] = {"apiVersion": api, "kind": kind, "metadata": {"name": "x"}}
    match kind:
        case "Pod":
            return {**whole, "metadata": {"name": "x"}, "spec": pod["spec"]}
        case "Namespace":
            return whole
        case "CronJob":
            return {**whole, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod}}}}
        case _:
            return {**whole, "spec": {"template": pod}}


def test_only_lines_are_added_and_taken_out_again() -> None:
    done = run("inject", stdin=f"{DEPLOYMENT}---\n{SERVICE}")
    assert (done.exit_code, done.stdout) == (0, f"{INJECTED}---\n{SERVICE}")
    assert done.stderr.splitlines() == ['deployment "web" injected', 'service "web" skipped']

    back = run("uninject", "-", stdin=done.stdout)
    assert (back.exit_code, back.stdout) == (0, f"{DEPLOYMENT}---\n{SERVICE}")
    assert back.stderr.splitlines() == ['deployment "web" uninjected', 'service "web" skipped']


@pytest.mark.parametrize(
    ("api", "kind", "way"),
    [
        ("apps/v1", "Deployment", "spec template"),
        ("apps/v1", "StatefulSet", "spec template"),
        ("apps/v1", "DaemonSet", "spec template"),
        ("apps/v1", "ReplicaSet", "spec template"),
        ("v1", "ReplicationController", "spec template"),
        ("batch/v1", "Job", "spec template"),
        ("batch/v1", "CronJob", "spec jobTemplate spec template"),
        ("v1", "Pod", ""),
        ("v1", "Namespace", ""),
    ],
)
@pytest.mark.parametrize("flow", [False, True])
def test_what_makes_pods_is_annotated_where_its_pods_have_it_from(api: str, kind: str, way: str, flow: bool) -> None:
    before = workload(api, kind)
    text = yaml.safe_dump(before, sort_keys=False, default_flow_style=flow)

    done = run("inject", stdin=text)

    (after,) = yaml.safe_load_all(done.stdout)
    at = after
    for step in way.split():
        at = at[step]
    assert at["metadata"].pop("annotations") == {"smi-mesh.io/inject": "enabled"}
    assert after == before
    assert done.stderr == f'{kind.lower()} "x" injected\n'
    assert run("uninject", stdin=done.stdout).stdout == text


def test_a_list_is_gone_through() -> None:
    items = [workload("apps/v1", "Deployment"), yaml.safe_load(SERVICE), workload("v1", "Pod")]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}, sort_keys=False)
    done = run("inject", stdin=text)
    assert done.stderr.splitlines() == ['deployment "x" injected', 'service "web" skipped', 'pod "x" injected']
    assert done.stdout.count("smi-mesh.io/inject: enabled") == 2
    assert run("uninject", stdin=done.stdout).stdout == text


def with_annotations(**annotations: str) -> str:
    thing = workload("apps/v1", "Deployment")
    names = {"ours": "smi-mesh.io/inject", "alias": "linkerd.io/inject"}
    thing["spec"]["template"]["metadata"]["annotations"] = {
        names.get(name, name): value for name, value in annotations.items()
    }
    return yaml.safe_dump(thing, sort_keys=False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_annotations(ours="enabled"), "it says enabled already"),
        (with_annotations(ours="disabled", alias="enabled"), "it says disabled itself"),
        (with_annotations(alias="disabled"), "it says disabled itself"),
        (yaml.safe_dump(workload("apps/v1", "Deployment", hostNetwork=True)), "hostNetwork"),
        (
            yaml.safe_dump(workload("apps/v1", "Deployment", securityContext={"runAsUser": 2102})),
            "runs as uid 2102",
        ),
        (
            yaml.safe_dump(workload("apps/v1", "Deployment", initContainers=[{"name": "smi-mesh-proxy"}])),
            "it has a sidecar already",
        ),
        (DEPLOYMENT.replace("name: web\n", "name: x\n  namespace: kube-system\n", 1), "pods of kube-system never"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: smi-mesh}\n", "pods of smi-mesh never"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", "there is no pod in it"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [x]}\n", "its pod is not understood"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {annotations: 1}\n", "its metadata is not understood"),
    ],
)
def test_what_is_skipped_is_said_why_and_stays_to_the_letter(text: str, why: str) -> None:
    done = run("inject", stdin=text)
    assert (done.exit_code, done.stdout) == (0, text)
    assert " skipped: " in done.stderr
    assert why in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        SERVICE,
        "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {}}}\n",
        "apiVersion: split.smi-spec.io/v9\nkind: TrafficSplit\nmetadata: {name: x}\n",
        "resources: [a.yaml]  # of kustomize\n",
    ],
)
@pytest.mark.parametrize("verb", ["inject", "uninject"])
def test_other_kinds_pass_through(text: str, verb: str) -> None:
    done = run(verb, stdin=text)
    assert (done.exit_code, done.stdout) == (0, text)
    assert "skipped" in done.stderr


def test_a_value_that_means_nothing_is_replaced() -> None:
    done = run("inject", stdin=with_annotations(ours="yes", other="x"))
    assert yaml.safe_load(done.stdout) == yaml.safe_load(with_annotations(ours="enabled", other="x"))


def test_uninject_takes_the_alias_too_and_leaves_others_and_a_no() -> None:
    done = run("uninject", stdin=with_annotations(alias="enabled", other="x", ours="enabled"))
    assert done.stdout == with_annotations(other="x")
    for text in (with_annotations(ours="disabled"), with_annotations(alias="disabled"), with_annotations()):
        done = run("uninject", stdin=text)
        assert (done.stdout, done.stderr) == (text, 'deployment "x" skipped\n')


def test_files_and_folders_become_one_stream(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.yaml").write_text(SERVICE.rstrip("\n"))
    (tmp_path / "a.yaml").write_text(DEPLOYMENT)
    done = run("inject", tmp_path / "folder", tmp_path / "a.yaml", tmp_path)
    assert done.stdout == f"{SERVICE}---\n{INJECTED}"
    assert run("inject", tmp_path).stdout == f"{INJECTED}---\n{SERVICE}"


def test_anything_wrong_means_nothing_printed_and_exit_code_1(tmp_path: Path) -> None:
    for name, text in (
        ("good", DEPLOYMENT),
        ("bad", "a: b\n c: d\n"),
        ("empty", "# nothing\n"),
        ("plain", "- a\n"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    done = run("inject", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{tmp_path}/{place}" for place in ("bad.yaml:2", "empty.yaml:1", "plain.yaml:1")
    ]
    assert "must be an object" in lines[-1]


def test_what_an_alias_repeats_is_told_apart() -> None:
    text = """\
apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a}
    spec: &spec  # of both
      template: {metadata: {labels: {x: y}}, spec: {containers: []}}
  - apiVersion: example.org/v1
    kind: Other
    metadata: {name: b}
    spec: *spec
"""
    done = run("inject", stdin=text)
    assert done.stderr.splitlines() == [
        "stdin: comments could not be kept",
        'deployment "a" injected',
        'other "b" skipped',
    ]
    mine, other = yaml.safe_load(done.stdout)["items"]
    assert mine["spec"]["template"]["metadata"].pop("annotations") == {"smi-mesh.io/inject": "enabled"}
    assert mine["spec"] == other["spec"]
    both = text.replace("example.org/v1", "apps/v1").replace("Other", "Deployment")
    done = run("inject", stdin=both)
    assert "# of both" in done.stdout
    assert run("uninject", stdin=done.stdout).stdout == both


JUNK = st.recursive(
    st.sampled_from([None, True, 1, "x", "enabled", "disabled"]),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "annotations", "spec", "template", "containers", "items", "smi-mesh.io/inject", "name"]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=15,
)
HEADS = st.sampled_from([("v1", "Pod"), ("v1", "Namespace"), ("apps/v1", "Deployment"), ("v1", "List")])


@settings(deadline=None, max_examples=300)
@given(HEADS, st.dictionaries(st.sampled_from(["metadata", "spec", "items"]), JUNK, max_size=3))
def test_whatever_is_in_a_file_nothing_but_the_annotation_changes(head: tuple[str, str], rest: dict[str, Any]) -> None:
    text = yaml.safe_dump({"apiVersion": head[0], "kind": head[1], **rest}, sort_keys=False)
    for verb in ("inject", "uninject"):
        done = run(verb, stdin=text)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        if done.exit_code == 0:
            again = run(verb, stdin=done.stdout)
            assert again.stdout == done.stdout
            assert "jected" not in again.stderr
