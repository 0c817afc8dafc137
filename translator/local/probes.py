"""Readiness: asks an app, a sidecar or the controller whether it can serve.

``watch`` follows one process for as long as it lives; what to ask is a ``Check``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from smi.workloads import Container
from translator.local.addresses import listen_port
from translator.local.environment import NotStartable
from translator.local.listening import Listening
from translator.local.processes import Command, Process

Check = Callable[[], Awaitable[str]]
"""Asks once: the empty string is a yes, anything else says why not."""

EAGER_PERIOD = 0.1
"""Seconds between questions while the answer is no. A probe's own period (10 s) would make every start that slow."""

FIRST_PERIOD = 0.02
"""Seconds between the first questions; doubled up to ``EAGER_PERIOD``."""

PROOF_OF_LIFE = 0.25
"""Seconds that a process without ports must live to count as running: one that cannot be executed ends sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When to ask and how often an answer must be repeated to count. Times are in seconds."""

    initial_delay: float = 0.0
    period: float = 1.0
    failure_threshold: int = 1
    success_threshold: int = 1


def pace_of(container: Container) -> Pace:
    """The pace that a readinessProbe asks for, or that of an open port, or that of a process that only has to run."""
    probe = container.readiness
    if probe is None:
        return Pace() if container.ports else Pace(initial_delay=PROOF_OF_LIFE)
    return Pace(
        initial_delay=probe.initial_delay,
        period=probe.period,
        failure_threshold=probe.failure_threshold,
        success_threshold=probe.success_threshold,
    )


async def watch(check: Check, pace: Pace, tell: Callable[[str], None]) -> None:
    """Calls ``tell`` with every change of the answer ("" for ready, else why not), until cancelled."""
    await asyncio.sleep(pace.initial_delay)
    ready, streak, eager, told = False, 0, FIRST_PERIOD, None
    while True:
        answer = await check()
        streak = streak + 1 if (answer == "") != ready else 0
        if streak >= (pace.failure_threshold if ready else pace.success_threshold):
            ready, streak, eager = not ready, 0, FIRST_PERIOD
        state = "" if ready else answer or "readiness probe succeeds, but not often enough yet"
        if state != told:
            told = state
            tell(state)
        await asyncio.sleep(pace.period if ready else min(eager, pace.period))
        eager = min(EAGER_PERIOD, eager * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The app that is asked: where it listens, and how a probe's command is run for it."""

    address: str
    container: Container
    first_unprivileged: int
    command: Callable[[tuple[str, ...]], Command]


def readiness_check(target: Target, http: aiohttp.ClientSession, listening: Listening) -> Check:
    """What decides the readiness of a container: its probe, else an open port, else that it runs."""
    probe = target.container.readiness
    if probe is None:
        return _any_open(target, listening)
    if probe.kind == "exec":
        return lambda: _exec(target.command(probe.command), probe.timeout)
    port = _port(probe.port, target)
    if port is None:
        return lambda: _answer(f'readinessProbe names port "{probe.port}", which the container has not')
    if probe.kind == "tcpSocket":
        return lambda: _connect(target.address, port, probe.timeout)
    url = f"http://{target.address}:{port}/{probe.path.lstrip('/')}"
    return http_check(http, url, probe.timeout, probe.headers)


def http_check(
    http: aiohttp.ClientSession, url: str, timeout: float, headers: tuple[tuple[str, str], ...] = ()
) -> Check:
    """GET: any status from 200 to 399 is a yes."""

    async def ask() -> str:
        try:
            async with http.get(
                URL(url, encoded=True),
                headers=list(headers),
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
            ) as response:
                return "" if 200 <= response.status < 400 else f"GET {url} answers {response.status}"
        except TimeoutError:
            return f"GET {url}: no answer in {timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"GET {url}: {str(error) or 'no answer'}"

    return ask


def _any_open(target: Target, listening: Listening) -> Check:
    """Something listens on one of the declared TCP ports; without declared ports it is enough to run."""
    ports = [
        listen_port(port.port, target.first_unprivileged) for port in target.container.ports if port.protocol == "TCP"
    ]

    async def ask() -> str:
        if not ports:
            return ""
        for port in ports:
            if await listening.is_open(target.address, port):
                return ""
        return f"nothing listens on {target.address}:{ports[0]} (HOST and PORT)"

    return ask


async def _connect(address: str, port: int, patience: float) -> str:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), patience)
    except TimeoutError:
        return f"{address}:{port} does not accept connections"
    except OSError:
        return f"nothing listens on {address}:{port}"
    writer.close()  # not abort: a reset would print a stack in many an app's log
    return ""


async def _exec(command: Command, patience: float) -> str:
    try:
        process = Process.start(command)
    except NotStartable as problem:
        return f"readiness command: {problem}"
    try:
        code = await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        return f"readiness command took longer than {patience:g} s"
    finally:
        await process.end(0.0)
    return f"readiness command exits with {code}" if code else ""


async def _answer(text: str) -> str:
    return text


def _port(port: int | str, target: Target) -> int | None:
    if isinstance(port, str):
        found = next((one.port for one in target.container.ports if one.name == port), None)
        return None if found is None else listen_port(found, target.first_unprivileged)
    return listen_port(port, target.first_unprivileged)
