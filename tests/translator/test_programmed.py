"""Which objects a sidecar runs on, from what it was offered, took and refused."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from proxy.contract.config import Cluster, Config, Endpoint
from proxy.contract.messages import Hello, Nack
from proxy.contract.patch import digest
from translator.compiler import Compiled
from translator.dependencies import ObjectVersion
from translator.publish import Slot
from translator.reconcile import Refusal, Subscriber


def split(generation: int) -> ObjectVersion:
    return ObjectVersion(kind="TrafficSplit", namespace="shop", name="web", uid="u", generation=generation)


def config(number: int) -> Config:
    return Config(clusters={"shop/web:80": Cluster(endpoints=(Endpoint(ip="10.0.0.1", port=number),))})


class Sidecar:
    """A subscriber, and the sidecar's side of the stream."""

    def __init__(self) -> None:
        self.subscriber = Subscriber("shop/web-1", "spiffe://cluster.local/ns/shop/sa/web")
        self.time = 0.0

    def offered(self, number: int, generation: int) -> None:
        compiled = Compiled(config=config(number), objects=frozenset({split(generation)}))
        self.subscriber.offer(compiled, urgent=False)

    def sent(self) -> int:
        self.time += 10
        return self.subscriber.slot.take(self.time).version

    def acks(self, version: int) -> None:
        self.subscriber.slot.ack(version)
        self.subscriber.settle()

    def nacks(self, version: int, current: int) -> None:
        nack = Nack(version=version, reason="no such port", current=current)
        self.subscriber.refused(nack, Refusal(version=version, reason=nack.reason, at=datetime.now(UTC)))

    def refuses(self) -> str:
        refusal = self.subscriber.refuses
        return refusal.reason if refusal is not None else ""

    @property
    def generations(self) -> list[int]:
        return [one.generation for one in self.subscriber.programmed]


def test_a_generation_is_in_force_when_the_config_of_it_was_acknowledged() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    assert sidecar.generations == []
    sidecar.acks(sidecar.sent())
    assert sidecar.generations == [1]


def test_what_is_on_its_way_counts_as_what_it_was_when_sent() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    first = sidecar.sent()
    sidecar.offered(2, generation=2)
    sidecar.acks(first)
    assert sidecar.generations == [1]
    sidecar.acks(sidecar.sent())
    assert sidecar.generations == [2]


def test_another_generation_that_changes_no_config_is_in_force_at_once() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    sidecar.acks(sidecar.sent())
    sidecar.offered(1, generation=2)
    assert sidecar.generations == [2]


def test_what_is_changed_back_before_it_was_sent_is_in_force() -> None:
    """Nothing is sent then, so nothing will be acknowledged."""
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    sidecar.acks(sidecar.sent())
    sidecar.offered(2, generation=2)
    sidecar.offered(1, generation=3)
    assert sidecar.subscriber.slot.wait(1e9) is None
    assert sidecar.generations == [3]


def test_what_is_changed_back_while_it_is_on_its_way_is_in_force_once_acknowledged() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    first = sidecar.sent()
    sidecar.offered(2, generation=2)
    sidecar.offered(1, generation=3)
    assert sidecar.generations == []
    sidecar.acks(first)
    assert sidecar.subscriber.slot.wait(1e9) is None
    assert sidecar.generations == [3]


def test_a_sidecar_that_begins_anew_runs_on_nothing_until_it_says_so() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    sidecar.acks(sidecar.sent())
    sidecar.subscriber.reopened(Slot(Hello(), 1))
    assert sidecar.generations == []
    sidecar.offered(1, generation=1)
    assert sidecar.generations == []
    sidecar.acks(sidecar.sent())
    assert sidecar.generations == [1]


def test_a_nack_of_nothing_gives_no_other_reason() -> None:
    """Each reason is an Event about each object, so that a sidecar could write as many as it likes."""
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    sidecar.nacks(sidecar.sent(), current=0)
    nack = Nack(reason="and another one", current=0)
    assert not sidecar.subscriber.refused(nack, Refusal(version=0, reason=nack.reason, at=datetime.now(UTC)))
    assert sidecar.refuses() == "no such port"


def test_what_is_refused_is_not_in_force_and_what_was_before_still_is() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    first = sidecar.sent()
    sidecar.acks(first)
    sidecar.offered(2, generation=2)
    sidecar.nacks(sidecar.sent(), current=first)
    assert sidecar.generations == [1]
    assert sidecar.refuses() == "no such port"
    sidecar.offered(3, generation=3)
    assert sidecar.refuses() == ""
    sidecar.acks(sidecar.sent())
    assert sidecar.generations == [3]


def test_a_sidecar_that_runs_on_something_else_is_sent_everything_again() -> None:
    sidecar = Sidecar()
    sidecar.offered(1, generation=1)
    sidecar.acks(sidecar.sent())
    sidecar.offered(2, generation=2)
    sidecar.nacks(sidecar.sent(), current=77)
    assert (sidecar.generations, sidecar.refuses()) == ([], "")
    sidecar.acks(sidecar.sent())
    assert sidecar.generations == [2]


def test_a_sidecar_that_comes_back_with_the_same_config_needs_no_push() -> None:
    sidecar = Sidecar()
    # Another controller, which numbered otherwise, told it this before.
    same = replace(config(1), version=40)
    sidecar.subscriber.reopened(Slot(Hello(version=40, digest=digest(same)), 3))
    sidecar.offered(1, generation=5)
    assert sidecar.generations == [5]


def test_no_more_is_kept_than_the_stream_may_need() -> None:
    sidecar = Sidecar()
    for generation in range(1, 50):
        sidecar.offered(generation, generation)
        if generation == 10:
            sidecar.acks(sidecar.sent())
            sidecar.sent()
    assert len(sidecar.subscriber._objects) <= 3
