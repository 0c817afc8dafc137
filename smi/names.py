"""Names as Kubernetes demands them, and the Service a TrafficSplit's root or backend speaks of.

Pure text. ``smi.wire`` checks what it reads with it; ``smi.validate`` resolves
references with it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from smi.errors import BadName
from smi.problems import one_line

MAX_LABEL = 63
"""Length of a DNS label (RFC 1123 §2.1, RFC 1035 §2.3.4)."""

MAX_NAME = 253
"""Length of an object's name: that of a DNS name in text (RFC 1035 §2.3.4, less the root label)."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_LABEL_RULE = "lower-case letters, digits and `-`, beginning and ending with a letter or digit"


class ServiceName(NamedTuple):
    """A Service, wherever it lives."""

    namespace: str
    name: str


def check_label(text: str) -> str:
    """``text`` if it is an RFC 1123 label, as names of Namespaces and Services are.

    Raises:
        BadName: with the rule that is broken.
    """
    if not text:
        raise BadName("must not be empty")
    if len(text) > MAX_LABEL:
        raise BadName(f"must have at most {MAX_LABEL} characters, has {len(text)}")
    if not _LABEL.fullmatch(text):
        raise BadName(f"{shown(text)} is not a valid name: {_LABEL_RULE}")
    return text


def check_name(text: str) -> str:
    """``text`` if it is an RFC 1123 subdomain (labels with dots between), as names of most objects are.

    Raises:
        BadName: with the rule that is broken.
    """
    if not text:
        raise BadName("must not be empty")
    if len(text) > MAX_NAME:
        raise BadName(f"must have at most {MAX_NAME} characters, has {len(text)}")
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise BadName(f"{shown(text)} is not a valid name: {_LABEL_RULE}; `.` only between those")
    return text


def check_service_reference(text: str) -> str:
    """``text`` as written, if it can be the name of some Service: short, or longer with dots.

    Whether the part behind the first dot fits is left to ``parse_service_reference``:
    a name of another namespace or domain is ignored by the mesh, not refused.

    Raises:
        BadName: with the rule that is broken.
    """
    labels = _labels(text)
    if not labels:
        raise BadName("must not be empty")
    check_name(".".join(labels))
    return text


def parse_service_reference(text: str, namespace: str, cluster_domain: str) -> ServiceName | str:
    """The Service that ``text`` in an object of ``namespace`` names, or the reason why it names none.

    Forms: ``svc``, ``svc.ns``, ``svc.ns.svc``, ``svc.ns.svc.<cluster_domain>``;
    any case, empty labels (a trailing dot) collapsed.
    """
    labels = _labels(text)
    if not labels:
        return "no Service is named"
    for label in labels[:2]:
        if not _LABEL.fullmatch(label) or len(label) > MAX_LABEL:
            return f"{shown(label)} is not a valid name"
    service, rest = labels[0], labels[1:]
    if not rest:
        return ServiceName(namespace, service)
    if rest[1:] in ([], ["svc"], ["svc", *_labels(cluster_domain)]):
        return ServiceName(rest[0], service)
    return f"{shown(text)} is not a Service's name in the domain {cluster_domain}"


def shown(value: object, limit: int = 60) -> str:
    """``value`` as it may stand in a message: in backticks, on one line, at most ``limit`` characters."""
    return f"`{one_line(value if isinstance(value, str) else repr(value), limit)}`"


def _labels(text: str) -> list[str]:
    return [label for label in text.lower().split(".") if label]
