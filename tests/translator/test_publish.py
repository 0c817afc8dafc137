"""Versions, deltas and pace, with a clock that the test turns."""

from __future__ import annotations

import pytest

from proxy.contract.config import Cluster, Config, Endpoint, Host
from proxy.contract.messages import Hello, Nack, Push
from proxy.contract.patch import digest, patched
from translator.publish import PUSHES_AT_ONCE, Slot


def config(number: int) -> Config:
    """Configs that differ by one endpoint."""
    return Config(clusters={"shop/web:80": Cluster(endpoints=(Endpoint(ip="10.0.0.1", port=number),))})


def test_the_first_push_is_whole_and_above_the_sidecars_version() -> None:
    slot = Slot(Hello(version=41, digest="something else"))
    slot.offer(config(1))
    assert slot.wait(0.0) == 0
    push = slot.take(0.0)
    assert (push.version, push.base) == (42, 0)
    assert patched(Config(), push).clusters == config(1).clusters


def test_a_sidecar_that_runs_on_the_very_same_gets_nothing() -> None:
    slot = Slot(Hello(version=41, digest=digest(config(1))))
    slot.offer(config(1))
    assert slot.wait(0.0) is None
    assert slot.acknowledged is not None
    assert slot.acknowledged.version == 41
    slot.offer(config(2))
    push = slot.take(0.0)
    assert (push.version, push.base) == (42, 41)


@pytest.mark.parametrize("version", [2**64 - 1, -(2**63)])
def test_a_version_that_nobody_counts_to_is_not_gone_on_from(version: int) -> None:
    """By the next pod of that name least of all: its numbers would have no place in a frame."""
    slot = Slot(Hello(version=version, digest=digest(config(1))))
    slot.offer(config(1))
    push = slot.take(0.0)
    assert (push.version, push.base) == (1, 0)
    assert Slot(Hello(), floor=slot.version).version == 1


def test_a_new_sidecar_with_an_empty_config_gets_a_version_too() -> None:
    slot = Slot(Hello(version=0, digest=digest(Config())))
    slot.offer(Config())
    assert slot.take(0.0) == Push(version=1)


def test_deltas_are_upon_what_was_acknowledged_and_skip_what_came_between() -> None:
    slot = Slot(Hello())
    slot.offer(config(1))
    first = slot.take(0.0)
    slot.offer(config(2))
    slot.offer(config(3))
    assert slot.wait(0.0) is None, "one push at a time"
    assert slot.ack(first.version)
    second = slot.take(0.0)
    assert second.base == first.version
    assert second.clusters == config(3).clusters
    assert slot.ack(second.version)
    assert slot.wait(9.9) is None


def test_a_change_that_was_taken_back_sends_nothing() -> None:
    slot = Slot(Hello())
    slot.offer(config(1))
    slot.ack(slot.take(0.0).version)
    slot.offer(config(2))
    slot.offer(config(1))
    assert slot.wait(0.0) is None


def test_what_was_refused_is_not_sent_again_until_something_else_is_wanted() -> None:
    slot = Slot(Hello())
    slot.offer(config(1))
    good = slot.take(0.0).version
    slot.ack(good)
    slot.offer(config(2))
    bad = slot.take(0.0).version
    assert slot.nack(Nack(reason="no", current=good, version=bad))
    slot.offer(config(2))
    assert slot.wait(9.0) is None
    slot.offer(config(3))
    push = slot.take(9.0)
    assert push.base == good
    assert push.version > bad


def test_a_sidecar_on_another_base_gets_a_whole_config() -> None:
    slot = Slot(Hello(version=5, digest=digest(config(1))))
    slot.offer(config(1))
    slot.offer(config(2))
    push = slot.take(0.0)
    assert push.base == 5
    assert slot.nack(Nack(reason="base 5 is not in force", current=4, version=push.version))
    again = slot.take(0.0)
    assert again.base == 0
    assert again.version > push.version
    assert patched(Config(), again).clusters == config(2).clusters


def test_answers_to_something_else_do_not_count() -> None:
    slot = Slot(Hello())
    assert not slot.ack(1)
    slot.offer(config(1))
    push = slot.take(0.0)
    assert not slot.ack(push.version + 1)
    assert not slot.nack(Nack(reason="no", current=0, version=push.version + 1))
    assert slot.nack(Nack(reason="cannot be read", current=0)), "version 0 means the one on its way"


def test_versions_go_on_above_an_earlier_stream() -> None:
    slot = Slot(Hello(version=5), floor=9)
    slot.offer(config(1))
    assert slot.take(0.0).version == 10


def test_a_thousand_changes_in_a_second_are_ten_pushes_at_most_and_the_last_arrives() -> None:
    slot = Slot(Hello())
    sent: list[tuple[float, int]] = []
    running = Config()
    for tick in range(3000):
        now = tick / 1000
        if tick < 2000:
            slot.offer(config(tick + 1))
        if slot.wait(now) == 0:
            push = slot.take(now)
            running = patched(running if push.base else Config(), push)
            slot.ack(push.version)
            sent.append((now, push.version))
    assert sent[0][0] == 0.0, "the first change goes out at once"
    assert len([at for at, _ in sent if at < 2.0]) >= 15, "and the others do not wait for the end"
    assert max(sum(start <= at < start + 1 for at, _ in sent) for start, _ in sent) <= 10
    assert running.clusters == config(2000).clusters
    assert [version for _, version in sent] == sorted({version for _, version in sent})


def test_after_a_quiet_time_a_few_changes_go_out_at_once() -> None:
    slot = Slot(Hello())
    for number in range(PUSHES_AT_ONCE):
        slot.offer(config(number + 1))
        assert slot.wait(5.0) == 0
        slot.ack(slot.take(5.0).version)
    slot.offer(config(99))
    assert slot.wait(5.0)


def test_an_answer_does_not_wait_for_the_pace() -> None:
    slot = Slot(Hello())
    for number in range(PUSHES_AT_ONCE):
        slot.offer(config(number + 1))
        slot.ack(slot.take(5.0).version)
    slot.offer(Config(hosts={"api.shop": Host()}), urgent=True)
    assert slot.wait(5.0) == 0
    slot.ack(slot.take(5.0).version)
    slot.offer(Config(hosts={"api.shop": Host(), "b.shop": Host()}), urgent=True)
    assert 0 < (slot.wait(5.0) or 0) <= 0.01


def test_of_what_a_sidecar_says_it_runs_on_no_more_is_kept_than_it_can_be() -> None:
    slot = Slot(Hello(version=1, digest="f" * 1_000_000))
    assert len(slot._known[1]) == len(digest(config(1)))
