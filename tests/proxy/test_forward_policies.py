"""A Service's policy on the wire: what is sent again, what is waited for, what runs out."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from eventually import eventually
from msgspec.structs import replace
from wire import OK, Answering, App, End, Playing, play, playing, split, to, under

from proxy.contract.config import Breaker, Cluster, Config, HttpMatch, Retry

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbody"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"
ALWAYS = Retry(limit=3, statuses=((500, 599),), connect_failure=True, reset=True, backoff_min=0.0, backoff_max=0.0)


def in_time(config: Config, time: str) -> Config:
    """``config`` with one time-out at ``web``."""
    return under(config, **{time: 0.05})  # type: ignore[arg-type]


def broken(config: Config, breaker: Breaker) -> Config:
    """``config`` with a breaker at ``web``."""
    cluster = replace(config.clusters["default/web:80"], breaker=breaker)
    return replace(config, clusters={**config.clusters, "default/web:80": cluster})


def flaky(*answers: bytes) -> App:
    """An application that gives these answers in turn, the last one for ever."""
    turn = count()
    return App(lambda _: answers[min(next(turn), len(answers) - 1)])


def halves(one: App, other: App) -> Config:
    """A split of ``web`` in two."""
    return split((1, [one]), (1, [other]))


def test_a_failed_answer_is_never_seen_where_another_try_succeeds() -> None:
    async def scene() -> None:
        async with flaky(BUSY, BUSY, OK) as app, playing(under(to(app), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await client.got(OK)
            assert len(app.requests) == 3
            assert len(app.ends) == 1, "an answer that is whole leaves its connection to the next try"

    play(scene())


def test_a_retry_goes_elsewhere_while_there_is_another_endpoint() -> None:
    async def scene() -> None:
        async with flaky(BUSY) as bad, flaky(OK) as good, playing(under(to(bad, good), ALWAYS)) as mesh:
            for number in range(1, 11):
                assert (await mesh.ask(GET)).status == 200
                assert len(good.requests) == number

    play(scene())


def test_a_retry_draws_among_the_backends_again() -> None:
    async def scene() -> None:
        async with flaky(BUSY) as bad, flaky(OK) as good, playing(under(halves(bad, good), ALWAYS)) as mesh:
            for _ in range(10):
                assert (await mesh.ask(GET)).status == 200
            assert bad.requests != []

    play(scene())


def test_the_limit_is_the_limit_and_the_last_answer_is_the_applications() -> None:
    async def scene() -> None:
        async with flaky(BUSY) as app, playing(under(to(app), ALWAYS)) as mesh:
            answer = await mesh.ask(GET)
            assert (answer.status, answer.body, answer.reason) == (503, b"busy", "")
            assert len(app.requests) == 4

    play(scene())


def test_the_budget_is_one_for_all_requests_to_a_service() -> None:
    async def scene() -> None:
        retry = replace(ALWAYS, limit=10, budget_ratio=0.0, budget_min=1.0, budget_ttl=5.0)
        async with flaky(BUSY) as app, playing(under(to(app), retry)) as mesh:
            for _ in range(3):
                assert (await mesh.ask(GET)).status == 503
            assert 3 + 5 <= len(app.requests) <= 3 + 5 + 1

    play(scene())


@pytest.mark.parametrize(
    ("request_", "routes", "times"),
    [
        (POST, None, 1),
        (POST, (HttpMatch(methods=("POST",)),), 4),
        (POST, (HttpMatch(methods=("*",)),), 1),
        (GET, (HttpMatch(path="/other"),), 1),
        (GET, (HttpMatch(path="/other"), HttpMatch(path="/$")), 4),
    ],
    ids=["POST", "POST by name", "POST by *", "other route", "route"],
)
def test_what_is_repeated(request_: bytes, routes: tuple[HttpMatch, ...] | None, times: int) -> None:
    async def scene() -> None:
        async with Bodies(BUSY) as app, playing(under(to(app), replace(ALWAYS, routes=routes))) as mesh:
            assert (await mesh.ask(request_)).status == 503
            await eventually(lambda: len(app.requests) == times)
            assert {request.endswith(b"body") for request in app.requests} == {request_ is POST}

    play(scene())


class Bodies(App):
    """Answers when it has the whole request, with one answer to all."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    def _end(self) -> End:
        return Reader(self, self._answer)


class Reader(End):
    def __init__(self, app: App, answer: bytes) -> None:
        super().__init__(app.ends.append)
        self._app, self._answer = app, answer

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        whole = bytes(self.received)
        if whole.endswith((b"\r\n\r\n", b"body")) and (b"content-length" not in whole or whole.endswith(b"body")):
            self.received.clear()
            self._app.requests.append(whole)
            self.transport.write(self._answer)


@pytest.mark.parametrize(("size", "times"), [(64 * 1024, 2), (64 * 1024 + 1, 1)])
def test_a_body_is_sent_again_as_far_as_it_is_kept(size: int, times: int) -> None:
    async def scene() -> None:
        body = b"x" * size
        async with App() as app, playing(under(to(app), replace(ALWAYS, limit=1))) as mesh:
            client = await mesh.client()
            client.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n" % size, body)
            upstream = await app.accepted()
            for _ in range(times):
                await upstream.until(b"\r\n\r\n")
                await upstream.got(body)
                upstream.send(BUSY)
            assert (await client.answer()).status == 503

    play(scene())


def test_a_connection_that_breaks_before_its_answer_is_retried() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(GET)
            first = await app.accepted()
            await first.got(SENT)
            first.abort()
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())


def test_an_answer_that_has_begun_is_not_taken_back() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await client.until(b"half")
            upstream.close()
            await client.wait(lambda: client.ended, "a reset")
            assert len(app.ends) == 1

    play(scene())


def test_a_failed_answer_whose_body_is_still_coming_gives_way_at_once() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(GET)
            first = await app.accepted()
            await first.got(SENT)
            first.send(b"HTTP/1.1 503 Busy\r\ncontent-length: 1000\r\n\r\nbegun")
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)
            await first.wait(lambda: first.ended, "the end of the discarded answer")

    play(scene())


def test_a_client_that_goes_away_between_two_tries_ends_them() -> None:
    async def scene() -> None:
        slow = replace(ALWAYS, backoff_min=60.0, backoff_max=60.0)
        async with flaky(BUSY) as app, playing(under(to(app), slow)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await eventually(lambda: len(app.requests) == 1)
            client.abort()
            await eventually(lambda: mesh.open_exchanges() == 0)

    play(scene())


# -- time-outs ---------------------------------------------------------------------------------


def test_a_try_that_takes_too_long_is_retried_elsewhere() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), replace(ALWAYS, try_timeout=0.05))) as mesh:
            client = await mesh.client()
            client.send(GET)
            silent = await app.accepted()
            await silent.got(SENT)
            second = await app.accepted()
            await second.got(SENT)
            second.send(OK)
            await client.got(OK)

    play(scene())


def test_the_last_try_that_takes_too_long_is_504() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(app), replace(ALWAYS, limit=1, try_timeout=0.03))) as mesh:
            answer = await mesh.ask(GET)
            assert (answer.status, answer.reason) == (504, "retries-spent")
            assert len(app.ends) == 2

    play(scene())


@pytest.mark.parametrize("time", ["request_timeout", "response_timeout", "idle_timeout"])
def test_a_silent_application_is_504(time: str) -> None:
    async def scene() -> None:
        async with App() as app, playing(in_time(to(app), time)) as mesh:
            client = await mesh.client()
            client.send(GET)
            answer = await client.answer()
            assert (answer.status, answer.reason) == (504, "timeout")
            client.send(GET)
            assert (await client.answer()).status == 504, "the connection is kept"

    play(scene())


@pytest.mark.parametrize("time", ["request_timeout", "response_timeout", "idle_timeout"])
def test_an_answer_that_stops_is_broken_off(time: str) -> None:
    async def scene() -> None:
        async with App() as app, playing(in_time(to(app), time)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            await client.until(b"half")
            await client.wait(lambda: client.ended, "a reset")
            assert isinstance(client.error, ConnectionResetError)

    play(scene())


def test_progress_puts_silence_off() -> None:
    async def scene() -> None:
        now = asyncio.get_running_loop().time
        async with App() as app, playing(under(to(app), idle_timeout=1.0)) as mesh:
            client = await mesh.client()
            client.send(GET)
            upstream = await app.accepted()
            await upstream.got(SENT)
            upstream.send(b"HTTP/1.1 200 OK\r\n\r\n")
            end = now() + 1.5
            while now() < end:
                upstream.send(b"x")
                await client.until(b"x")
            upstream.close()
            await client.until(b"0\r\n\r\n")

    play(scene())


# -- waiting for an endpoint -----------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, POST])
def test_with_a_retry_policy_a_request_waits_for_an_endpoint(request_: bytes) -> None:
    async def scene() -> None:
        async with Bodies(OK) as app, playing(under(to(), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(request_)
            await eventually(lambda: mesh.open_exchanges() == 1)
            mesh.sidecar.apply(under(to(version=2), ALWAYS))
            mesh.sidecar.apply(under(to(app, version=3), ALWAYS))
            await client.got(OK)

    play(scene())


def test_waiting_ends_with_the_requests_own_time() -> None:
    async def scene() -> None:
        async with playing(under(to(), ALWAYS, request_timeout=0.05)) as mesh:
            answer = await mesh.ask(GET)
            assert (answer.status, answer.reason) == (503, "no-endpoint")

    play(scene())


def test_a_client_that_goes_away_waits_no_longer() -> None:
    async def scene() -> None:
        async with App() as app, playing(under(to(), ALWAYS)) as mesh:
            client = await mesh.client()
            client.send(GET)
            await eventually(lambda: mesh.open_exchanges() == 1)
            client.abort()
            await eventually(lambda: mesh.open_exchanges() == 0)
            mesh.sidecar.apply(under(to(app, version=2), ALWAYS))
            assert (await mesh.ask(GET.replace(b"web", b"nowhere.else"))).status == 502
            assert app.ends == []

    play(scene())


def test_without_a_retry_policy_nobody_waits() -> None:
    async def scene() -> None:
        async with playing(under(to(), request_timeout=30.0)) as mesh:
            answer = await mesh.ask(GET)
            assert (answer.status, answer.reason) == (503, "no-endpoint")

    play(scene())


# -- breaking ------------------------------------------------------------------------------------

QUICK = Breaker(consecutive_failures=2, min_penalty=0.05, max_penalty=0.05)


def test_an_endpoint_that_fails_in_a_row_is_left_alone() -> None:
    async def scene() -> None:
        patient = Breaker(consecutive_failures=2, min_penalty=600.0, max_penalty=600.0)
        async with flaky(BUSY) as bad, flaky(OK) as good, playing(broken(to(bad, good), patient)) as mesh:
            for _ in range(60):
                await mesh.ask(GET)
            assert len(bad.requests) <= 2
            assert len(good.requests) >= 58

    play(scene())


class Breaking(App):
    """Its answers break in the middle."""

    def __init__(self) -> None:
        super().__init__(lambda _: HALF)

    def _end(self) -> End:
        return BreaksOff(self)


class BreaksOff(Answering):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.close()


async def to_the_end(mesh: Playing) -> None:
    """Sends a GET; returns when its connection has ended, with a whole answer or in the middle of one."""
    client = await mesh.client()
    client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await client.wait(lambda: client.ended, "the end")


def test_an_endpoint_whose_answers_break_in_the_middle_is_left_alone() -> None:
    async def scene() -> None:
        patient = Breaker(consecutive_failures=2, min_penalty=600.0, max_penalty=600.0)
        async with Breaking() as bad, flaky(OK) as good, playing(broken(to(bad, good), patient)) as mesh:
            for _ in range(60):
                await to_the_end(mesh)
            assert len(bad.requests) <= 2
            assert len(good.requests) >= 58

    play(scene())


def test_an_endpoint_that_falls_silent_in_the_middle_of_an_answer_is_left_alone() -> None:
    async def scene() -> None:
        patient = Breaker(consecutive_failures=2, min_penalty=600.0, max_penalty=600.0)
        async with flaky(HALF) as app, playing(under(broken(to(app), patient), idle_timeout=0.05)) as mesh:
            for _ in range(2):
                await to_the_end(mesh)
            assert (await mesh.ask(GET)).reason == "breaker-open"
            assert len(app.requests) == 2

    play(scene())


def test_with_all_endpoints_ejected_requests_fail_at_once_until_a_probe_succeeds() -> None:
    async def scene() -> None:
        async with flaky(BUSY, BUSY, OK) as app, playing(broken(to(app), QUICK)) as mesh:
            answers = [await mesh.ask(GET) for _ in range(3)]
            assert [(answer.status, answer.reason) for answer in answers] == [
                (503, ""),
                (503, ""),
                (503, "breaker-open"),
            ]
            client = await mesh.client()

            async def served() -> bool:
                client.send(GET)
                return (await client.answer()).status == 200

            for _ in range(2000):
                if await served():
                    break
            assert len(app.requests) == 3

    play(scene())


def test_a_backend_that_is_ejected_leaves_its_share_to_the_others() -> None:
    async def scene() -> None:
        patient = Breaker(consecutive_failures=1, min_penalty=600.0, max_penalty=600.0)
        async with flaky(BUSY) as bad, flaky(OK) as good:
            config = halves(bad, good)
            root = Cluster(breaker=patient)
            async with playing(replace(config, clusters={**config.clusters, "default/web:80": root})) as mesh:
                statuses = [(await mesh.ask(GET)).status for _ in range(20)]
                assert sorted(statuses) == [200] * 19 + [503]

    play(scene())


# -- amplification ---------------------------------------------------------------------------------


def test_a_call_given_up_marks_the_failure_of_whoever_was_being_answered() -> None:
    """The pod's own application calls web in vain while it answers a request."""

    async def scene() -> None:
        async with App() as own, flaky(BUSY) as web:
            allow = replace(
                under(to(web), replace(ALWAYS, limit=1)), inbound=replace(to().inbound, default_policy="allow")
            )
            async with playing(allow, app=own) as mesh:
                caller = await mesh.client(mesh.clear)
                caller.send(b"GET / HTTP/1.1\r\nHost: own\r\n\r\n")
                application = await own.accepted()
                await application.until(b"\r\n\r\n")
                assert (await mesh.ask(GET)).status == 503
                application.send(BUSY)
                answer = await caller.answer()
                assert (answer.status, answer.headers.get("smi-mesh-retry")) == (503, "spent")
                caller.send(b"GET / HTTP/1.1\r\nHost: own\r\n\r\n")
                await application.until(b"\r\n\r\n")
                application.send(BUSY)
                assert "smi-mesh-retry" not in (await caller.answer()).headers

    play(scene())
