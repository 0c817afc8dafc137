"""What a client is told when retries, or the budget of them, were spent on failures of the sidecar's own."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from wire import App, play, playing, to, under

from proxy.contract.config import Endpoint, Retry

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"
ALWAYS = Retry(limit=3, statuses=((500, 599),), connect_failure=True, reset=True, backoff_min=0.0, backoff_max=0.0)
NO_BUDGET = replace(ALWAYS, budget_min=0.0, budget_ratio=0.0)


@pytest.mark.parametrize(
    ("retry", "why"),
    [
        pytest.param(ALWAYS, "retries-spent; no retries left, last connect-failure: 127.0.0.1:1: ", id="limit"),
        pytest.param(NO_BUDGET, "retries-spent; no budget left, last connect-failure: 127.0.0.1:1: ", id="budget"),
        pytest.param(
            replace(ALWAYS, connect_failure=False, statuses=()), "connect-failure; 127.0.0.1:1: ", id="neither"
        ),
    ],
)
def test_a_failure_of_the_sidecars_own_says_whether_retries_were_spent_on_it(retry: Retry, why: str) -> None:
    async def scene() -> None:
        async with playing(under(to(Endpoint(ip="127.0.0.1", port=1)), retry)) as mesh:
            answer = await mesh.ask(GET)
            assert answer.status == 502
            assert answer.headers["smi-mesh-reason"].startswith(why)
            assert mesh.sidecar.counters.refusals() == {("outbound", answer.reason): 1}

    play(scene())


def test_a_connection_that_breaks_every_time_is_502_with_its_retries_spent() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), replace(ALWAYS, limit=1))) as mesh:
            client = await mesh.client()
            client.send(GET)
            for _ in range(2):
                upstream = await app.accepted()
                await upstream.got(SENT)
                upstream.abort()
            answer = await client.answer()
            assert answer.status == 502
            assert "no retries left, last reset: " in answer.headers["smi-mesh-reason"]

    play(scene())
