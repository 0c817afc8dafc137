"""What the author of an SMI object is told, case by case."""

from __future__ import annotations

import pytest

from translator.findings import Finding, Reason
from translator.kube.status.conditions import Standing, status_of
from translator.kube.status.progress import Count

NOW, EARLIER = "2026-05-01T10:00:00Z", "2026-05-01T09:00:00Z"


def finding(reason: Reason) -> Finding:
    return Finding(kind="TrafficSplit", namespace="shop", name="web", reason=reason, message=f"because of {reason}")


def count(done: int, of: int, *, generation: int = 3, refused: bool = False) -> Count:
    left = [f"shop/web-{number}" for number in range(of - done)]
    return Count(
        concerned=of,
        versions={("u", generation): done},
        waiting=[] if refused else left,
        refused=[(pod, "no such cluster") for pod in left] if refused else [],
    )


def standing(
    *reasons: Reason, problems: tuple[str, ...] = (), counted: Count | None = None, known: bool = True
) -> Standing:
    return Standing(
        uid="u",
        generation=3,
        summary="v1=1",
        problems=problems,
        findings=tuple(map(finding, reasons)),
        count=(counted or count(2, 2)) if known else None,
    )


def told(one: Standing) -> dict[str, str]:
    """Which conditions are not as in the best case, with their reasons."""
    best = {
        "Accepted": "True",
        "ResolvedRefs": "True",
        "Conflicted": "False",
        "Programmed": "True",
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
    }
    found = {entry["type"]: entry for entry in status_of(one, {}, NOW)["conditions"]}
    assert list(found) == list(best)
    return {
        kind: f"{entry['status']} {entry['reason']}" for kind, entry in found.items() if entry["status"] != best[kind]
    }


CASES = {
    "all is well": (standing(), {}),
    "nobody is concerned": (standing(counted=Count()), {}),
    "a Service that is not there yet is waited for": (
        standing(Reason.SERVICE_NOT_FOUND),
        {
            "ResolvedRefs": "False ServiceNotFound",
            "Ready": "False ServiceNotFound",
            "Reconciling": "True ServiceNotFound",
        },
    ),
    "a second split of one root has to be mended": (
        standing(Reason.CONFLICTED),
        {
            "Conflicted": "True Conflicted",
            "Programmed": "False Ignored",
            "Ready": "False Conflicted",
            "Stalled": "True Conflicted",
        },
    ),
    "what cannot be read": (
        standing(problems=("spec.matches[0].pathRegex: no RE2",)),
        {
            "Accepted": "False Invalid",
            "Programmed": "False Invalid",
            "Ready": "False Invalid",
            "Stalled": "True Invalid",
        },
    ),
    "a destination elsewhere": (
        standing(Reason.DESTINATION_IN_OTHER_NAMESPACE),
        {
            "Accepted": "False DestinationInOtherNamespace",
            "Programmed": "False Ignored",
            "Ready": "False DestinationInOtherNamespace",
            "Stalled": "True DestinationInOtherNamespace",
        },
    ),
    "a sidecar is missing": (
        standing(counted=count(1, 2)),
        {"Programmed": "False Pending", "Ready": "False Pending", "Reconciling": "True Pending"},
    ),
    "sidecars run on an older generation": (
        standing(counted=count(2, 2, generation=2)),
        {"Programmed": "False Pending", "Ready": "False Pending", "Reconciling": "True Pending"},
    ),
    "a sidecar refuses": (
        standing(counted=count(1, 2, refused=True)),
        {"Programmed": "False Rejected", "Ready": "False Rejected", "Stalled": "True Rejected"},
    ),
    "a controller does not answer": (
        standing(known=False),
        {"Programmed": "Unknown Unknown", "Ready": "False Unknown", "Reconciling": "True Unknown"},
    ),
}


@pytest.mark.parametrize(("one", "expected"), CASES.values(), ids=CASES)
def test_golden(one: Standing, expected: dict[str, str]) -> None:
    assert told(one) == expected


@pytest.mark.parametrize("reason", [Reason.WEIGHTS_ZERO, Reason.GRANTS_NOTHING])
def test_what_is_meant_is_accepted_and_said(reason: Reason) -> None:
    accepted = status_of(standing(reason), {}, NOW)["conditions"][0]
    assert (accepted["status"], accepted["reason"]) == ("True", reason.value)
    assert accepted["message"] == f"because of {reason}"


def test_every_reason_is_told_somewhere() -> None:
    for reason in Reason:
        assert reason.value in str(status_of(standing(reason), {}, NOW)["conditions"])


def test_only_what_changed_has_a_new_time() -> None:
    before = status_of(standing(counted=count(1, 2)), {}, EARLIER)
    after = {entry["type"]: entry["lastTransitionTime"] for entry in status_of(standing(), before, NOW)["conditions"]}
    assert {kind for kind, at in after.items() if at == NOW} == {"Programmed", "Ready", "Reconciling"}
    assert status_of(standing(counted=count(1, 2)), before, NOW) == before


def test_a_long_message_is_cut() -> None:
    one = standing(problems=tuple(f"field {number}: wrong" for number in range(200)))
    assert len(status_of(one, {}, NOW)["conditions"][0]["message"]) == 1000


@pytest.mark.parametrize("old", [{"conditions": None}, {"conditions": ["nonsense"]}, {"conditions": [{}]}])
def test_a_status_that_others_spoilt_is_written_anew(old: dict[str, object]) -> None:
    assert status_of(standing(), old, NOW) == status_of(standing(), {}, NOW)
