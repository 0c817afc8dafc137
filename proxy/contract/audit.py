"""What a sidecar in audit mode has seen, as its admin port shows it (``/audit``, JSON).

``proxy.audit`` counts, ``translator.suggest`` makes TrafficTargets of it.
"""

from __future__ import annotations

from msgspec import Struct


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Requests of one kind: who called which container port with which method and path.

    ``caller`` is a SPIFFE ID, empty without identity. ``path`` is canonical and without query; with ``below``
    it ends in ``/`` and stands for all that begin with it. ``ambiguous`` requests have a path with more than one
    meaning, which is not kept. ``denied`` of the ``requests`` policy would have refused.
    """

    caller: str = ""
    port: int
    method: str
    path: str = ""
    below: bool = False
    ambiguous: bool = False
    requests: int
    denied: int = 0


class Audit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that was seen since the sidecar started; ``unlisted`` requests were of more kinds than are kept."""

    seen: tuple[Seen, ...] = ()
    unlisted: int = 0
