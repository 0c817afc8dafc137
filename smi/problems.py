"""What is wrong in a manifest, and where: the one shape in which every reader of this room reports.

``smi.decode`` and ``smi.sources`` fill ``Problem``; the controller and ``smi lint`` print it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Step = str | int
"""One step into a document: a key or an index."""

MAX_KEY = 300
"""Characters of a key in a path: more than Kubernetes allows one to have (253, `/`, 63 less one)."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing to mend. ``line`` counts from 1; ``field`` is a path such as ``spec.backends[1].weight``.

    Where no field is meant ``field`` says what is: ``yaml`` (the syntax) or ``file``. Of an object that is in no file
    ``file`` is its kind, namespace and name, and ``line`` 0.
    """

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an object was read: its file, its first line, and the line of each field that was there."""

    file: str
    line: int
    fields: Mapping[str, int] = field(default_factory=dict, repr=False)

    def locate(self, *candidates: str) -> tuple[str, int]:
        """The first of ``candidates`` that the manifest has, with its line; else the first, at the object's line."""
        for name in candidates:
            if name in self.fields:
                return name, self.fields[name]
        return candidates[0], self.line


def one_line(text: str, limit: int) -> str:
    """``text`` as it may stand in a message: printable, at most ``limit`` characters."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return f"{text[: limit - 1]}…" if len(text) > limit else text


def field_path(steps: Sequence[Step]) -> str:
    """``("spec", "backends", 1, "weight")`` as ``spec.backends[1].weight``; odd keys stand in brackets, on one line."""
    text = ""
    for step in steps:
        if isinstance(step, str) and _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{one_line(str(step), MAX_KEY)}]"
    return text
