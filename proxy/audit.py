"""Remembers what audit mode lets in, so that a policy can be made of it: caller, port, method and path. Pure.

It is bounded: paths are kept whole up to a number; of a caller that asks for more of them (identifiers in paths)
further ones are kept by their first segment, and beyond that as any path. ``proxy.inbound`` notes, the admin port
shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.contract.audit import Audit, Seen
from proxy.paths import canonical_path

if TYPE_CHECKING:
    from proxy.authorize import Verdict
    from proxy.http1.head import RequestHead

# Kinds of requests kept: with names of some 300 bytes they take a few hundred KB.
MAX_KINDS: Final = 1024
# Paths of one caller, port and method that are kept whole, and again as many first segments.
MAX_PATHS: Final = 32
# Characters of a path or a method that is kept; clients choose them.
MAX_PATH: Final = 200
MAX_METHOD: Final = 32

_Kind = tuple[str, int, str, str, bool, bool]


class Auditor:
    """The memory of one sidecar."""

    __slots__ = ("_counts", "_paths", "_unlisted")

    def __init__(self) -> None:
        self._counts: dict[_Kind, list[int]] = {}
        self._paths: dict[tuple[str, int, str], int] = {}
        self._unlisted = 0

    def note(self, caller: str, port: int, head: RequestHead, verdict: Verdict) -> None:
        """Audit mode let a request in; ``verdict`` is what policy says."""
        path = canonical_path(head.path)
        denied = verdict.reason is not None
        who = (caller, port, head.method)
        if path.ambiguous:
            self._count((*who, "", False, True), denied)
            return
        whole = path.path.decode("latin-1")
        if self._takes((*who, whole, False, False), denied):
            return
        first, slash, _ = whole[1:].partition("/")
        if slash and self._takes((*who, f"/{first}/", True, False), denied):
            return
        self._count((*who, "/", True, False), denied)

    def _takes(self, kind: _Kind, denied: bool) -> bool:
        """Counts a request by a path that is kept, or may still be; whether it did."""
        if kind not in self._counts and (len(kind[3]) > MAX_PATH or not self._has_room(kind[:3], below=kind[4])):
            return False
        self._count(kind, denied)
        return True

    def _has_room(self, who: tuple[str, int, str], *, below: bool) -> bool:
        kept = self._paths.get(who, 0)
        if kept >= (2 * MAX_PATHS if below else MAX_PATHS):
            return False
        if len(self._counts) < MAX_KINDS:
            self._paths[who] = kept + 1
        return True

    def _count(self, kind: _Kind, denied: bool) -> None:
        counts = self._counts.get(kind)
        if counts is None:
            if len(self._counts) >= MAX_KINDS or len(kind[2]) > MAX_METHOD:
                self._unlisted += 1
                return
            counts = self._counts[kind] = [0, 0]
        counts[0] += 1
        counts[1] += denied

    def shown(self) -> Audit:
        """All of it, in a stable order."""
        return Audit(
            seen=tuple(
                Seen(
                    caller=caller,
                    port=port,
                    method=method,
                    path=path,
                    below=below,
                    ambiguous=ambiguous,
                    requests=requests,
                    denied=denied,
                )
                for (caller, port, method, path, below, ambiguous), (requests, denied) in sorted(self._counts.items())
            ),
            unlisted=self._unlisted,
        )
