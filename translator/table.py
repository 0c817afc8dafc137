"""A table that never changes, of which a changed copy is cheap: what the world's moments share. Pure.

Most of what there is stays the same from one moment to the next, and a cluster has tens of thousands of pods. So a
changed table shares its bulk with the one it was made of and has the few differences beside, until these are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar, cast

_K = TypeVar("_K")
_V = TypeVar("_V")

LEAST_BESIDE: Final = 64
"""Differences that are kept beside however small the table is."""


class _Gone:
    """Stands for what is in the bulk and not in the table."""


_GONE: Final = _Gone()


class Table(Mapping[_K, _V]):
    """A mapping in the order of its keys' first coming. ``changed`` gives another one; nothing changes this one."""

    __slots__ = ("_beside", "_bulk", "_length")

    def __init__(self, bulk: Mapping[_K, _V] | None = None) -> None:
        self._bulk: dict[_K, _V] = dict(bulk) if bulk is not None else {}
        self._beside: dict[_K, _V | _Gone] = {}
        self._length = len(self._bulk)

    def changed(self, changes: Mapping[_K, _V | None]) -> Table[_K, _V]:
        """This table with other values; None takes a key out."""
        after = Table[_K, _V]()
        after._bulk, after._beside, after._length = self._bulk, dict(self._beside), self._length
        for key, value in changes.items():
            after._length += (value is not None) - (key in after)
            if value is not None:
                after._beside[key] = value
            elif key in self._bulk:
                after._beside[key] = _GONE
            else:
                after._beside.pop(key, None)
        # Put together after so many changes that this costs each of them no more than the copy of what is beside.
        if len(after._beside) ** 2 > max(LEAST_BESIDE**2, 16 * len(self._bulk)):
            after._bulk, after._beside = dict(after.items()), {}
        return after

    def __getitem__(self, key: _K) -> _V:
        if self._beside:
            value = self._beside.get(key)
            if value is not None:
                if value is _GONE:
                    raise KeyError(key)
                return cast(_V, value)
        return self._bulk[key]

    def get(self, key: _K, default: Any = None) -> Any:
        """As of any mapping."""
        if self._beside:
            value = self._beside.get(key)
            if value is not None:
                return default if value is _GONE else value
        return self._bulk.get(key, default)

    def __contains__(self, key: object) -> bool:
        if self._beside and key in self._beside:
            return self._beside[key] is not _GONE
        return key in self._bulk

    def __iter__(self) -> Iterator[_K]:
        if not self._beside:
            return iter(self._bulk)
        return self._merged()

    def _merged(self) -> Iterator[_K]:
        beside, bulk = self._beside, self._bulk
        for key in bulk:
            if beside.get(key) is not _GONE:
                yield key
        for key in beside:
            if key not in bulk:
                yield key

    def __len__(self) -> int:
        return self._length
