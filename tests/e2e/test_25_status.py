"""What the cluster is told of its SMI objects, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cluster import DEMOS, Place, eventually, got, kubectl, place, run

pytestmark = pytest.mark.usefixtures("mesh")

SPLIT, ACCESS, SPECS = "split.smi-spec.io/v1alpha4", "access.smi-spec.io/v1alpha3", "specs.smi-spec.io/v1alpha4"


@pytest.fixture(scope="module")
def shop() -> Iterator[Place]:
    with place("e2e-status") as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        where.settled()
        yield where


def smi_object(api_version: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def split(name: str, root: str, **weights: int) -> dict[str, Any]:
    backends = [{"service": leaf.replace("_", "-"), "weight": weight} for leaf, weight in weights.items()]
    return smi_object(SPLIT, "TrafficSplit", name, service=root, backends=backends)


def conditions(where: Place, kind: str, name: str) -> dict[str, tuple[str, str]]:
    """Status and reason by type, once the object's generation has been looked at."""
    found: dict[str, Any] = {}

    def observed() -> bool:
        found.update(where.got(kind, name))
        seen = found.get("status", {}).get("observedGeneration")
        return bool(seen == found["metadata"]["generation"])

    eventually(f"{kind} {name} has a status", observed)
    return {one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]}


def reasons(where: Place, name: str) -> set[str]:
    """Of the Events on an object."""
    events = where.got("events", "--field-selector", f"involvedObject.name={name}")["items"]
    return {event["reason"] for event in events}


def test_a_split_is_programmed_when_every_sidecar_has_it(shop: Place) -> None:
    shop.python("deploy/client", "ask", "http://myweb-service/", "10", "GET", "{}")
    shop.kubectl(
        "patch",
        "trafficsplit/myweb-split",
        "--type=json",
        "-p",
        '[{"op": "replace", "path": "/spec/backends/0/weight", "value": "800m"}]',
    )
    shop.kubectl("wait", "trafficsplit/myweb-split", "--for=condition=Programmed", "--timeout=30s")
    assert conditions(shop, "trafficsplit", "myweb-split")["Programmed"] == ("True", "Programmed")
    row = shop.kubectl("get", "trafficsplits", "myweb-split", "--no-headers").split()
    assert row[:5] == [
        "myweb-split",
        "myweb-service",
        "myweb-service-v1=800m",
        "myweb-service-v2=100m",
        "True",
    ]


WRONG: dict[str, tuple[dict[str, Any], dict[str, tuple[str, str]], str]] = {
    "a root that is not there": (
        split("no-root", "nowhere", nothing=1),
        {"ResolvedRefs": ("False", "ServiceNotFound"), "Stalled": ("False", "Settled")},
        "ServiceNotFound",
    ),
    "a second split of a root": (
        split("second", "myweb-service", myweb_service_v1=1),
        {"Conflicted": ("True", "Conflicted"), "Programmed": ("False", "Ignored")},
        "Conflicted",
    ),
    "weights that are all 0": (
        split("zero", "myweb-service-v2", myweb_service_v1=0),
        {"Accepted": ("True", "WeightsZero")},
        "WeightsZero",
    ),
    "a target whose route is not there": (
        smi_object(
            ACCESS,
            "TrafficTarget",
            "no-route",
            destination={"kind": "ServiceAccount", "name": "nobody"},
            sources=[{"kind": "ServiceAccount", "name": "default"}],
            rules=[{"kind": "HTTPRouteGroup", "name": "missing"}],
        ),
        {"ResolvedRefs": ("False", "RouteNotFound"), "Accepted": ("True", "GrantsNothing")},
        "RouteNotFound",
    ),
    "an expression that is none": (
        smi_object(SPECS, "HTTPRouteGroup", "no-regex", matches=[{"name": "m", "pathRegex": "(("}]),
        {"Accepted": ("False", "Invalid"), "Stalled": ("True", "Invalid")},
        "Invalid",
    ),
}


@pytest.mark.parametrize(("wrong", "told", "event"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_and_breaks_nothing_else(
    shop: Place, wrong: dict[str, Any], told: dict[str, tuple[str, str]], event: str
) -> None:
    shop.apply(wrong)
    kind, name = wrong["kind"].lower(), wrong["metadata"]["name"]
    try:
        found = conditions(shop, kind, name)
        assert {condition: found[condition] for condition in told} == told
        eventually(f"an Event {event}", lambda: event in reasons(shop, name))
        answers = shop.python("deploy/client", "ask", "http://myweb-service/", "9", "GET", "{}")
        assert answers == {"Version 1": 8, "Version 2": 1}
    finally:
        shop.kubectl("delete", kind, name)


def test_a_wrong_annotation_is_an_event_or_refused(shop: Place) -> None:
    shop.kubectl("annotate", "service/myweb-service", "retry.smi-mesh.io/on=sometimes")
    eventually("an Event on the Service", lambda: "InvalidAnnotation" in reasons(shop, "myweb-service"))
    shop.kubectl("annotate", "service/myweb-service", "retry.smi-mesh.io/on-")
    refused = run("kubectl", "annotate", "namespace", shop.name, "smi-mesh.io/default-policy=perhaps")
    assert refused.returncode == 1
    assert "smi-mesh.io/default-policy" in refused.stderr


def pod(name: str, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "annotations": {"smi-mesh.io/inject": "enabled"}}
    container = {
        "name": "c",
        "image": "localhost/python:slim",
        "command": ["sleep", "600"],
        **spec.pop("container", {}),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **spec}}


def test_a_container_that_runs_as_the_sidecars_user_is_refused(shop: Place) -> None:
    wanted = pod("as-sidecar", container={"securityContext": {"runAsUser": 2102}})
    refused = run("kubectl", "-n", shop.name, "apply", "-f", "-", text=yaml.safe_dump(wanted))
    assert refused.returncode == 1
    assert "2102" in refused.stderr


def test_a_pod_without_a_token_of_its_account_is_meshed_all_the_same(shop: Place) -> None:
    shop.apply(pod("no-token", automountServiceAccountToken=False, terminationGracePeriodSeconds=1))
    shop.kubectl("wait", "pod/no-token", "--for=condition=Ready", "--timeout=60s")
    answers = shop.python("pod/no-token", "ask", "http://myweb-service-v1/", "5", "GET", "{}")
    assert answers == {"Version 1": 5}
    shop.kubectl("delete", "pod/no-token", "--wait=false")


def test_an_unmeshed_caller_is_denied_and_a_port_that_lies_breaks_nothing(shop: Place) -> None:
    bare = pod("bare", terminationGracePeriodSeconds=1)
    bare["metadata"]["annotations"] = {"smi-mesh.io/inject": "disabled"}
    shop.apply(bare)
    shop.kubectl("wait", "pod/bare", "--for=condition=Ready", "--timeout=60s")
    assert shop.python("pod/bare", "ask", "http://myweb-service-v1/", "5", "GET", "{}") == {"403 no-identity": 5}
    address = shop.got("service", "myweb-service-v1")["spec"]["clusterIP"]
    script = (
        f"import socket; s = socket.create_connection(('{address}', 80)); "
        "s.sendall(b'SSH-2.0-x' + bytes((13, 10))); print(s.recv(99))"
    )
    said = shop.exec("deploy/client", "python3", "-c", script)
    assert "HTTP/1.1 4" in said
    assert shop.python("deploy/client", "ask", "http://myweb-service-v1/", "5", "GET", "{}") == {"Version 1": 5}
    shop.kubectl("delete", "pod/bare", "--wait=false")


def test_nothing_is_written_into_a_spec_and_a_diff_is_clean_at_every_version(shop: Place) -> None:
    for version in ("v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"):
        wanted = split(f"at-{version}", "nowhere", a=1, b=2) | {"apiVersion": f"split.smi-spec.io/{version}"}
        text = yaml.safe_dump(wanted)
        shop.kubectl("apply", "-f", "-", text=text)
        conditions(shop, "trafficsplit", f"at-{version}")
        different = run("kubectl", "-n", shop.name, "diff", "-f", "-", text=text)
        assert (different.returncode, different.stdout) == (0, ""), version
        kept = got("-n", shop.name, f"trafficsplits.{version}.split.smi-spec.io", f"at-{version}")
        assert kept["spec"] == wanted["spec"]
        shown = shop.got("trafficsplit", f"at-{version}", "--show-managed-fields")["metadata"]["managedFields"]
        ours = [entry for entry in shown if entry["manager"] == "smi-mesh-controller"]
        assert [(entry["operation"], entry["subresource"]) for entry in ours] == [("Apply", "status")]
    kubectl("-n", shop.name, "delete", "trafficsplits", *(f"at-v1alpha{number}" for number in range(1, 5)))
