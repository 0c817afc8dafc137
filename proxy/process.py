"""The process of one sidecar, from what ``proxy.start`` has read until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from subprocess import Popen
from typing import Any

import uvloop

from proxy.contract.config import File
from proxy.errors import SidecarError
from proxy.sidecar import Sidecar

log = logging.getLogger("proxy")


def main(file: File, making: Popen[bytes] | None, *, interpreted: str) -> int:
    """Exit code 0 after a clean end, 1 when the sidecar cannot run.

    ``making`` is the child that makes the first key, where there is one; ``interpreted`` says why the request path
    runs from source (``proxy.native``), empty when it is compiled.
    """
    logging.basicConfig(level=file.sidecar.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    log.info("request path %s", f"from source: {interpreted}" if interpreted else "compiled")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(file, making))
    except (SidecarError, OSError) as error:
        print(f"python -m proxy: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(file: File, making: Popen[bytes] | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(complain)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sidecar = Sidecar(file, loop, making)
    # What lives now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.enable()
    await sidecar.run(stop)


def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's exception handler: what a peer did is one quiet line, a mistake of ours keeps its traceback.

    TLS transports report every failed handshake here, some as an exception's class.
    """
    error = context.get("exception")
    kind = error if isinstance(error, type) else type(error)
    if issubclass(kind, OSError | asyncio.IncompleteReadError):
        log.info("connection failed error=%s", getattr(error, "reason", None) or kind.__name__)
    else:
        log.error("%s", context.get("message"), exc_info=error if isinstance(error, BaseException) else None)
