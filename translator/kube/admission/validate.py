"""Annotations of ours that say nothing we understand. Pure; the validating webhook refuses them.

What they may say is in ``translator.vocabulary``; lists of ports and subnets are read by ``proxy.contract.ports``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from proxy.contract.ports import BadRule, port_list, subnet_list
from translator import vocabulary
from translator.kube.admission.inject import STATUS
from translator.kube.names import PREFIX

LISTS: Final[Mapping[str, Callable[[str], object]]] = {
    vocabulary.OPAQUE_PORTS.name: port_list,
    vocabulary.SKIP_INBOUND.name: port_list,
    vocabulary.SKIP_OUTBOUND.name: port_list,
    vocabulary.SKIP_SUBNETS.name: subnet_list,
}

KNOWN: Final = {one.name: one.values for one in (*vocabulary.ON_PODS, *vocabulary.ON_CLUSTER)}


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
            wrong = fault(name, str(value)) if name.startswith(PREFIX) and name != STATUS else ""
            if wrong:
                yield f"{where}.annotations[{name}]: {wrong}"


def fault(name: str, value: str) -> str:
    """What is wrong with one annotation; empty: nothing."""
    if name not in KNOWN:
        known = ", ".join(sorted(one for one in KNOWN if one.startswith(PREFIX)))
        return f"is not known; known are {known}"
    if KNOWN[name] and value not in KNOWN[name]:
        return f"{value!r} is not one of {', '.join(KNOWN[name])}"
    if name in LISTS:
        try:
            LISTS[name](value)
        except BadRule as error:
            return str(error)
    return ""
