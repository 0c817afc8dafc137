"""Runs a supervisor in the background: ``smi local up --detach``.

The parent passes on what the supervisor prints until that is ready (it then
lets go of the pipes) or has ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import IO

import msgspec

from translator.local.console import Console
from translator.local.errors import LocalError, SystemRefuses
from translator.local.own import PACKAGES
from translator.local.settings import Settings
from translator.local.up import supervise

PROGRAM = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import main; sys.exit(main(sys.argv[2]))"
"""Not by PYTHONPATH: the apps would inherit it."""


def supervise_detached(settings: Settings) -> int:
    """Returns 0 when the mesh is ready and goes on without this process; otherwise the supervisor's exit code."""
    # Whoever ends this process before the mesh is ready means the mesh: nobody else knows of it yet.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with subprocess.Popen(
        (sys.executable, "-P", "-c", PROGRAM, PACKAGES, msgspec.json.encode(settings).decode()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        errors = threading.Thread(target=_pass_on, args=(child.stderr, sys.stderr), daemon=True)
        errors.start()
        try:
            was_ready = _pass_on(child.stdout, sys.stdout)
        except KeyboardInterrupt:
            child.terminate()
            raise
        errors.join()
        if not was_ready:
            return child.wait()
        child.returncode = 0  # it is nobody's child from here on, and not to be waited for
        return 0


def main(settings: str) -> int:
    """The background process."""
    try:
        return supervise(msgspec.json.decode(settings, type=Settings), Console(detached=True))
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        told = SystemRefuses.why(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return 1


def _pass_on(source: IO[bytes], target: IO[str]) -> bool:
    """Copies lines to the end; whether there were any."""
    some = False
    for line in source:
        some = True
        print(line.decode(errors="replace"), end="", file=target, flush=True)
    return some
