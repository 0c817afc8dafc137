"""Whatever changes, in whatever order: what is derived step by step is what is compiled of the whole anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import scenes
from goldencases import CASES, GOLDEN, load_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Scene

from smi.meta import Meta
from smi.workloads import Namespace, Pod
from translator.compiler import Compiled, compile_sidecar
from translator.derived import Derivations
from translator.review import Review, review
from translator.table import LEAST_BESIDE, Table
from translator.world import KINDS, Named, World

EXAMPLES = int(os.environ.get("SMI_MESH_EXAMPLES", "1000")) // 4
HOSTS = ("web", "web.one", "web.two", "v1", "v2.one", "gone", "p0.web", "p1.web.one", "127.80.0.11", "127.80.0.12")

Key = tuple[str, str]
_asked = st.frozensets(st.sampled_from(HOSTS), max_size=6)


def key_of(thing: Named) -> Key:
    return type(thing).__name__, f"{thing.meta.namespace}/{thing.meta.name}"


def things(scene: Scene) -> dict[Key, Named]:
    found: dict[Key, Named] = {}
    for thing in (*scene.objects, *scene.pods):
        if isinstance(thing, Pod) or type(thing) in KINDS:
            found.setdefault(key_of(thing), thing)
    return found


class Mesh:
    """All pods' sidecars, compiled anew only where the derivations say so."""

    def __init__(self, asked: frozenset[str]) -> None:
        self.there: dict[Key, Named] = {}
        self.world = World.of()
        self.derivations = Derivations(self.world)
        self.review = Review(self.derivations)
        self.compiled: dict[str, Compiled | None] = {f"{n}/p{i}": None for n in scenes.NAMESPACES for i in range(4)}
        self.asked = dict.fromkeys(self.compiled, asked)
        for pod in self.compiled:
            self.compile(pod)

    def compile(self, pod: str) -> None:
        def work(world: World) -> Compiled | None:
            found = world.index.pods.get(pod)
            return compile_sidecar(world, found, self.asked[pod]) if found is not None else None

        self.compiled[pod] = self.derivations.root(pod, work)

    def ask(self, pod: str, asked: frozenset[str]) -> None:
        """Its application asks for other hosts."""
        self.asked[pod] = asked
        self.compile(pod)

    def step(self, wanted: dict[Key, Named], which: frozenset[Key], *, all_told: bool) -> set[str]:
        """``which`` become as in ``wanted``; the pods that are compiled anew. ``all_told``: so is all else."""
        present = [wanted[key] for key in which if key in wanted]
        gone = [self.there[key] for key in which if key in self.there and key not in wanted]
        self.there = {key: thing for key, thing in self.there.items() if key not in which}
        self.there |= {key: wanted[key] for key in which if key in wanted}
        if all_told:
            pods = [thing for thing in self.there.values() if isinstance(thing, Pod)]
            self.world, changes = self.world.become(
                (one for one in self.there.values() if not isinstance(one, Pod)), pods
            )
        else:
            self.world, changes = self.world.updated(present, gone)
        roots = self.derivations.moved(self.world, changes)
        self.review.moved(changes, roots)
        stale = {str(root) for root in roots} & self.compiled.keys()
        for pod in stale:
            self.compile(pod)
        return stale

    def whole(self) -> World:
        """The world made anew."""
        objects = [thing for thing in self.there.values() if not isinstance(thing, Pod)]
        return World.of(objects, [thing for thing in self.there.values() if isinstance(thing, Pod)])

    def anew(self, pod: str) -> Compiled | None:
        world = self.whole()
        found = world.index.pods.get(pod)
        return compile_sidecar(world, found, self.asked[pod]) if found is not None else None


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), asked=_asked)
def test_step_by_step_is_as_all_at_once(data: st.DataObject, asked: frozenset[str]) -> None:
    mesh = Mesh(asked)
    for wanted in (things(data.draw(scenes.whole_scenes)), things(data.draw(scenes.whole_scenes)), {}):
        for _ in range(3):
            keys = sorted({*wanted, *mesh.there})
            which = frozenset(data.draw(st.sets(st.sampled_from(keys)))) if keys else frozenset()
            stale = mesh.step(wanted, which, all_told=data.draw(st.booleans()))
            mesh.ask(data.draw(st.sampled_from(sorted(mesh.compiled))), data.draw(_asked))
            assert set(mesh.review.findings()) == set(review(mesh.whole()))
            for pod, compiled in mesh.compiled.items():
                expected = mesh.anew(pod)
                assert compiled == expected, (pod, pod in stale)
                if compiled is not None and expected is not None:
                    assert list(compiled.config.clusters) == list(expected.config.clusters)


@pytest.mark.parametrize("path", CASES, ids=lambda path: str(path.relative_to(GOLDEN).with_suffix("")))
def test_objects_come_and_go_one_by_one(path: Path) -> None:
    whole, pod, hosts = load_case(path)
    objects = [thing for name in KINDS.values() for thing in getattr(whole.objects, name).values()]
    world = World.of(settings=whole.settings)
    derivations = Derivations(world)

    def compiled(world: World) -> Compiled | None:
        found = world.index.pods.get(pod.meta.key)
        return compile_sidecar(world, found, hosts) if found is not None else None

    known = derivations.root("it", compiled)
    there: list[Named] = []
    everything: list[Named] = [*objects, *whole.pods]
    for thing, comes in [*((one, True) for one in everything), *((one, False) for one in everything)]:
        there = [*there, thing] if comes else [one for one in there if one is not thing]
        world, changes = world.updated([thing] if comes else [], [] if comes else [thing])
        if derivations.moved(world, changes):
            known = derivations.root("it", compiled)
        pods = [one for one in there if isinstance(one, Pod)]
        anew = World.of([one for one in there if not isinstance(one, Pod)], pods, whole.settings)
        assert known == compiled(anew), (thing, comes)
    derivations.drop("it")
    assert len(derivations) == 0, "pieces that nobody asks for are not kept"
    assert not any(derivations._entries.values()), "nor notes of what they read"


class Counted:
    """A piece that counts how often it is worked out."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, world: World, key: str) -> bool:
        self.times += 1
        return key in world.objects.namespaces


def test_a_piece_is_worked_out_once_for_all_and_again_when_what_it_read_has_changed() -> None:
    piece, world = Counted(), World.of()
    derivations = Derivations(world)

    def ask() -> list[bool]:
        return [derivations.root(root, lambda world: world.derived(piece, "team")) for root in ("a", "b")]

    assert (ask(), piece.times) == ([False, False], 1)
    world, changes = world.updated([Namespace(meta=Meta(name="other", namespace=""))])
    assert derivations.moved(world, changes) == []
    assert (ask(), piece.times) == ([False, False], 1)
    world, changes = world.updated([Namespace(meta=Meta(name="team", namespace=""))])
    assert sorted(map(str, derivations.moved(world, changes))) == ["a", "b"]
    assert (ask(), piece.times) == ([True, True], 2)
    assert derivations.moved(*world.updated([Namespace(meta=Meta(name="team", namespace=""))])) == []


def test_what_failed_is_tried_again_when_what_it_read_has_changed() -> None:
    world = World.of()
    derivations = Derivations(world)

    def piece(world: World, key: str) -> str:
        return world.objects.namespaces[key].meta.name

    for _ in range(2):
        with pytest.raises(KeyError):
            derivations.root("a", lambda world: world.derived(piece, "team"))
    world, changes = world.updated([Namespace(meta=Meta(name="team", namespace=""))])
    assert derivations.moved(world, changes) == ["a"]
    assert derivations.root("a", lambda world: world.derived(piece, "team")) == "team"


def test_what_is_derived_must_not_depend_on_everything() -> None:
    derivations = Derivations(World.of())
    with pytest.raises(TypeError, match="all splits"):
        derivations.root("a", lambda world: list(world.objects.splits))


@given(
    steps=st.lists(st.dictionaries(st.integers(0, 300), st.none() | st.integers(1, 9), max_size=200), max_size=8),
    first=st.dictionaries(st.integers(0, 300), st.integers(1, 9)),
)
def test_a_changed_table_is_as_a_changed_dict(steps: list[dict[int, int | None]], first: dict[int, int]) -> None:
    table, plain = Table(first), dict(first)
    for changes in steps:
        before, was = table, dict(plain)
        table = table.changed(changes)
        for key, value in changes.items():
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
        assert dict(table) == plain
        assert len(table) == len(plain) == len(list(table))
        assert {key for key in range(301) if key in table} == plain.keys()
        assert dict(before) == was


def test_many_small_changes_leave_no_long_tail_beside() -> None:
    table = Table({number: number for number in range(1000)})
    for number in range(5000):
        table = table.changed({number % 1000: number})
        assert len(table._beside) <= 2 * LEAST_BESIDE + 1
