"""What changes all the time somewhere does not hold up what is changed once; what is dear is done rarely."""

from __future__ import annotations

from translator.kube.pace import LEAST, MOST, SHARE, rest


def test_where_worlds_cost_little_the_next_change_waits_little() -> None:
    assert rest(0.0) == rest(0.0002) == LEAST < 0.01
    assert rest(0.001) == 0.001 * SHARE


def test_where_they_cost_much_it_waits_for_a_tenth_of_a_second_at_most() -> None:
    assert rest(0.05) == rest(30.0) == MOST


def test_it_is_never_more_than_a_tenth_of_the_time_unless_one_takes_longer_than_that() -> None:
    for microseconds in range(1, 10_000, 7):
        cost = microseconds / 1e6
        assert cost <= rest(cost) / SHARE + 1e-12
