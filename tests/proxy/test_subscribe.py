"""The sidecar's end of the control stream, against a real WebSocket over mTLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from control import Applied, ScriptedController, contexts, listening, sidecar, subscribed
from cryptography import x509
from eventually import eventually

from proxy import lastgood
from proxy.contract.config import Backend, Cluster, Config, Endpoint, Host, Port, Rule, Service
from proxy.contract.messages import Ack, Nack, Push, difference, encode
from proxy.contract.patch import digest
from proxy.errors import ConfigRejected, Unavailable
from proxy.subscribe import MAX_DELAY_SECONDS, Subscription, backoff, judge, read
from translator.identity.authority import Authority

WEB = Cluster(endpoints=(Endpoint(ip="127.80.0.2", port=8080),))
GOOD = Config(
    version=7,
    services={"shop/web": Service(ports={80: Port(cluster="shop/web:80")})},
    clusters={"shop/web:80": WEB},
)
DANGLING: dict[str, Service | None] = {"shop/api": Service(ports={80: Port(cluster="shop/api:80")})}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "authority")


def verdict(current: Config, frame: bytes) -> Config | Nack:
    """What becomes of a frame that is a push, or nothing at all."""
    message = read(current, frame)
    assert isinstance(message, Push | Nack)
    return judge(current, message) if isinstance(message, Push) else message


def whole(config: Config) -> bytes:
    return encode(difference(Config(), config))


# -- the decision -----------------------------------------------------------------------------------------------------


def test_a_whole_push_replaces_everything() -> None:
    before = Config(version=3, hosts={"old.shop": Host()})
    assert verdict(before, whole(GOOD)) == GOOD


def test_a_delta_changes_only_what_it_names() -> None:
    push = Push(version=8, base=7, clusters={"shop/web:80": Cluster()})
    after = verdict(GOOD, encode(push))
    assert isinstance(after, Config)
    assert after.services == GOOD.services
    assert after.clusters == {"shop/web:80": Cluster()}
    assert after.version == 8


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (b"\xff" * 40, "cannot be read"),
        (encode(Ack(version=8)), "cannot be read"),
        (whole(GOOD)[:-3], "cannot be read"),
        (encode(Push(version=8)).replace(b"\x08", b"\xa1x"), "cannot be read"),
        (encode(Push(version=9, base=8)), "base 8 is not in force"),
        (encode(Push(version=7, base=7)), "version 7 is not newer"),
        (encode(Push(version=6)), "version 6 is not newer"),
        (encode(Push(version=8, base=7, services=DANGLING)), "there is no cluster 'shop/api:80'"),
        (encode(Push(version=8, base=7, clusters={"shop/web:80": None})), "there is no cluster 'shop/web:80'"),
        (encode(Push(version=8, base=7, weights={"shop/web": (1,)})), "1 weights are too many"),
        (
            encode(Push(version=8, base=7, weights={"shop/api": (1,)})),
            "service shop/api: 1 weights, and it is not there",
        ),
    ],
)
def test_refused_with_a_reason(frame: bytes, reason: str) -> None:
    refused = verdict(GOOD, frame)
    assert isinstance(refused, Nack)
    assert reason in refused.reason
    assert refused.current == 7


def test_a_frame_that_cannot_be_read_has_no_version() -> None:
    assert verdict(GOOD, b"\x81") == Nack(reason=verdict(GOOD, b"\x81").reason, current=7)  # type: ignore[union-attr]


def test_backoff_begins_fast_doubles_and_ends_at_five_seconds() -> None:
    assert [backoff(n, 0.0) for n in (1, 2, 3)] == [0.05, 0.1, 0.2]
    assert backoff(1000, 0.0) == MAX_DELAY_SECONDS
    assert backoff(1000, 0.999) >= MAX_DELAY_SECONDS / 2
    assert backoff(3, 0.5) == pytest.approx(0.15)


# -- on the wire ------------------------------------------------------------------------------------------------------


def test_bad_frames_are_nacked_and_the_good_config_stays(authority: Authority, tmp_path: Path) -> None:
    async def main() -> None:
        controller, applied = ScriptedController(), Applied()
        async with listening(authority, controller.handle) as port:
            own = contexts(authority, "web-0")
            async with subscribed(sidecar(port, state=tmp_path), own, applied) as subscription:
                await eventually(lambda: controller.hellos)
                assert await controller.says(whole(GOOD)) == Ack(version=7)

                undecodable = await controller.refused(b"\x00\x01\x02")
                assert (undecodable.version, undecodable.current) == (0, 7)
                contradicting = await controller.refused(encode(Push(version=8, base=7, services=DANGLING)))
                assert (contradicting.version, contradicting.current) == (8, 7)
                assert "there is no cluster 'shop/api:80'" in contradicting.reason
                wrong_base = await controller.refused(encode(Push(version=9, base=5)))
                assert wrong_base.reason.startswith("base ")
                applied.objection = ConfigRejected("this table cannot be built")
                rejected = await controller.refused(encode(Push(version=10, base=7)))
                assert rejected.reason == "this table cannot be built"
                applied.objection = RuntimeError("a mistake of ours")
                assert "a mistake of ours" in (await controller.refused(encode(Push(version=11, base=7)))).reason

                assert applied.configs == [GOOD]
                assert subscription.current == GOOD
                await eventually(lambda: lastgood.load(tmp_path) == GOOD)
                assert len(controller.hellos) == 1, "the stream survived all of it"

                applied.objection = None
                assert await controller.says(encode(Push(version=12, base=7, clusters={"shop/web:80": Cluster()}))) == (
                    Ack(version=12)
                )
                await eventually(lambda: lastgood.load(tmp_path) == subscription.current)
                assert subscription.current.version == 12

    asyncio.run(main())


def test_a_text_frame_is_refused(authority: Authority) -> None:
    async def main() -> None:
        controller, applied = ScriptedController(), Applied()
        async with (
            listening(authority, controller.handle) as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), applied, GOOD),
        ):
            await eventually(lambda: controller.hellos)
            await controller.sockets[-1].send_str("{}")
            answer = await asyncio.wait_for(controller.answers.get(), 5)
            assert answer == Nack(reason="text frame", current=7)

    asyncio.run(main())


def test_hello_says_what_is_in_force_and_what_was_asked(authority: Authority) -> None:
    initial = Config(version=41, hosts={"api.shop": Host()})

    async def main() -> None:
        controller = ScriptedController()
        async with (
            listening(authority, controller.handle) as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied(), initial),
        ):
            await eventually(lambda: controller.hellos)
        (hello,) = controller.hellos
        assert (hello.version, hello.digest, hello.hosts) == (41, digest(initial), ("api.shop",))

    asyncio.run(main())


def test_a_name_is_asked_once_for_all_who_wait(authority: Authority) -> None:
    async def main() -> None:
        controller = ScriptedController()
        async with (
            listening(authority, controller.handle) as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied(), GOOD) as subscription,
        ):
            await eventually(lambda: controller.hellos)
            names = ("web.shop", "web.shop", "api.shop")
            waiting = asyncio.gather(*(subscription.resolve(name, 5) for name in names))
            await eventually(lambda: controller.asks)
            assert [ask.hosts for ask in controller.asks] == [("web.shop", "api.shop")]
            hosts: dict[str, Host | None] = {"web.shop": Host(service="shop/web"), "api.shop": Host()}
            assert await controller.says(encode(Push(version=8, base=7, hosts=hosts))) == Ack(version=8)
            assert await waiting == [Host(service="shop/web"), Host(service="shop/web"), Host()]
            assert await subscription.resolve("web.shop", 0) == Host(service="shop/web"), "no second question"
            assert len(controller.asks) == 1

    asyncio.run(main())


def test_an_unanswered_name_is_a_503_and_stays_asked(authority: Authority) -> None:
    async def main() -> None:
        controller = ScriptedController()
        async with (
            listening(authority, controller.handle) as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied(), GOOD) as subscription,
        ):
            await eventually(lambda: controller.hellos)
            patient = asyncio.create_task(subscription.resolve("api.shop", 5))
            await eventually(lambda: controller.asks)
            with pytest.raises(Unavailable) as caught:
                await subscription.resolve("api.shop", 0.01)
            assert caught.value.status == 503
            await controller.sockets[-1].close()
            await eventually(lambda: len(controller.hellos) == 2)
            assert controller.hellos[1].hosts == ("api.shop",), "a new stream begins with the open question"
            await controller.says(encode(Push(version=8, base=7, hosts={"api.shop": Host()})))
            assert await patient == Host(), "who waited longer gets the answer"

    asyncio.run(main())


def test_without_a_controller_nobody_waits_for_a_question_twice(authority: Authority) -> None:
    async def main() -> None:
        async with subscribed(sidecar(1), contexts(authority, "web-0"), Applied()) as subscription:
            with pytest.raises(Unavailable, match="did not answer"):
                await subscription.resolve("web.shop", 0.01)
            with pytest.raises(Unavailable, match="no controller"):
                await subscription.resolve("web.shop", 3600)

    asyncio.run(main())


def test_what_cannot_be_a_name_is_not_of_this_mesh(authority: Authority) -> None:
    async def main() -> None:
        async with subscribed(sidecar(1), contexts(authority, "web-0"), Applied()) as subscription:
            assert await subscription.resolve("a b/../c", 0) == Host()

    asyncio.run(main())


def test_whoever_is_not_the_controller_hears_nothing(authority: Authority) -> None:
    async def main() -> None:
        controller, applied = ScriptedController(), Applied()
        async with listening(authority, controller.handle) as port:
            expected = "spiffe://cluster.local/ns/smi-mesh/sa/somebody-else"
            settings = sidecar(port, identity=expected)
            async with subscribed(settings, contexts(authority, "web-0"), applied) as subscription:
                await asyncio.sleep(0.3)
                assert not subscription.connected
        assert controller.sockets == []

    asyncio.run(main())


def test_the_stream_comes_back_after_the_controller_died(authority: Authority) -> None:
    async def main() -> None:
        first, applied = ScriptedController(), Applied()
        own = contexts(authority, "web-0")
        async with (
            listening(authority, first.handle) as port,
            subscribed(sidecar(port), own, applied),
        ):
            await eventually(lambda: first.hellos)
            await first.says(whole(GOOD))
            request = first.sockets[-1]._req
            assert request is not None
            assert request.transport is not None
            request.transport.abort()
            await eventually(lambda: len(first.hellos) == 2)
            assert first.hellos[1].version == 7

    asyncio.run(main())


def test_only_the_service_in_force_is_kept_after_a_split_goes(authority: Authority) -> None:
    rule = Rule(split="shop/s", backends=(Backend(service="shop/web", cluster="shop/web:80", weight=1),))
    split = Config(
        version=8, services={"shop/web": Service(ports={80: Port(cluster="shop/web:80", rules=(rule,))})},
        clusters=GOOD.clusters,
    )  # fmt: skip
    there = verdict(GOOD, encode(difference(GOOD, split)))
    assert there == split
    back = Config(version=9, services=GOOD.services, clusters=GOOD.clusters)
    assert isinstance(there, Config)
    assert verdict(there, encode(difference(there, back))) == back


# -- certificates -----------------------------------------------------------------------------------------------------


def serial(controller: ScriptedController) -> int:
    """Of the certificate that the newest stream was opened with."""
    der = controller.sockets[-1].get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def test_the_stream_is_opened_anew_with_a_new_certificate(authority: Authority) -> None:
    async def main() -> None:
        controller, applied = ScriptedController(), Applied()
        async with listening(authority, controller.handle) as port:
            current = contexts(authority, "web-0")
            subscription = Subscription(sidecar(port), lambda: current, applied, Config(), jitter=lambda: 0.0)
            running = asyncio.create_task(subscription.run())
            try:
                await eventually(lambda: controller.hellos)
                first = serial(controller)
                assert await controller.says(whole(GOOD)) == Ack(version=7)
                current = contexts(authority, "web-0")
                subscription.reconnect()
                await eventually(lambda: len(controller.hellos) == 2)
                assert controller.hellos[1].version == 7
                assert serial(controller) != first
                await eventually(lambda: controller.sockets[0].closed)
                assert await controller.says(encode(Push(version=8, base=7))) == Ack(version=8)
                assert len(controller.hellos) == 2
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_a_question_that_is_open_when_the_certificate_changes_is_asked_again(authority: Authority) -> None:
    async def main() -> None:
        controller, applied = ScriptedController(), Applied()
        async with (
            listening(authority, controller.handle) as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), applied) as subscription,
        ):
            await eventually(lambda: controller.hellos)
            asking = asyncio.create_task(subscription.resolve("web.shop", 5))
            await eventually(lambda: controller.asks)
            subscription.reconnect()
            await eventually(lambda: len(controller.hellos) == 2)
            assert controller.hellos[1].hosts == ("web.shop",)
            await controller.says(encode(Push(version=1, hosts={"web.shop": Host()})))
            assert await asking == Host()

    asyncio.run(main())
