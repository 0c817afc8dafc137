"""Tables, paragraphs and code in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120
"""Characters of a line of prose, as in all of docs/."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; a ``|`` inside of a cell stays one."""
    lines = [header, ("---",) * len(header), *rows]
    return [_row(line) for line in lines]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells) + " |"


def code(text: str) -> str:
    """``text`` as code; nothing for nothing."""
    return f"`{text}`" if text else ""


def codes(words: Iterable[object]) -> str:
    """Each word as code."""
    return " ".join(code(str(word)) for word in words)


def prose(text: str) -> list[str]:
    """A paragraph as lines."""
    return textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def document(title: str, *parts: Sequence[str]) -> str:
    """A page of paragraphs, tables and headings, and who wrote it."""
    note = "<!-- Written by `make reference` from the code. Do not edit. -->"
    return "\n\n".join("\n".join(part) for part in ([f"# {title}"], [note], *parts) if part) + "\n"
