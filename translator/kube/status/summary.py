"""What an SMI object says, in one line, for the tables of ``kubectl get``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from smi.access import IdentityBinding, Subject, TrafficTarget
from smi.specs import HTTPRouteGroup, TCPRoute, UDPRoute
from smi.split import TrafficSplit

MOST = 120
"""Characters: a table is read on a screen."""


def summary_of(thing: object) -> str:
    """Empty for what has nothing to say."""
    match thing:
        case TrafficSplit():
            parts = (f"{leaf.service}={_weight(leaf.weight)}" for leaf in thing.backends)
            text = " ".join(parts)
            text += f" if {', '.join(one.name for one in thing.matches)}" if thing.matches else ""
        case TrafficTarget():
            what = ", ".join(_rule(rule.name, rule.matches) for rule in thing.rules)
            callers = ", ".join(map(_subject, thing.sources)) or "nobody"
            called = _subject(thing.destination) if thing.destination is not None else "nobody"
            text = f"{callers} -> {called}: {what or 'nothing'}"
        case IdentityBinding():
            text = _binding(thing)
        case HTTPRouteGroup():
            text = ", ".join(match.name for match in thing.matches)
        case TCPRoute() | UDPRoute():
            text = f"ports {', '.join(map(str, thing.ports))}" if thing.ports else "all ports"
        case _:
            text = ""
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _weight(weight: Fraction) -> str:
    """As a Quantity: whole, in thousandths, or as near as a fraction comes."""
    if weight.denominator == 1:
        return str(weight.numerator)
    thousandths = weight * 1000
    return f"{thousandths.numerator}m" if thousandths.denominator == 1 else f"{float(weight):g}"


def _rule(name: str, matches: Iterable[str] | None) -> str:
    return name if matches is None else f"{name}/{'|'.join(matches)}"


def _subject(subject: Subject) -> str:
    return f"{subject.namespace}/{subject.name}" if subject.namespace else subject.name


def _binding(binding: IdentityBinding) -> str:
    parts = [f"account {binding.service_account}"] if binding.service_account else []
    parts += (
        [f"pods {','.join(f'{name}={value}' for name, value in sorted(binding.pod_labels.items()))}"]
        if (binding.pod_labels)
        else []
    )
    parts += binding.spiffe_identities
    return ", ".join(parts)
