"""`python -m proxy --config FILE`: run one sidecar until SIGTERM or SIGINT.

FILE is JSON, ``proxy.contract.config.File``; what the controller's
``/debug/config/POD`` prints is such a file. In a pod the same text is in an environment variable (``--config-env``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from proxy.contract.config import File
from proxy.errors import SidecarError
from proxy.http1.head import require_c_parser
from proxy.sidecar import Sidecar

log = logging.getLogger("proxy")


def main(arguments: list[str] | None = None, *, interpreted: str = "") -> int:
    """Exit code 0 after a clean end, 1 when the sidecar cannot run, 2 for wrong usage.

    ``interpreted``: why the request path runs from source (``proxy.native``), empty when it is compiled.
    """
    parser = argparse.ArgumentParser(prog="python -m proxy", description="The smi-mesh sidecar.")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--config", metavar="FILE", help="JSON: the sidecar's settings and first config")
    given.add_argument("--config-env", metavar="NAME", help="the same, in an environment variable")
    parser.epilog = "Beside the sidecar itself there are: python -m proxy init|await|drain --help"
    options = parser.parse_args(arguments)
    try:
        file = read_file(Path(options.config)) if options.config else read_environment(options.config_env)
        logging.basicConfig(
            level=file.sidecar.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        log.info("request path %s", f"from source: {interpreted}" if interpreted else "compiled")
        require_c_parser()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(file))
    except (SidecarError, OSError) as error:
        print(f"python -m proxy: {error}", file=sys.stderr)
        return 1
    return 0


def read_file(path: Path) -> File:
    """Read and check the settings file. Raises ``SidecarError`` naming the file and the field."""
    return _decoded(str(path), path.read_bytes())


def read_environment(name: str) -> File:
    """The same from an environment variable. What it says of trust is where the sidecar begins, unless it knows better.

    Raises ``SidecarError`` naming the variable and the field, ``OSError`` where the bundle cannot be written.
    """
    text = os.environ.get(name)
    if not text:
        raise SidecarError(f"the environment variable {name} is not set")
    file = _decoded(name, text.encode())
    tls, trust = file.sidecar.tls, file.config.trust
    if tls is not None and trust is not None and not os.path.exists(tls.bundle):
        Path(tls.bundle).write_text(trust.bundle, encoding="ascii")
    return msgspec.structs.replace(file, config=msgspec.structs.replace(file.config, trust=None))


def _decoded(name: str, text: bytes) -> File:
    try:
        return msgspec.json.decode(text, type=File)
    except msgspec.MsgspecError as error:
        raise SidecarError(f"{name}: {error}") from error


async def _serve(file: File) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(complain)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sidecar = Sidecar(file, loop)
    # What lives now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
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
