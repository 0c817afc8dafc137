"""A template out of the texts that options lead to: lines that differ are what the option decides. Pure.

Only four forms are used, a line of its own each but the first: ``{{ … .Values.x … }}``, ``{{- if .Values.x }}``,
``{{- else if .Values.x }}`` or ``{{- else }}``, ``{{- end }}``. Nothing else is needed, and people can check it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Final

NUMBERS: Final = frozenset({"replicas"})
"""Values that are numbers; all others are text."""

_LINE = re.compile(r"(?P<head>\s*(?:- )?(?:[\w.-]+: )?)(?P<scalar>\S.*)")


@dataclass(slots=True)
class _Piece:
    """Lines ``start`` to ``end`` of the plain text and, by condition, what stands there instead."""

    start: int
    end: int
    instead: dict[str, list[str]] = field(default_factory=dict)


def conditional(plain: str, variants: Mapping[str, str]) -> str:
    """``plain``, with what each value of ``variants``, where it is true, has instead. The first of several wins.

    Raises:
        ValueError: two values change overlapping lines, which only a person could put into one template.
    """
    lines = plain.splitlines()
    pieces: dict[tuple[int, int], _Piece] = {}
    for value, text in variants.items():
        new = text.splitlines()
        for tag, start, end, first, last in SequenceMatcher(None, lines, new, autojunk=False).get_opcodes():
            if tag != "equal":
                piece = pieces.setdefault((start, end), _Piece(start, end))
                piece.instead[value] = new[first:last]
    written: list[str] = []
    at = 0
    for piece in sorted(pieces.values(), key=lambda one: (one.start, one.end)):
        inserted_twice = piece.start == piece.end and len(piece.instead) > 1
        if piece.start < at or inserted_twice:
            raise ValueError(f"{', '.join(piece.instead)} change the same lines as another value")
        written += lines[at : piece.start]
        written += _choice(piece, lines[piece.start : piece.end])
        at = piece.end
    return "".join(f"{line}\n" for line in [*written, *lines[at:]])


def only_if(value: str, text: str) -> str:
    """``text`` where a value is true."""
    return f"{{{{- if .Values.{value} }}}}\n{text}{{{{- end }}}}\n"


def _choice(piece: _Piece, otherwise: Sequence[str]) -> list[str]:
    margin = _margin([*next(iter(piece.instead.values())), *otherwise])
    written: list[str] = []
    for value, lines in piece.instead.items():
        written += [f"{margin}{{{{- {'else if' if written else 'if'} .Values.{value} }}}}", *lines]
    if otherwise:
        written += [f"{margin}{{{{- else }}}}", *otherwise]
    return [*written, f"{margin}{{{{- end }}}}"]


def _margin(lines: Sequence[str]) -> str:
    return min((line[: len(line) - len(line.lstrip())] for line in lines), key=len)


def with_values(text: str, samples: Mapping[str, str]) -> str:
    """``text``, rendered with a sample for each value, with the values instead of the samples."""
    return "".join(f"{_with_values(line, samples)}\n" for line in text.splitlines())


def _with_values(line: str, samples: Mapping[str, str]) -> str:
    found = _LINE.fullmatch(line)
    if found is None:
        return line
    for value, sample in samples.items():
        before, separator, after = found["scalar"].partition(sample)
        if not separator:
            continue
        if value in NUMBERS:
            shown = f"int .Values.{value}"
        elif before or after:
            shown = f"printf {json.dumps(f'{before}%s{after}')} .Values.{value} | quote"
        else:
            shown = f".Values.{value} | quote"
        return f"{found['head']}{{{{ {shown} }}}}"
    return line


def default_of(plain: str, sampled: str, sample: str) -> str:
    """What ``plain`` has where ``sampled``, the same text otherwise, has ``sample``."""
    for line, other in zip(plain.splitlines(), sampled.splitlines(), strict=True):
        if sample in other:
            before, _, after = other.partition(sample)
            return line.removeprefix(before).removesuffix(after)
    raise ValueError(f"nothing is {sample}")
