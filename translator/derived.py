"""What has been derived of the world, kept as long as it holds: so a change costs what depends on it. Pure.

While something is derived it is written down which entries of which tables were read, also those that were not there,
and which other pieces. A change then finds by these notes alone what has to be derived anew; there is no second list
of what depends on what that could be wrong. Pieces (``World.derived``) are shared by all who ask for them; *roots*
(a sidecar's config) are kept by their owners, who are told when one is stale. Neighbours: ``translator.world``,
``translator.compiler`` (whose pieces these are), ``translator.reconcile`` (whose roots).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final, TypeVar, cast

from translator.world import Read, World, view_of

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_T = TypeVar("_T")


TOGETHER: Final = ("services", "splits_by_root", "slices_by_service")
"""Tables with Services' keys. Who reads one reads the others as a rule, so it is one note for all of them."""

FEW: Final = 8
"""Readers up to this many are kept in a tuple: most things are read by one or two, and a set takes three times that."""


class _Cell:
    """What was read: one entry of one table, there or not. ``place`` is the dictionary it stands in, under ``key``."""

    __slots__ = ("key", "place", "readers")

    def __init__(self, place: dict[Hashable, Any], key: Hashable) -> None:
        self.place = place
        self.key = key
        self.readers: _Node | tuple[_Node, ...] | set[_Node] | None = None


class _Node(_Cell):
    """One derivation, a piece or a root: its value, whether it may not hold any more, and what it read."""

    __slots__ = ("reads", "stale", "value")

    def __init__(self, place: dict[Hashable, Any], key: Hashable) -> None:
        super().__init__(place, key)
        self.value: Any = None
        self.stale = True
        self.reads: tuple[_Cell, ...] = ()


class Derivations:
    """All pieces and roots of the newest world. Not for several threads."""

    def __init__(self, world: World) -> None:
        self._entries: dict[str, dict[Hashable, _Cell]] = {name: {} for name in world.tables}
        self._entries |= dict.fromkeys(TOGETHER, self._entries[TOGETHER[0]])
        self._pieces: dict[object, dict[Hashable, _Node]] = {}
        self._roots: dict[Hashable, _Node] = {}
        self._reading: set[_Cell] | None = None
        self._loose: list[_Cell] = []
        """What has lost its last reader; whoever is being derived now may be the next."""
        self.world = _noted(world, self, self._entries)
        """As ``world``, and what is derived of it is kept."""

    def derived(self, function: Callable[[World, _K], _T], key: _K) -> _T:
        """See ``World.derived``."""
        place = self._pieces.get(function)
        if place is None:
            place = self._pieces[function] = {}
        node = place.get(key)
        if node is None:
            node = place[key] = _Node(place, key)
        if self._reading is not None:
            self._reading.add(node)
        if node.stale:
            self._derive(node, lambda: function(self.world, key))
        value: _T = node.value
        if self._reading is None:
            self._tidy(node)
        return value

    def root(self, root: Hashable, function: Callable[[World], _T]) -> _T:
        """What ``function`` makes of the world, derived in any case; what it read is noted, also if it raises."""
        node = self._roots.get(root)
        if node is None:
            node = self._roots[root] = _Node(self._roots, root)
        return self._derive(node, lambda: function(self.world))

    def drop(self, root: Hashable) -> None:
        """Forgets a root, and the pieces that nobody else has read."""
        node = self._roots.pop(root, None)
        for read in node.reads if node is not None else ():
            self._unread(read, cast(_Node, node))
        self._tidy()

    def moved(self, world: World, changes: Iterable[Read]) -> list[Hashable]:
        """From now on all is derived of ``world``, in which ``changes`` read differently; the roots that are stale."""
        self.world = _noted(world, self, self._entries)
        roots: list[Hashable] = []
        pending = [cell for name, key in changes if (cell := self._entries[name].get(key)) is not None]
        while pending:
            for reader in _readers(pending.pop()):
                if not reader.stale:
                    reader.stale = True
                    pending.append(reader)
                    if reader.place is self._roots:
                        roots.append(reader.key)
        return roots

    def __len__(self) -> int:
        return len(self._roots) + sum(map(len, self._pieces.values()))

    def note(self, place: dict[Hashable, _Cell], key: Hashable) -> None:
        """What is being derived now has read this."""
        if self._reading is not None:
            cell = place.get(key)
            if cell is None:
                own = intern(key) if type(key) is str else key  # the tables' own keys are such
                cell = place[own] = _Cell(place, own)
            self._reading.add(cell)

    def _derive(self, node: _Node, function: Callable[[], _T]) -> _T:
        outer, reading = self._reading, set[_Cell]()
        self._reading = reading
        try:
            value = function()
        except Exception:
            # Whoever asked has read all of this, so to say: it may do better once something of it has changed.
            if outer is not None:
                outer |= reading
            elif node.place is self._roots:
                self._keep(node, None, reading)
            else:
                self._loose += (node, *reading)
            raise
        else:
            self._keep(node, value if node.place is not self._roots else None, reading)
            return value
        finally:
            self._reading = outer
            if outer is None:
                self._tidy()

    def _keep(self, node: _Node, value: object, reads: set[_Cell]) -> None:
        before, node.reads, node.stale = node.reads, tuple(reads), False
        # What comes out the same is the same object: whoever compares it with what it was need not look into it.
        if value != node.value:
            node.value = value
        for cell in reads.difference(before):
            known = cell.readers
            if known is None:
                cell.readers = node
            elif isinstance(known, set):
                known.add(node)
            else:
                several = _readers(cell)
                if node not in several:
                    cell.readers = (*several, node) if len(several) < FEW else {*several, node}
        for cell in before:
            if cell not in reads:
                self._unread(cell, node)

    def _unread(self, cell: _Cell, reader: _Node) -> None:
        known = cell.readers
        if isinstance(known, set):
            known.discard(reader)
            left: Collection[_Node] = known
        else:
            left = cell.readers = tuple(one for one in _readers(cell) if one is not reader)
        if not left:
            cell.readers = None
            self._loose.append(cell)

    def _tidy(self, *cells: _Cell) -> None:
        """What nobody reads is not kept."""
        self._loose += cells
        while self._loose:
            cell = self._loose.pop()
            if cell.readers is None and cell.place.get(cell.key) is cell and cell.place is not self._roots:
                del cell.place[cell.key]
                if isinstance(cell, _Node):
                    for read in cell.reads:
                        self._unread(read, cell)


def _readers(cell: _Cell) -> tuple[_Node, ...]:
    """Those who have read it; a copy, where they are many."""
    known = cell.readers
    if known is None:
        return ()
    if isinstance(known, _Node):
        return (known,)
    return tuple(known)


class _Noted(Mapping[_K, _V]):
    """A table of which it is noted what is read. Nothing may depend on all of it, so it cannot be gone through."""

    __slots__ = ("_derivations", "_name", "_place", "_table")

    def __init__(
        self, name: str, table: Mapping[_K, _V], derivations: Derivations, place: dict[Hashable, _Cell]
    ) -> None:
        self._name, self._table, self._derivations, self._place = name, table, derivations, place

    def __getitem__(self, key: _K) -> _V:
        self._derivations.note(self._place, key)
        return self._table[key]

    def get(self, key: _K, default: Any = None) -> Any:
        """As of any mapping."""
        self._derivations.note(self._place, key)
        return self._table.get(key, default)

    def __contains__(self, key: object) -> bool:
        self._derivations.note(self._place, key)
        return key in self._table

    def __iter__(self) -> Iterator[_K]:
        raise TypeError(f"what is derived must not depend on all {self._name}")

    def __len__(self) -> int:
        raise TypeError(f"what is derived must not depend on all {self._name}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _NotedWorld(World):
    """A world that keeps what is derived of it."""

    derivations: Derivations

    def derived(self, function: Callable[[World, _K], _T], key: _K) -> _T:
        """See ``World.derived``."""
        return self.derivations.derived(function, key)


def _noted(world: World, derivations: Derivations, places: Mapping[str, dict[Hashable, _Cell]]) -> World:
    tables: dict[str, Mapping[Any, Any]] = {
        name: _Noted(name, table, derivations, places[name]) for name, table in world.tables.items()
    }
    objects, index = view_of(tables)
    return _NotedWorld(
        objects=objects, settings=world.settings, index=index, tables=world.tables, derivations=derivations
    )
