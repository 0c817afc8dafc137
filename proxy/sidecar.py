"""One sidecar put together: identity, subscription, tables, listeners, admin, and the end of it all.

Everything that changes the data path goes through ``Sidecar.apply``: a new
config becomes a new table or is rejected, in one step.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import Popen
from time import monotonic
from typing import Any

from proxy import lastgood, prometheus
from proxy.accesslog import AccessLog
from proxy.admin import Pages, Status, admin_pages, order_pages
from proxy.alarms import Alarms
from proxy.contract.check import contradictions
from proxy.contract.config import Config, File, own_addresses, spiffe_id
from proxy.contract.report import Direction
from proxy.counters import Counters
from proxy.deadlines import Deadlines
from proxy.errors import SettingsError
from proxy.forwarding import Forwarding, Router
from proxy.identity import WorkloadIdentity
from proxy.inbound import Inbound
from proxy.listeners import ListenerSet, bound_sockets, listening
from proxy.outbound import Outbound
from proxy.probes import Probes
from proxy.redirected import is_redirected
from proxy.reporting import Reporter
from proxy.retry import Amplification
from proxy.subscribe import Subscription
from proxy.table import Lasting, Table
from proxy.tls import Contexts
from proxy.transports import Transports

# Seconds that requests under way may take to end once the sidecar has been told to stop.
DRAIN_TIMEOUT = 10.0
# Seconds between looks whether they have.
DRAIN_STEP = 0.05
# Seconds between looks whether the pod's connections are redirected.
REDIRECTED_STEP = 0.02
# Seconds until every caller has heard that this pod ends; the controller tells them within a second.
PROPAGATION = 3.0
# Seconds after that for requests that take long; the pod's grace period is 30 s by default.
LET_GO_TIMEOUT = 20.0
# The Unix socket for orders, in the folder of the sidecar's own state.
ORDERS = "admin.sock"
# Seconds for the controller to take the last report; it answers in milliseconds when it is there and not overloaded.
LAST_REPORT_TIMEOUT = 3.0

log = logging.getLogger("proxy.sidecar")


class Sidecar:
    """The state of the process. ``table`` is the routing table in force, ``making`` the child that makes a key."""

    def __init__(
        self, file: File, loop: asyncio.AbstractEventLoop, making: Popen[bytes] | None = None
    ) -> None:  # fmt: skip
        self._file = file
        self._loop = loop
        self._settings = file.sidecar
        self._own = spiffe_id(self._settings.trust_domain, self._settings.namespace, self._settings.service_account)
        self._lasting = Lasting(f"{self._settings.namespace}/{self._settings.pod}", monotonic)
        self._amplification = Amplification()
        self.contexts: Contexts | None = None
        self._identity = self._own_identity(making)
        self.table = self._build(Config())
        self.counters = Counters()
        self._reporter = Reporter(self.counters, secrets.token_hex(8), loop.time, random.random)
        self._access_log = AccessLog(self._settings.access_log, loop) if self._settings.access_log else None
        self._deadlines = Deadlines(loop)
        self._alarms = Alarms(loop)
        self._tasks: asyncio.TaskGroup
        self._subscription: Subscription | None = None
        self._calls = outbound = Outbound(self._settings, lambda: self.table, lambda: self._subscription)
        self._apps = inbound = Inbound(self._settings, lambda: self.table, monotonic)
        outbound.forwarding = self._outbound = self._forwarding("outbound", outbound)
        inbound.forwarding = self._inbound = self._forwarding("inbound", inbound)
        initial = self._initial()
        if self._settings.control is not None:
            self._subscription = Subscription(
                self._settings, self._current_contexts, self.apply, initial, reporter=self._reporter
            )

    def _forwarding(self, direction: Direction, router: Router) -> Forwarding:
        return Forwarding(
            loop=self._loop,
            direction=direction,
            router=router,
            deadlines=self._deadlines,
            alarms=self._alarms,
            counters=self.counters,
            amplification=self._amplification,
            trust_domain=self._settings.trust_domain,
            contexts=lambda: self.contexts,
            spawn=self._spawn,
            own=own_addresses(self._settings.listeners),
            transports=Transports(direction),
            access_log=self._access_log,
        )

    def _initial(self) -> Config:
        """The config to start with: the last good one on disk, else what the file gives."""
        given = self._file.config
        kept = lastgood.load(Path(self._settings.state)) if self._settings.state else None
        for config in (kept, given):
            if config is None or config == Config():
                continue
            reasons = contradictions(config)
            if reasons and config is given:
                raise SettingsError("the config contradicts itself: " + "; ".join(reasons))
            if reasons:
                log.warning("last good config not used reason=%s", "; ".join(reasons))
                continue
            self._put_in_force(config)
            return config
        return Config()

    def _own_identity(self, making: Popen[bytes] | None) -> WorkloadIdentity | None:
        if self._settings.tls is None:
            return None
        return WorkloadIdentity(
            self._settings,
            on_rotate=self._rotated,
            now=lambda: datetime.now(UTC),
            random=random.random,
            making=making,
        )

    def _build(self, config: Config) -> Table:
        return Table(config, self._lasting, self._own)

    def apply(self, config: Config) -> None:
        """Put ``config`` in force in one step, its trust too. Raises ``ConfigRejected`` and changes nothing."""
        self._put_in_force(config)
        if config.trust is not None and self._identity is not None:
            self._identity.told(config.trust)

    def _put_in_force(self, config: Config) -> None:
        table = self._build(config)
        self.table = table
        self._lasting.keep(table)
        self._calls.table_changed()
        self._apps.judge_upgrades()

    def _rotated(self, contexts: Contexts) -> None:
        """Connections from now on use ``contexts``; those that are open serve what is under way and no more."""
        renewed = self.contexts is not None and self.contexts.own != contexts.own
        self.contexts = contexts
        self._lasting.endpoints.retire()
        if renewed and self._subscription is not None:
            self._subscription.reconnect()

    def _current_contexts(self) -> Contexts:
        if self.contexts is None:
            raise SettingsError("no certificate yet")
        return self.contexts

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> object:
        guarded = _guarded(coroutine)
        try:
            return self._tasks.create_task(guarded)
        except RuntimeError:
            # The sidecar has just stopped; the connection this was for is being aborted.
            guarded.close()
            coroutine.close()
            return None

    def status(self) -> Status:
        """For the admin port."""
        subscription = self._subscription
        configured = subscription is None or subscription.current.version > 0
        return Status(
            ready=configured and (self._settings.tls is None or self.contexts is not None),
            version=self.table.config.version,
            expires=self.contexts.own.expires if self.contexts is not None else None,
            connected=subscription is not None and subscription.connected,
            last_nack=subscription.last_nack if subscription is not None else "",
        )

    def metrics(self) -> Iterator[str]:
        """For the admin port: Prometheus' text, in pieces."""
        settings, status = self._settings, self.status()
        gauges = {
            prometheus.VERSION: float(status.version),
            prometheus.CONNECTED: float(status.connected),
            prometheus.LOG_DROPPED: float(self._access_log.dropped if self._access_log is not None else 0),
        }
        if status.expires is not None:
            gauges[prometheus.EXPIRY] = status.expires.timestamp()
        snapshot = prometheus.Snapshot(
            series=list(self.counters.items()),
            transports=[*self._outbound.transports.items(), *self._inbound.transports.items()],
            refusals=self.counters.refusals(),
            retried=self._lasting.budgets.retried(),
            gauges=gauges,
        )
        own = prometheus.Own(settings.namespace, settings.pod, settings.workload_kind, settings.workload)
        return prometheus.exposition(own, snapshot)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``, then drain. Raises ``OSError`` when an address is taken."""
        listeners = ListenerSet(self._settings.listeners, self._calls, self._apps, lambda: self.contexts)
        admin = await self._open_admin()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await listeners.open()
                background = asyncio.create_task(self._keep_current(), name="identity and subscription")
                background.add_done_callback(_tell)
                await stop.wait()
                await self._drain()
                listeners.close()
                for forwarding in (self._outbound, self._inbound):
                    for connection in list(forwarding.connections):
                        connection.transport.abort()
                await self._reporter.flush(LAST_REPORT_TIMEOUT)
                background.cancel()
                await asyncio.gather(background, return_exceptions=True)
                self._lasting.endpoints.retire()
                self._apps.retire_idle()
                raise _Stopped
        except* _Stopped:
            pass
        finally:
            listeners.close()
            if self._access_log is not None:
                self._access_log.close()
            for pages in admin:
                await pages.close()

    async def _keep_current(self) -> None:
        """Certificates and configs, for as long as the sidecar runs."""
        if self._settings.listeners.transparent and self._settings.state:
            while not is_redirected(Path(self._settings.state)):  # noqa: ASYNC110
                await asyncio.sleep(REDIRECTED_STEP)
        async with asyncio.TaskGroup() as group:
            if self._identity is not None:
                group.create_task(self._identity.run(), name="identity")
                await self._identity.ready()
            group.create_task(self._reporter.tidy(), name="counters")
            if self._subscription is not None:
                group.create_task(self._subscription.run(), name="subscription")

    async def _open_admin(self) -> list[Pages]:
        """The admin port, and in a pod the socket for orders."""
        settings, listeners = self._settings, self._settings.listeners
        opened: list[Pages] = []
        if listeners.admin:
            probes = Probes(settings.probes, settings.app_address or listeners.address)
            # Not in a cluster: an API server that passes a question on to a pod leaves its own name in Host.
            domain = None if listeners.transparent else settings.cluster_domain
            audit = self._apps.auditor.shown
            opened.append(admin_pages(self.status, lambda: self.table.config, self.metrics, audit, probes, domain))
            await opened[-1].open(bound_sockets(listening(listeners), listeners.admin))
        if listeners.transparent and settings.state:
            opened.append(order_pages(self.let_go))
            await opened[-1].open_unix(str(Path(settings.state, ORDERS)))
        return opened

    async def let_go(self) -> None:
        """The pod's end has begun: callers are asked to go elsewhere, and served until they have."""
        self._inbound.draining = True
        await asyncio.sleep(PROPAGATION)
        deadline = self._loop.time() + LET_GO_TIMEOUT
        while self._loop.time() < deadline and any(one.exchange is not None for one in self._inbound.connections):  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_STEP)

    async def _drain(self) -> None:
        """Let requests under way end; each answer from now on ends its connection."""
        deadline = self._loop.time() + DRAIN_TIMEOUT
        for forwarding in (self._outbound, self._inbound):
            forwarding.draining = True
            for connection in list(forwarding.connections):
                connection.drain()
        while self._loop.time() < deadline and (self._outbound.connections or self._inbound.connections):  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_STEP)


def _tell(background: asyncio.Task[None]) -> None:
    """Requests are served on with what there is, but somebody has to know."""
    if not background.cancelled() and background.exception() is not None:
        log.error("no more certificates and configs from now on", exc_info=background.exception())


class _Stopped(Exception):
    """Ends the task group: connections being opened have nobody left to serve."""


async def _guarded(coroutine: Coroutine[Any, Any, None]) -> None:
    """A mistake in one request's task is logged; it must not end the others."""
    try:
        await coroutine
    except Exception:
        log.exception("a request's task failed")
