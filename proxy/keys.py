"""New keys, each made by a child process (``proxy.newkey``) that may begin long before the key is waited for.

The library that makes them would take a seventh of an idle sidecar's memory, for one key in a day. The key comes by a
pipe. Neighbours: ``proxy.start`` begins the first one, ``proxy.identity`` the others.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import Final

from proxy.errors import SidecarError, printable

PROGRAM: Final = Path(__file__).with_name("newkey.py")

SECONDS: Final = 10.0
"""For the child, which needs a tenth of one second of CPU time."""

_REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----"


class NoKey(SidecarError):
    """No key this time. The text names no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A private key and a certificate request for it, both PEM. The key is not shown by ``repr``."""

    key: bytes = field(repr=False)
    request: bytes


def begin(identity: str) -> Popen[bytes]:
    """A child that makes a key and a request for the SPIFFE ID ``identity``. Raises ``NoKey``."""
    # -P: the program's own folder has modules with names of the standard library's.
    command = (sys.executable, "-P", PROGRAM, identity)
    try:
        return Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    except OSError as error:
        raise NoKey(f"no key was made: {error.strerror}") from None


async def made(child: Popen[bytes]) -> NewKey:
    """What the child of ``begin`` has made. It is gone on return, however that is. Raises ``NoKey``."""
    try:
        printed, said = await asyncio.to_thread(child.communicate, timeout=SECONDS)
    except TimeoutExpired:
        for pipe in filter(None, (child.stdout, child.stderr)):
            pipe.close()  # not read to their end: somebody else may have them
        raise NoKey(f"no key was made in {SECONDS:g} s") from None
    finally:
        child.kill()
        child.wait()
    key, mark, request = printed.partition(_REQUEST)
    if child.returncode or not mark:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise NoKey(f"no key was made: exit code {child.returncode} {printable(last)}".rstrip())
    return NewKey(key=key, request=mark + request)
