"""The ``status`` of an SMI object: what its author is told in conditions. Pure.

``Accepted``, ``ResolvedRefs``, ``Conflicted`` and ``Programmed`` are Gateway API's words with its meaning; ``Ready``,
``Reconciling`` and ``Stalled`` are kstatus' (sigs.k8s.io/cli-utils), by which Flux and Argo CD judge: only what
somebody has to mend is stalled, while a reference to what is not there yet is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from translator.findings import Finding, Reason
from translator.kube.status.progress import SHOWN, Count

Status = Mapping[str, Any]

MOST: Final = 1000
"""Characters of a message."""

REFUSES: Final = frozenset(
    {
        Reason.ROOT_IN_OTHER_NAMESPACE,
        Reason.DESTINATION_IN_OTHER_NAMESPACE,
        Reason.NO_DESTINATION,
        Reason.UNSUPPORTED_PROTOCOL,
    }
)
"""The whole object is ignored."""

UNRESOLVED: Final = frozenset(
    {
        Reason.SERVICE_NOT_FOUND,
        Reason.EXTERNAL_NAME,
        Reason.PORT_NOT_FOUND,
        Reason.ROUTE_NOT_FOUND,
        Reason.BINDING_NOT_FOUND,
        Reason.UNSUPPORTED_KIND,
        Reason.FOREIGN_TRUST_DOMAIN,
    }
)
"""It names something that is not there, or is not of use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of one object, at ``generation``.

    ``problems`` are why it cannot be read (then its last good state, if there was one, stays in force). ``count`` is
    of the sidecars it concerns, None where that is not known now.
    """

    uid: str
    generation: int
    summary: str
    problems: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry, without the fields that say when."""

    type: str
    status: bool | None
    reason: str
    message: str


def status_of(standing: Standing, before: Status, now: str) -> dict[str, Any]:
    """The whole ``status``; what has not changed since ``before`` keeps its time, all else is of ``now``."""
    old = {one["type"]: one for one in _conditions_of(before) if isinstance(one.get("type"), str)}
    return {
        "observedGeneration": standing.generation,
        "summary": standing.summary,
        "conditions": [_written(one, standing.generation, old.get(one.type), now) for one in conditions(standing)],
    }


def _conditions_of(before: Status) -> list[Mapping[str, Any]]:
    """Whoever may write the status may have written anything."""
    found = before.get("conditions")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def conditions(standing: Standing) -> list[Condition]:
    """What holds, in the order in which it is read."""
    accepted, resolved = _accepted(standing), _resolved(standing.findings)
    conflicted, programmed = _conflicted(standing.findings), _programmed(standing)
    refused = programmed.reason == "Rejected"
    stalled = next(
        (one for one, stalls in ((accepted, accepted.status is False), (conflicted, conflicted.status is True),
                                 (programmed, refused)) if stalls),
        None,
    )  # fmt: skip
    waits = next((one for one in (resolved, programmed) if one.status is not True), None)
    because = stalled or waits
    return [
        accepted,
        resolved,
        conflicted,
        programmed,
        Condition("Ready", because is None, because.reason if because else "Ready", because.message if because else ""),
        _kstatus("Reconciling", waits if stalled is None else None),
        _kstatus("Stalled", stalled),
    ]


def _accepted(standing: Standing) -> Condition:
    if standing.problems:
        return Condition("Accepted", False, "Invalid", _text(standing.problems))
    refusing = [one for one in standing.findings if one.reason in REFUSES]
    if refusing:
        return Condition("Accepted", False, refusing[0].reason, _messages(refusing))
    others = [
        one for one in standing.findings if one.reason not in UNRESOLVED and one.reason is not Reason.CONFLICTED
    ]  # fmt: skip
    if others:
        return Condition("Accepted", True, others[0].reason, _messages(others))
    return Condition("Accepted", True, "Accepted", "")


def _resolved(findings: Iterable[Finding]) -> Condition:
    missing = [one for one in findings if one.reason in UNRESOLVED]
    if missing:
        return Condition("ResolvedRefs", False, missing[0].reason, _messages(missing))
    return Condition("ResolvedRefs", True, "ResolvedRefs", "")


def _conflicted(findings: Iterable[Finding]) -> Condition:
    conflicts = [one for one in findings if one.reason is Reason.CONFLICTED]
    if conflicts:
        return Condition("Conflicted", True, Reason.CONFLICTED, _messages(conflicts))
    return Condition("Conflicted", False, "NoConflicts", "")


def _programmed(standing: Standing) -> Condition:
    """True when every sidecar that it concerns has acknowledged this very generation."""
    count = standing.count
    if standing.problems:
        return Condition("Programmed", False, "Invalid", "it cannot be read; what it said before stays in force")
    if any(one.reason in REFUSES or one.reason is Reason.CONFLICTED for one in standing.findings):
        return Condition("Programmed", False, "Ignored", "it is not in force")
    if count is None:
        return Condition("Programmed", None, "Unknown", "not every controller could be asked")
    if not count.concerned:
        return Condition("Programmed", True, "NoSidecars", "it concerns no sidecar now")
    done = count.versions.get((standing.uid, standing.generation), 0)
    message = f"{done} of {count.concerned} sidecars run on it"
    if done >= count.concerned:
        return Condition("Programmed", True, "Programmed", message)
    if count.refused:
        return Condition(
            "Programmed", False, "Rejected", _text((message, *(f"{pod}: {why}" for pod, why in count.refused)))
        )
    named = ", ".join(count.waiting[:SHOWN])
    return Condition("Programmed", False, "Pending", f"{message}; waiting for {named}" if named else message)


def _kstatus(kind: str, because: Condition | None) -> Condition:
    if because is None:
        return Condition(kind, False, "Settled", "")
    return Condition(kind, True, because.reason, because.message)


def _messages(findings: Iterable[Finding]) -> str:
    return _text(one.message for one in findings)


def _text(parts: Iterable[str]) -> str:
    text = "; ".join(dict.fromkeys(parts))
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _written(one: Condition, generation: int, old: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    said = "Unknown" if one.status is None else str(one.status)
    since = old.get("lastTransitionTime") if old is not None and old.get("status") == said else None
    since = since if isinstance(since, str) else None
    return {
        "type": one.type,
        "status": said,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
        "reason": str(one.reason),
        "message": one.message,
    }
