"""Reads the end of an app's log, to say why it died."""

from __future__ import annotations

import re
from pathlib import Path

TAIL = 8192
"""Bytes looked at: a stack and the lines around it."""

_IN_USE = re.compile(r"address (already )?in use|EADDRINUSE|Errno 98|os error 98", re.IGNORECASE)


def tail(log: Path, offset: int) -> str:
    """The last ``TAIL`` bytes of what was printed after ``offset``."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(offset, size - TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_line(log: Path, offset: int) -> str:
    """The last line printed after ``offset`` that is not empty."""
    lines = [line for line in tail(log, offset).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


def address_in_use(log: Path, offset: int) -> bool:
    """Whether the app complained that its address is taken."""
    return bool(_IN_USE.search(tail(log, offset)))
