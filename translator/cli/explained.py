"""An explanation as lines for people; ``translator.explain.answer`` has the data."""

from __future__ import annotations

from collections.abc import Iterator

from translator.cli.columns import table
from translator.explain.answer import Answer, Backend, Calls, Destination, Explanation, Retry, Server, Split, Target

YES, NO, UNASKED = "√", "×", "-"
MOST_PODS = 3
"""Pods of one kind named in a line."""


def as_text(told: Explanation) -> list[str]:
    """Top to bottom as a request goes."""
    who = told.caller.identity or "no identity"
    lines = [f"{told.method} {told.url}", f"from {told.caller.pod} ({who})", ""]
    if told.destination is not None:
        lines += [_destination(told.destination, told.answer), ""]
    lines += _section("splits", [_split(split) for split in told.splits])
    lines += _section("backends", [_backend(backend) for backend in told.backends])
    lines += _section("calls", list(_calls(told.calls)) if told.calls is not None else [])
    for server in told.servers:
        lines += _server(server)
    lines += [f"answer: {answer(told.answer)}", *(f"note: {note}" for note in told.notes)]
    return lines


def answer(said: Answer) -> str:
    """What the client is told, in one line."""
    if said.allowed:
        return f"let in by audit mode alone; otherwise {said.would_be}" if said.would_be else "the application's own"
    if said.allowed is None:
        return said.detail or "not known"
    waited = f", after {said.after:g} s" if said.after else ""
    return f"{said.status} {said.reason}: {said.detail} (by the {said.by}'s sidecar{waited})"


def _section(title: str, rows: list[tuple[str, ...]]) -> list[str]:
    return [title, *(f"  {line}" for line in table(rows)), ""] if rows else []


def _destination(destination: Destination, answer: Answer) -> str:
    if destination.service or destination.pod:
        meant = f"Service {destination.service}" if destination.service else f"pod {destination.pod}"
        return f"{destination.authority} means {meant}, port {destination.port}"
    why = f": {answer.detail}" if answer.detail else ""
    return f"{destination.authority} leads to no Service and no pod of this mesh at port {destination.port}{why}"


def _split(split: Split) -> tuple[str, ...]:
    return (YES if split.applies else NO if split.asked else UNASKED, split.split, split.why)


def _backend(backend: Backend) -> tuple[str, ...]:
    if not backend.share:
        return (NO, backend.service, "0 %", "", backend.why)
    pods = f"{len(backend.endpoints)} ready" if backend.endpoints else ""
    how = [backend.algorithm]
    if backend.chosen:
        how.append(f"chooses {backend.chosen}")
    if backend.ejects_after:
        how.append(f"breaker after {backend.ejects_after} failures in a row")
    return (YES, backend.service, f"{backend.share * 100:.4g} %", pods, ", ".join(how))


def _calls(calls: Calls) -> Iterator[tuple[str, ...]]:
    if calls.retry is not None:
        yield from _retry(calls.retry)
    for name, seconds in (
        ("request", calls.request_timeout),
        ("response", calls.response_timeout),
        ("idle", calls.idle_timeout),
    ):
        if seconds is not None:
            yield ("", f"{name} time-out", f"{seconds:g} s")


def _retry(retry: Retry) -> Iterator[tuple[str, ...]]:
    if not retry.repeats:
        yield (NO, "retries", f"not sent again: {retry.why}")
    else:
        yield (YES, "retries", f"{retry.why}: sent again up to {retry.limit} times after {', '.join(retry.on)}")
        low, high = retry.backoff
        budget = retry.budget
        yield ("", "back-off", f"{low:g} s to {high:g} s")
        yield (
            "",
            "budget",
            f"{budget['ratio']:g} a request and {budget['min']:g} a second, over {budget['ttl']:g} s",
        )
        if retry.try_timeout is not None:
            yield ("", "one try", f"{retry.try_timeout:g} s until the answer begins")
    if retry.waits:
        yield ("", "no endpoint ready", f"waits up to {retry.waits:g} s for one")


def _server(server: Server) -> list[str]:
    mode = " (audit mode: nothing is refused)" if server.audit else ""
    more = f" and {len(server.pods) - MOST_PODS} more" if len(server.pods) > MOST_PODS else ""
    lines = [f"server {', '.join(server.pods[:MOST_PODS])}{more}, container port {server.port}"]
    rows = [("policy", server.policy + mode), ("path", server.path)]
    lines += [f"  {line}" for line in table(rows)]
    lines += [f"  {line}" for line in table([_target(target) for target in server.targets])] if server.targets else []
    lines.append(f"  {YES if server.answer.allowed else NO} {server.why}")
    return [*lines, ""]


def _target(target: Target) -> tuple[str, ...]:
    return (YES if target.lets_in else NO, target.target, target.why)
