"""A controller for tests of enrolment: the real authority and handler behind real TLS, with a clock and a log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from aiohttp import web

from proxy.contract.config import Control, Listeners, Sidecar, TlsFiles, Trust
from proxy.identity import WorkloadIdentity
from proxy.tls import Contexts
from translator.identity.authority import Authority
from translator.identity.enrol import PATH, enrolment
from translator.identity.serving import serving_context
from translator.identity.subject import SidecarIdentity
from translator.identity.tokens import mint, verify

KEY = b"k" * 32
"""What the mesh's tokens are signed with."""

WEB = SidecarIdentity(namespace="shop", service_account="web", pod="web-0")
LIFETIME = timedelta(seconds=100)
"""Short, so that a clock set ahead by half of it still agrees with TLS, which looks at the real one."""


@dataclass
class Clock:
    """Real time plus what a test adds."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pass_(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@dataclass
class Controller:
    """``asked`` has one entry for each request: what it was proved with, and the answer's status.

    ``trust`` is what is told with each certificate.
    """

    authority: Authority
    trust: Trust
    port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def control(self) -> Control:
        return Control(address="127.0.0.1", port=self.port, identity=self.authority.controller_identity)


@asynccontextmanager
async def controller(authority: Authority, clock: Clock, port: int = 0) -> AsyncIterator[Controller]:
    running = Controller(authority, authority.trust())

    async def proved(token: str) -> SidecarIdentity:
        return verify(KEY, token)

    handle = enrolment(lambda: (replace(running.authority, now=clock.now), running.trust), proved, LIFETIME)

    async def noting(request: web.Request) -> web.Response:
        answer = await handle(request)
        running.asked.append(("token" if "Authorization" in request.headers else "certificate", answer.status))
        return answer

    application = web.Application()
    application.router.add_post(PATH, noting)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=serving_context(authority), reuse_address=True)
    await site.start()
    running.port = runner.addresses[0][1]
    try:
        yield running
    finally:
        await runner.cleanup()


@dataclass
class Pod:
    """A pod's folder and what its sidecar was told."""

    folder: Path
    authority: Authority
    rotated: list[Contexts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.give(mint(KEY, WEB) + "\n")
        self.trust(self.authority.bundle)

    def trust(self, bundle: str) -> None:
        fresh = self.folder / "bundle.new"
        fresh.write_text(bundle)
        fresh.rename(self.folder / "bundle.pem")

    def give(self, token: str) -> None:
        (self.folder / "token").write_text(token)

    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    def key(self) -> bytes:
        return (self.folder / "tls.key").read_bytes()

    def fill_disk(self) -> None:
        """From now on no new key file can be written."""
        (self.folder / "tls.key.new").mkdir()

    @property
    def files(self) -> TlsFiles:
        folder = self.folder
        return TlsFiles(
            bundle=str(folder / "bundle.pem"),
            certificate=str(folder / "tls.crt"),
            key=str(folder / "tls.key"),
            token=str(folder / "token"),
        )

    def sidecar(self, control: Control | None) -> Sidecar:
        return Sidecar(
            pod=WEB.pod,
            namespace=WEB.namespace,
            service_account=WEB.service_account,
            listeners=Listeners(address="127.0.0.1"),
            tls=self.files,
            control=control,
            state=str(self.folder),
        )


NOBODY = Control(address="127.0.0.1", port=9, identity="spiffe://cluster.local/ns/smi-mesh/sa/smi-mesh-controller")
"""Where no controller is."""


def identity_of(pod: Pod, control: Control | None, clock: Clock) -> WorkloadIdentity:
    return WorkloadIdentity(pod.sidecar(control), on_rotate=pod.rotated.append, now=clock.now, random=lambda: 0.0)


def run(main: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 30))


async def wait(identity: WorkloadIdentity, clock: Clock, until: Callable[[], object], steps: int = 20) -> None:
    """Steps through time as ``run`` would, at once."""
    for _ in range(steps):
        delay = await identity.step()
        if until():
            return
        clock.pass_(delay)
    raise AssertionError("not within the steps")
