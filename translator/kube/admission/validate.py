"""Annotations of ours that say nothing we understand. Pure; the validating webhook refuses them.

What they may say is known to who reads them: ``translator.retries`` for Services, ``proxy.iptables`` for ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from proxy.contract.ports import BadRule, port_list, subnet_list

PREFIX: Final = "smi-mesh.io/"

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "inject": ("enabled", "disabled"),
    "default-policy": ("same-identity", "deny", "allow"),
    "policy-mode": ("enforce", "audit"),
    "unmeshed": ("allow", "deny"),
    "http-proxy": ("enabled", "disabled"),
    "access-log": ("none", "text", "json"),
    "log-level": ("debug", "info", "warning", "error"),
}
LISTS: Final[Mapping[str, Callable[[str], object]]] = {
    "opaque-ports": port_list,
    "skip-inbound-ports": port_list,
    "skip-outbound-ports": port_list,
    "skip-subnets": subnet_list,
}
OTHERS: Final = frozenset(
    {"proxy-cpu-request", "proxy-cpu-limit", "proxy-memory-request", "proxy-memory-limit", "proxy-status"}
)
KNOWN: Final = frozenset({*WORDS, *LISTS, *OTHERS})


def faults(thing: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the annotations of an object and of the pod template in it."""
    spec = thing.get("spec") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    for where, holder in (
        ("metadata", thing),
        ("spec.template.metadata", spec.get("template") or {}),
        ("spec.jobTemplate.spec.template.metadata", job.get("template") or {}),
    ):
        annotations = (holder.get("metadata") or {}).get("annotations") or {}
        for name, value in annotations.items():
            if name.startswith(PREFIX):
                wrong = fault(name.removeprefix(PREFIX), str(value))
                if wrong:
                    yield f"{where}.annotations[{name}]: {wrong}"


def fault(name: str, value: str) -> str:
    """What is wrong with one annotation, named without its prefix; empty: nothing."""
    if name not in KNOWN:
        return f"is not known; known are {', '.join(sorted(KNOWN))}"
    if name in WORDS and value not in WORDS[name]:
        return f"{value!r} is not one of {', '.join(WORDS[name])}"
    if name in LISTS:
        try:
            LISTS[name](value)
        except BadRule as error:
            return str(error)
    return ""
