"""The plan, told as what a mesh goes through: each step is the pods there are and what is done next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from smi.meta import Meta
from smi.workloads import Container, Workload
from translator.local.plan import Instance, Plan, owner_of, plan, settled, template_hash


def workload(kind: str = "Deployment", name: str = "web", *, replicas: int = 2, image: str = "v1") -> Workload:
    return Workload(
        kind=kind,
        meta=Meta(name=name),
        template=Meta(name=name, labels={"app": name}),
        replicas=replicas,
        containers=(Container(name="c", image=image, command=("serve",)),),
    )


class Mesh:
    """Carries out plans at once; readiness is the test's to give."""

    def __init__(self) -> None:
        self.pods: dict[str, Instance] = {}
        self.room = 100
        self._serial = count(1)
        self.fresh: Callable[[], str] = (f"p{n}" for n in count(1)).__next__

    def step(self, *workloads: Workload) -> tuple[list[str], list[str]]:
        """One plan, carried out: names started and names stopped."""
        done = plan(workloads, self.pods.values(), self.fresh, self.room - len(self.pods))
        for start in done.start:
            self.pods[start.name] = Instance(
                owner=owner_of(start.workload), name=start.name, template=start.template, serial=next(self._serial)
            )
        for _, name in done.stop:
            self.pods[name] = replace(self.pods[name], stopping=True, ready=False)
        return [start.name for start in done.start], [name for _, name in done.stop]

    def ready(self, *names: str) -> None:
        for name in names:
            self.pods[name] = replace(self.pods[name], ready=True)

    def ended(self, *names: str) -> None:
        for name in names:
            del self.pods[name]


def hashed(web: Workload) -> str:
    return f"{web.meta.name}-{template_hash(web)[:8]}"


def test_a_deployment_starts_all_its_pods_and_then_rests() -> None:
    mesh, web = Mesh(), workload()
    name = hashed(web)
    assert mesh.step(web) == ([f"{name}-p1", f"{name}-p2"], [])
    assert mesh.step(web) == ([], [])


def test_scaling_down_takes_the_unready_first_and_then_the_youngest() -> None:
    mesh, web = Mesh(), workload(replicas=4)
    one, two, three, four = mesh.step(web)[0]
    mesh.ready(one, three, four)
    assert mesh.step(workload(replicas=2)) == ([], [two, four])


def test_scaling_to_nothing_and_deleting_stop_everything_once() -> None:
    mesh, web = Mesh(), workload(replicas=1)
    (one,), _ = mesh.step(web)
    assert mesh.step(workload(replicas=0)) == ([], [one])
    assert mesh.step() == ([], [])


def test_a_deleted_workload_loses_its_pods() -> None:
    mesh, web, other = Mesh(), workload(), workload(name="other", replicas=1)
    started, _ = mesh.step(web, other)
    assert mesh.step(other) == ([], [name for name in started if name.startswith("web")])


def test_a_rollover_keeps_as_many_ready_as_asked_for() -> None:
    mesh, old = Mesh(), workload()
    first, second = mesh.step(old)[0]
    mesh.ready(first, second)
    new = workload(image="v2")
    (third, fourth), stopped = mesh.step(new)
    assert stopped == []
    mesh.ready(third)
    assert mesh.step(new) == ([], [second])
    mesh.ready(fourth)
    assert mesh.step(new) == ([], [first])
    mesh.ended(first, second)
    assert mesh.step(new) == ([], [])


def test_a_rollover_to_pods_that_never_get_ready_leaves_the_old_ones() -> None:
    mesh, old = Mesh(), workload(replicas=1)
    (first,), _ = mesh.step(old)
    mesh.ready(first)
    new = workload(replicas=1, image="broken")
    mesh.step(new)
    assert mesh.step(new) == ([], [])
    assert mesh.pods[first].ready
    # and back: the broken one goes, the old one is current again
    (broken,) = [name for name in mesh.pods if name != first]
    assert mesh.step(old) == ([], [broken])


def test_old_pods_that_serve_nobody_go_at_once() -> None:
    mesh, old = Mesh(), workload()
    first, second = mesh.step(old)[0]
    mesh.ready(first)
    _, stopped = mesh.step(workload(image="v2"))
    assert stopped == [second]


def test_replicas_are_no_part_of_the_template() -> None:
    assert template_hash(workload(replicas=1)) == template_hash(workload(replicas=9))
    assert template_hash(workload(image="v1")) != template_hash(workload(image="v2"))


def test_a_pod_is_replaced_under_its_own_name_when_the_old_one_has_gone() -> None:
    mesh, pod = Mesh(), workload("Pod", "single")
    assert mesh.step(pod) == (["single"], [])
    changed = workload("Pod", "single", image="v2")
    assert mesh.step(changed) == ([], ["single"])
    assert mesh.step(changed) == ([], [])
    mesh.ended("single")
    assert mesh.step(changed) == (["single"], [])


def test_a_stateful_set_comes_up_in_order_and_goes_down_in_reverse() -> None:
    mesh, db = Mesh(), workload("StatefulSet", "db", replicas=3)
    assert mesh.step(db) == (["db-0"], [])
    assert mesh.step(db) == ([], [])
    mesh.ready("db-0")
    assert mesh.step(db) == (["db-1"], [])
    mesh.ready("db-1")
    assert mesh.step(db) == (["db-2"], [])
    mesh.ready("db-2")
    smaller = workload("StatefulSet", "db", replicas=1)
    assert mesh.step(smaller) == ([], ["db-2"])
    assert mesh.step(smaller) == ([], [])
    mesh.ended("db-2")
    assert mesh.step(smaller) == ([], ["db-1"])


def test_a_stateful_set_rolls_over_from_the_highest_ordinal_one_at_a_time() -> None:
    mesh, db = Mesh(), workload("StatefulSet", "db")
    for name in ("db-0", "db-1"):
        mesh.step(db)
        mesh.ready(name)
    new = workload("StatefulSet", "db", image="v2")
    assert mesh.step(new) == ([], ["db-1"])
    mesh.ended("db-1")
    assert mesh.step(new) == (["db-1"], [])
    assert mesh.step(new) == ([], [])
    mesh.ready("db-1")
    assert mesh.step(new) == ([], ["db-0"])


def test_a_stateful_set_repairs_an_outdated_pod_that_is_not_ready() -> None:
    mesh, db = Mesh(), workload("StatefulSet", "db", replicas=1, image="broken")
    mesh.step(db)
    assert mesh.step(workload("StatefulSet", "db", replicas=1)) == ([], ["db-0"])


def test_two_workloads_never_get_one_name() -> None:
    mesh = Mesh()
    pod, db = workload("Pod", "db-0"), workload("StatefulSet", "db", replicas=1)
    started, _ = mesh.step(pod, db)
    assert started == ["db-0"]
    assert mesh.step(pod, db) == ([], [])


def test_settled_means_ready_and_nothing_to_do() -> None:
    mesh, web = Mesh(), workload(replicas=1)
    assert not settled([web], mesh.pods.values(), frozenset())
    (one,), _ = mesh.step(web)
    assert not settled([web], mesh.pods.values(), frozenset())
    assert settled([web], mesh.pods.values(), frozenset({template_hash(web)}))
    mesh.ready(one)
    assert settled([web], mesh.pods.values(), frozenset())
    assert not settled([], mesh.pods.values(), frozenset())


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert plan([], [], lambda: "", 10) == Plan()


def test_no_more_pods_are_started_than_there_is_room_for_however_many_are_asked_for() -> None:
    mesh, web, other = Mesh(), workload(replicas=10**12), workload(name="zoo", replicas=1)
    mesh.room = 3
    name = hashed(web)

    assert mesh.step(web, other) == ([f"{name}-p1", f"{name}-p2", f"{name}-p3"], [])
    assert plan([web, other], mesh.pods.values(), mesh.fresh, 0) == Plan(unplaced=(owner_of(web), owner_of(other)))
    assert not settled([web, other], mesh.pods.values(), frozenset())

    mended = replace(web, replicas=2)
    assert mesh.step(mended, other) == ([], [f"{name}-p3"])
    mesh.ended(f"{name}-p3")
    assert mesh.step(mended, other) == ([f"{hashed(other)}-p4"], [])


def test_a_stateful_set_and_a_pod_wait_for_room() -> None:
    mesh, db, pod = Mesh(), workload("StatefulSet", "db", replicas=10**12), workload("Pod", "one")
    mesh.room = 1

    assert mesh.step(pod, db) == (["one"], [])
    assert plan([pod, db], mesh.pods.values(), mesh.fresh, 0).unplaced == (owner_of(db),)
    mesh.room = 2
    assert mesh.step(pod, db) == (["db-0"], [])
