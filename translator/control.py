"""What the controller's process is made of wherever it runs: its control port, its end, its tidying.

``translator.controller`` (one machine) and ``translator.kube.controller`` (Kubernetes) differ in where the world and
the proofs of identity come from, and share this.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

from aiohttp import web

from translator.collect import Collector
from translator.identity import enrol
from translator.identity.authority import LEAF_LIFETIME
from translator.identity.rotation import Rotation
from translator.identity.subject import SidecarIdentity
from translator.push import Publisher
from translator.reconcile import Reconciler
from translator.silence import PatientRunner

log = logging.getLogger("translator.controller")

GOODBYE_SECONDS = 1.0
"""For streams and requests to end at shutdown; sidecars reconnect anyway."""

TIDY_SECONDS = 30.0
"""Between looks for counts that are too old: each is dropped half a minute late at most."""


MAPPED_FROM = 128 * 1024
"""Bytes from which a block of memory gets pages of its own (glibc's default to begin with)."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def map_large_blocks() -> None:
    """Keeps large blocks on pages of their own, of which only those that were written to count.

    glibc raises its limits as soon as one such block was freed. The buffer of 256 KB that uvloop has for each TLS
    connection then lies on pages that are in use already, though a sidecar fills two of them: 30 KB a stream.
    Where there is no glibc nothing is done.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)
        libc.mallopt(_M_TRIM_THRESHOLD, MAPPED_FROM)
        libc.malloc_trim(0)
    except (AttributeError, OSError):
        log.debug("no mallopt here")


def stop_signals() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def control_application(
    rotation: Rotation,
    reconciler: Reconciler,
    collector: Collector,
    verify: Callable[[str], Awaitable[SidecarIdentity]],
    lifetime: timedelta = LEAF_LIFETIME,
) -> web.Application:
    """Enrolment and streams. ``verify`` tells whose a token is, ``lifetime`` is that of certificates."""
    control = web.Application()
    control.router.add_post(enrol.PATH, enrol.enrolment(rotation.in_force, verify, lifetime))
    Publisher(reconciler, rotation.authority, collector).add_to(control)
    return control


async def set_up(*applications: web.Application, max_headers: int = 128) -> list[web.AppRunner]:
    """A runner for each, to be given its sites. ``max_headers``: how many a request may have."""
    runners: list[web.AppRunner] = [
        PatientRunner(app, shutdown_timeout=GOODBYE_SECONDS, max_headers=max_headers) for app in applications
    ]
    for runner in runners:
        await runner.setup()
    return runners


async def keep_tidy(collector: Collector, reconciler: Reconciler) -> None:
    """Drops counts that are too old, until cancelled."""
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        for _ in collector.tidy(reconciler.subscribers):
            await asyncio.sleep(0)
