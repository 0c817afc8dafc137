"""What is said once, what again, and by which name."""

from __future__ import annotations

from translator.kube.status.events import REPEAT_SECONDS, Remark, Said, event_of, path_of

MISSING = Remark(
    api_version="split.smi-spec.io/v1alpha4",
    kind="TrafficSplit",
    namespace="shop",
    name="web",
    uid="u",
    reason="ServiceNotFound",
    note="service: Service shop/nowhere does not exist",
)


def test_a_remark_is_said_once_until_it_is_old_or_comes_back() -> None:
    said = Said()
    assert said.news([MISSING], 0.0) == [MISSING]
    assert said.news([MISSING], 1.0) == [MISSING], "nobody has been told yet"
    said.told(MISSING, 1.0)
    assert said.news([MISSING, MISSING], 2.0) == []
    assert said.news([MISSING], 1.0 + REPEAT_SECONDS) == [MISSING]
    said.told(MISSING, 3.0)
    assert said.news([], 4.0) == []
    assert said.news([MISSING], 5.0) == [MISSING]


def test_golden() -> None:
    event = event_of(MISSING, "smi-mesh-controller-x", "2026-05-01T10:00:00.000000Z")
    name = event["metadata"].pop("name")
    assert name.startswith("web.")
    assert path_of(event) == "/apis/events.k8s.io/v1/namespaces/shop/events"
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "eventTime": "2026-05-01T10:00:00.000000Z",
        "type": "Warning",
        "reason": "ServiceNotFound",
        "note": "service: Service shop/nowhere does not exist",
        "action": "Compile",
        "reportingController": "smi-mesh.io/controller",
        "reportingInstance": "smi-mesh-controller-x",
        "regarding": {
            "apiVersion": "split.smi-spec.io/v1alpha4",
            "kind": "TrafficSplit",
            "name": "web",
            "namespace": "shop",
            "uid": "u",
        },
    }


def test_another_controller_gives_it_the_same_name_within_the_hour() -> None:
    first = event_of(MISSING, "one", "2026-05-01T10:00:00.000000Z")["metadata"]["name"]
    assert event_of(MISSING, "two", "2026-05-01T10:59:59.000000Z")["metadata"]["name"] == first
    assert event_of(MISSING, "two", "2026-05-01T11:00:00.000000Z")["metadata"]["name"] != first


def test_what_is_of_the_whole_cluster_is_said_in_the_default_namespace() -> None:
    remark = Remark(api_version="v1", kind="Namespace", namespace="", name="shop", uid="n", reason="R", note="")
    event = event_of(remark, "", "2026-05-01T10:00:00.000000Z")
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["regarding"]
