"""Whether the kernel redirects this pod's connections yet: ``proxy.init`` leaves a note, the sidecar waits for it.

The sidecar starts before the rules are there, so as to be ready soon after. It must not have opened a connection by
then: the kernel follows connections only from the first rule on, takes what it sees next for the beginning of each,
and would redirect one whose next packet comes from outside. The note names the network namespace: files of a pod
outlive it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NOTE: Final = "redirected"
NAMESPACE: Final = "/proc/self/ns/net"


def leave_note(folder: Path) -> None:
    """The rules are in force here. Raises ``OSError``."""
    (folder / NOTE).write_text(_here(), "ascii")


def is_redirected(folder: Path) -> bool:
    """Whether they are."""
    try:
        return (folder / NOTE).read_text("ascii") == _here()
    except (OSError, UnicodeDecodeError):
        return False


def _here() -> str:
    return str(os.stat(NAMESPACE).st_ino)
