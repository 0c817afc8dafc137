"""Which time-out is next, in the life of one exchange."""

from __future__ import annotations

import pytest

from proxy.contract.config import Policy, Retry
from proxy.expiry import NEVER, Expired, Limits, Moments

ALL = Limits.of(
    Policy(request_timeout=10.0, response_timeout=4.0, idle_timeout=2.0, retry=Retry(try_timeout=1.0)),
)


def test_no_policy_no_end() -> None:
    assert Limits.of(Policy()) == Limits() == Limits.of(Policy(retry=Retry()))
    assert Limits().next(Moments(1.0, 1.0, 1.0, 1.0, 1.0), repeats=True)[0] == NEVER


@pytest.mark.parametrize(
    ("what", "moments", "expected"),
    [
        ("waiting for an endpoint", Moments(began=100.0), (110.0, Expired.REQUEST)),
        ("a try has begun", Moments(began=100.0, tried=103.0), (104.0, Expired.TRY)),
        (
            "the body is being sent",
            Moments(began=100.0, tried=103.0, last=103.5),
            (104.0, Expired.TRY),
        ),
        (
            "the answer comes slowly",
            Moments(began=100.0, tried=103.0, sent=103.0, last=106.0, answered=103.9),
            (107.0, Expired.RESPONSE),
        ),
        (
            "the answer stands still",
            Moments(began=100.0, tried=103.0, sent=103.0, last=104.0, answered=103.9),
            (106.0, Expired.IDLE),
        ),
        (
            "the whole is nearly over",
            Moments(began=100.0, tried=109.5, sent=109.5, last=109.5),
            (110.0, Expired.REQUEST),
        ),
    ],
)
def test_the_first_to_run_out(what: str, moments: Moments, expected: tuple[float, Expired]) -> None:
    assert ALL.next(moments, repeats=True) == expected, what


def test_the_time_for_one_try_is_for_requests_that_can_be_tried_again() -> None:
    moments = Moments(began=100.0, tried=100.0, sent=100.0, last=100.0)

    assert ALL.next(moments, repeats=True) == (101.0, Expired.TRY)
    assert ALL.next(moments, repeats=False) == (102.0, Expired.IDLE)
