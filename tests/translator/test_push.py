"""The controller's end of the control stream, over real mTLS WebSockets; only the compiler and the clock are fakes."""

from __future__ import annotations

import asyncio
import dataclasses
from itertools import count
from pathlib import Path

import aiohttp
import msgspec
import pytest
from control import NAMESPACE, Applied, contexts, sidecar, subscribed, wire
from eventually import eventually
from pushing import Control, config, pod, ports, run

from proxy.contract.config import Cluster, Config, Endpoint, Host
from proxy.contract.messages import Ack, Ask, Hello, Nack, Push, encode
from proxy.errors import ConfigRejected
from proxy.subscribe import STREAM_PATH, Subscription
from proxy.tls import control_context
from smi.workloads import Pod
from translator.compiler import Compiled
from translator.identity.authority import Authority
from translator.identity.rollout import SidecarTrust
from translator.publish import PUSHES_AT_ONCE
from translator.reconcile import MAX_HOSTS, MAX_REASON_CHARS
from translator.stream import ACK_SECONDS
from translator.world import World


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("who", ["nobody", "the controller itself"])
def test_only_a_sidecar_gets_a_stream(authority: Authority, who: str, tmp_path: Path) -> None:
    async def scene(control: Control) -> None:
        context = control_context(None, authority.bundle)
        if who != "nobody":
            certificate, key = authority.issue_controller()
            (tmp_path / "pair").write_bytes(certificate + key)
            context.load_cert_chain(tmp_path / "pair")
        async with control.serving() as port, aiohttp.ClientSession() as session:
            answer = await session.get(f"https://127.0.0.1:{port}{STREAM_PATH}", ssl=context)
            assert answer.status == 403
            assert "certificate" in await answer.text()
        assert control.reconciler.subscribers == {}

    run(scene, authority)


def test_nothing_is_pushed_before_the_world_is_known(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        applied = Applied()
        async with (
            control.serving() as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), applied) as subscription,
        ):
            await eventually(lambda: control.reconciler.subscribers)
            assert control.reconciler.counts.compiles == 0
            control.want(config(1), pod("web-9"))
            await asyncio.sleep(0.05)
            assert applied.configs == [], "the world does not know this pod yet"
            control.want(config(1))
            await eventually(lambda: ports(subscription) == [1])
            control.want(config(2))
            await eventually(lambda: ports(subscription) == [2])
            await eventually(lambda: control.known("web-0").acknowledged == subscription.current)
            assert [one.version for one in applied.configs] == [1, 2]

    run(scene, authority)


def test_a_pod_of_another_account_gets_nothing(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1), pod("web-0", account="admin"))
        async with (
            control.serving() as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription,
        ):
            await eventually(lambda: control.reconciler.subscribers)
            await asyncio.sleep(0.05)
            assert control.reconciler.counts.compiles == 0
            assert subscription.current == Config()

    run(scene, authority)


def test_only_those_concerned_get_bytes(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello())
            first = await one.pushed()
            await one.say(Ack(version=first.version))
            control.want(config(1))
            control.want(config(1))
            await eventually(lambda: control.reconciler.counts.compiles >= 2)
            assert control.reconciler.counts.pushes == 1

    run(scene, authority)


def test_a_stuck_sidecar_does_not_delay_the_others_and_is_dropped(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        now = control.time()
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-1")) as stuck:
            await stuck.say(Hello())
            await stuck.pushed()  # and never a word again
            async with subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription:
                await eventually(lambda: ports(subscription) == [1])
                control.want(config(2))
                await eventually(lambda: ports(subscription) == [2])
                assert control.known("web-1").slot.in_flight is not None
                control.time = lambda: now + ACK_SECONDS + 1
                control.want(config(3))
                await eventually(lambda: ports(subscription) == [3])
                await stuck.ended()
                await eventually(lambda: control.known("web-1").connected_since is None)

    run(scene, authority)


def test_who_does_not_read_holds_nobody_up(authority: Authority) -> None:
    """More is pushed than the socket's buffers take."""
    huge = {f"shop/s{n}:80": Cluster(endpoints=(Endpoint(ip="10.0.0.1", port=80),) * 50) for n in range(4000)}

    async def scene(control: Control) -> None:
        plain = control.compile

        def compile_sidecar(world: World, of: Pod, hosts: frozenset[str]) -> Compiled:
            return Compiled(config=Config(clusters=huge)) if of.meta.name == "web-1" else plain(world, of, hosts)

        control.reconciler._compile = compile_sidecar
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-1")) as deaf:
            transport = deaf.transport
            transport.pause_reading()
            await deaf.say(Hello())
            await eventually(lambda: control.known("web-1").slot.in_flight)
            async with subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription:
                await eventually(lambda: ports(subscription) == [1])
                control.want(config(2))
                await eventually(lambda: ports(subscription) == [2])
            assert control.known("web-1").acknowledged is None
            transport.abort()

    run(scene, authority)


def test_a_thousand_changes_are_few_pushes_and_the_last_arrives(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.time = lambda: 100.0
        applied = Applied()
        async with (
            control.serving() as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), applied) as subscription,
        ):
            control.want(config(1))
            await eventually(lambda: ports(subscription) == [1])
            numbers = count(2)
            while len(applied.configs) < 1 + PUSHES_AT_ONCE:
                control.want(config(next(numbers)))
                await asyncio.sleep(0)
            for _ in range(1000):
                control.want(config(next(numbers)))
                await asyncio.sleep(0)
            assert control.reconciler.counts.pushes == 1 + PUSHES_AT_ONCE, "no time has passed: no more may go out"
            last = next(numbers)
            control.want(config(last))
            control.time = lambda: 101.0
            await eventually(lambda: ports(subscription) == [last])
            assert control.reconciler.counts.pushes <= 1 + 2 * PUSHES_AT_ONCE, "of more than a thousand changes"

    run(scene, authority)


def test_a_question_is_answered_at_once_also_with_no_and_again_when_it_changes(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with (
            control.serving() as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription,
        ):
            await eventually(lambda: subscription.current.version)
            assert await subscription.resolve("api.shop", 5) == Host()
            control.answers["api.shop"] = Host(pod={80: "shop/web:80"})
            control.want(config(1))
            await eventually(lambda: subscription.current.hosts["api.shop"] == control.answers["api.shop"])

    run(scene, authority)


def test_scope_is_bounded_and_the_oldest_goes_first(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello(hosts=("first.shop", "not a name", "second.shop")))
            await one.say(Ask(hosts=("first.shop", *(f"h{n}.shop" for n in range(MAX_HOSTS - 1)))))
            await eventually(lambda: "h0.shop" in control.known("web-0").hosts)
            hosts = list(control.known("web-0").hosts)
            assert len(hosts) == MAX_HOSTS
            assert hosts[0] == "first.shop", "asked for again, so no longer the oldest"

    run(scene, authority)


def test_a_refusal_is_kept_and_the_next_config_goes_out(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        applied = Applied()
        control.want(config(1))
        async with (
            control.serving() as port,
            subscribed(sidecar(port), contexts(authority, "web-0"), applied) as subscription,
        ):
            await eventually(lambda: ports(subscription) == [1])
            applied.objection = ConfigRejected("x" * 3 * MAX_REASON_CHARS)
            control.want(config(2))
            await eventually(lambda: control.known("web-0").refusal)
            refusal = control.known("web-0").refusal
            assert refusal is not None
            assert refusal.version == 2
            assert refusal.reason == "x" * MAX_REASON_CHARS
            assert control.known("web-0").acknowledged == subscription.current
            control.want(config(2))
            await asyncio.sleep(0.05)
            assert control.reconciler.counts.nacks == 1, "what was refused is not sent again"
            applied.objection = None
            control.want(config(3))
            await eventually(lambda: ports(subscription) == [3])

    run(scene, authority)


def test_a_sidecar_on_something_else_gets_a_whole_config(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello())
            await one.say(Ack(version=(await one.pushed()).version))
            control.want(config(2))
            delta = await one.pushed()
            assert delta.base == 1
            await one.say(Nack(reason="base 1 is not in force", current=0, version=delta.version))
            whole = await one.pushed()
            assert (whole.base, whole.clusters) == (0, config(2).clusters)
            assert whole.version > delta.version

    run(scene, authority)


def test_the_newest_stream_of_a_pod_counts(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        own = contexts(authority, "web-0")
        async with control.serving() as port, wire(port, own) as older, wire(port, own) as newer:
            await older.say(Hello())
            first = await older.pushed()
            await newer.say(Hello())
            second = await newer.pushed()
            assert second.version > first.version
            await older.ended()
            await newer.say(Ack(version=second.version))
            await eventually(lambda: control.known("web-0").acknowledged)
            control.want(config(2))
            assert (await newer.pushed()).base == second.version
            assert control.known("web-0").connected_since is not None

    run(scene, authority)


@pytest.mark.parametrize("frame", [b"\xc1", encode(Push(version=1)), encode(Hello())])
def test_a_broken_stream_ends_alone(authority: Authority, frame: bytes) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with (
            control.serving() as port,
            wire(port, contexts(authority, "web-1")) as one,
            subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription,
        ):
            await one.say(Hello())
            await one.pushed()
            await one.socket.send_bytes(frame)
            await one.ended()
            control.want(config(2))
            await eventually(lambda: ports(subscription) == [2])

    run(scene, authority)


def test_a_stream_begins_with_a_hello(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Ack(version=1))
            await one.ended()
            assert control.reconciler.subscribers == {}

    run(scene, authority)


def test_a_new_controller_goes_on_where_the_old_one_ended(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        applied = Applied()
        control.want(config(1))
        async with control.serving() as port:
            subscription = Subscription(
                sidecar(port), lambda: contexts(authority, "web-0"), applied, Config(), jitter=lambda: 0.99
            )
            running = asyncio.create_task(subscription.run())
            await eventually(lambda: subscription.current.version)
            assert await subscription.resolve("api.shop", 5) == Host()
        await eventually(lambda: not subscription.connected)
        assert ports(subscription) == [1], "without a controller the config stays"
        version = subscription.current.version

        successor = Control(authority)
        async with successor.serving(port):
            await eventually(lambda: subscription.connected)
            await eventually(lambda: successor.reconciler.subscribers)
            successor.want(config(1))
            await eventually(lambda: successor.known("web-0").acknowledged)
            assert successor.reconciler.counts.pushes == 0, "it runs on the very same already"
            assert successor.known("web-0").hosts == {"api.shop": None}
            successor.want(config(2))
            await eventually(lambda: ports(subscription) == [2])
            assert subscription.current.version == version + 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(scene, authority)


def test_what_cannot_be_compiled_or_encoded_stays_with_its_pod(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        control.broken = {"web-1"}
        async with control.serving() as port, wire(port, contexts(authority, "web-1")) as one:
            await one.say(Hello())
            async with subscribed(sidecar(port), contexts(authority, "web-0"), Applied()) as subscription:
                await eventually(lambda: ports(subscription) == [1])
                assert control.reconciler.counts.compile_failures == 1
                control.broken = set()
                control.want(config(2**70))
                await eventually(lambda: control.known("web-0").refusal)
                control.want(config(3))
                await eventually(lambda: ports(subscription) == [3])
                assert (await one.pushed()).clusters == config(3).clusters

    run(scene, authority)


def test_a_pod_that_is_gone_is_forgotten_when_its_stream_ends(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port:
            async with wire(port, contexts(authority, "web-0")) as one:
                await one.say(Hello())
                await one.pushed()
                control.want(config(1), pod("web-1"))
                assert control.reconciler.subscribers.keys() == {f"{NAMESPACE}/web-0"}
            await eventually(lambda: not control.reconciler.subscribers)

    run(scene, authority)


def test_whom_to_trust_is_a_part_of_every_config_and_its_acknowledgement_is_known(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        reconciler = control.reconciler
        assert reconciler.sidecar_trust() is None, "the world is not known"
        reconciler.trust_changed(authority.trust(generation=4))
        control.want(config(1))
        assert list(reconciler.sidecar_trust() or ()) == [], "pods that are not ready and were never heard of"
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello())
            push = await one.pushed()
            assert push.trust == authority.trust(generation=4)
            heard = SidecarTrust(pod=f"{NAMESPACE}/web-0", issuer=authority.key_id)
            assert list(reconciler.sidecar_trust() or ()) == [], "it is starting"
            await one.say(Ack(version=push.version))
            await eventually(
                lambda: list(reconciler.sidecar_trust() or ()) == [dataclasses.replace(heard, generation=4)]
            )

            reconciler.trust_changed(authority.trust(generation=5))
            push = await one.pushed()
            assert (push.trust, push.clusters) == (authority.trust(generation=5), {})
            await one.say(Ack(version=push.version))
            await eventually(
                lambda: list(reconciler.sidecar_trust() or ()) == [dataclasses.replace(heard, generation=5)]
            )
        after = dataclasses.replace(heard, generation=5)
        await eventually(lambda: control.known("web-0").connected_since is None)
        assert list(reconciler.sidecar_trust() or ()) == [after], "who is away for a moment is known still"

    run(scene, authority)


def test_a_ready_pod_is_waited_for_before_it_is_heard_of(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(
            config(1), dataclasses.replace(pod("web-0"), ready=True), dataclasses.replace(pod("x"), mesh_port=0)
        )
        assert list(control.reconciler.sidecar_trust() or ()) == [SidecarTrust(pod=f"{NAMESPACE}/web-0")]

    run(scene, authority)


def test_what_a_sidecar_says_looks_like_no_line_of_the_log(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello(build="b\nFAKE"))
            version = (await one.pushed()).version
            for _ in range(3):
                await one.say(Nack(reason="no\nFAKE", current=0, version=version))
            await one.socket.send_bytes(msgspec.msgpack.encode({"type": "x\nFAKE" * 100_000}))
            await one.ended()

    run(scene, authority)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("translator")]
    assert not any("\n" in text or len(text) > 2 * MAX_REASON_CHARS for text in said)
    assert sum("reason=no FAKE" in text for text in said) == 1, "one push was refused once"


def test_a_stray_answer_changes_nothing(authority: Authority) -> None:
    async def scene(control: Control) -> None:
        control.want(config(1))
        async with control.serving() as port, wire(port, contexts(authority, "web-0")) as one:
            await one.say(Hello())
            await one.say(Ack(version=(await one.pushed()).version))
            await eventually(lambda: control.known("web-0").acknowledged is not None)
            revision = control.reconciler.revision
            await one.say(Ack(version=77))
            await one.say(Nack(reason="no", current=0))
            await eventually(lambda: control.reconciler.counts.nacks == 1)
            assert control.reconciler.revision == revision, "nor makes it anybody look"

    run(scene, authority)
