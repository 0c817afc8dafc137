"""Small changes to YAML text that leave the rest of it as somebody wrote it: comments, quotes, order, blank lines.

PyYAML forgets all of that between reading and writing, so here lines are put into the text, or taken out, at the
positions that its parser tells. Whether that was right is not hoped but read back: where the new text does not mean
what was wanted (an alias elsewhere, a merge, a layout not foreseen) the documents are written anew. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import yaml

from smi.problems import Step
from smi.yamltext import to_yaml
from smi.yamltree import read_tree

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
"""Belongs to one document of a stream; what is printed after another file's text must do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """``value`` at ``steps`` of the document of that index (empty ones not counted), with the mappings above it."""

    document: int
    steps: tuple[Step, ...]
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The keys ``names`` out of the mapping at ``steps``."""

    document: int
    steps: tuple[Step, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The new text; ``anew``: it was written from data, without the old one's comments."""

    text: str
    anew: bool = False


class _Splice(NamedTuple):
    start: int
    end: int
    text: str


class _NotInPlace(Exception):
    """The text has no place where this change is a matter of lines."""


def edited(text: str, changes: Sequence[Put | Drop], wanted: Sequence[object]) -> Edited:
    """``text``, which ``read_tree`` finds no flaw in, with ``changes`` made: its documents then are ``wanted``."""
    if not changes and not _DIRECTIVE.search(text):
        return Edited(text=text)
    try:
        new = _spliced(text, _splices(text, changes))
    except _NotInPlace:
        return Edited(text=to_yaml(wanted), anew=True)
    tree = read_tree(new)
    if tree.flaws or [node.value for node in tree.documents] != list(wanted):
        return Edited(text=to_yaml(wanted), anew=True)
    return Edited(text=new)


def joined(texts: Iterable[str]) -> str:
    """One stream of the documents of several texts, none of which begins with a directive."""
    whole = ""
    for text in texts:
        if whole and not re.match(r"(?:[ \t]*(?:#.*)?\r?\n)*---(?:\s|$)", text):
            whole += "---\n"
        whole += text if text.endswith("\n") else f"{text}\n"
    return whole


def _splices(text: str, changes: Iterable[Put | Drop]) -> Iterator[_Splice]:
    if _DIRECTIVE.search(text):
        raise _NotInPlace
    try:
        nodes = list(yaml.compose_all(text, Loader=_LOADER))
    except (yaml.YAMLError, UnicodeError) as error:  # what read_tree forgives, such as JSON's surrogates
        raise _NotInPlace from error
    roots = [node for node in nodes if node is not None and node.tag != _NULL]
    for change in changes:
        chain = _chain(roots[change.document], change.steps)
        if isinstance(change, Put):
            yield _put(text, chain, change)
        elif len(chain) > len(change.steps):
            yield from _drop(text, chain[-1].node, change.names)
        else:
            raise _NotInPlace


def _spliced(text: str, splices: Iterable[_Splice]) -> str:
    """What an alias repeats is changed once, where its anchor is."""
    upto = len(text)
    parts = []
    for splice in sorted(set(splices), reverse=True):
        if splice.end > upto:
            raise _NotInPlace
        parts += [text[splice.end : upto], splice.text]
        upto = splice.start
    return "".join(reversed([*parts, text[:upto]]))


class _Link(NamedTuple):
    """A node and its key in the mapping above, if it is in one."""

    key: yaml.Node | None
    node: yaml.Node


def _chain(root: yaml.Node, steps: tuple[Step, ...]) -> list[_Link]:
    """The nodes on the way along ``steps``, from the root to the last that is there."""
    chain = [_Link(None, root)]
    for step in steps:
        below = _below(chain[-1].node, step)
        if below is None:
            break
        chain.append(below)
    return chain


def _below(node: yaml.Node, step: Step) -> _Link | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return _Link(None, node.value[step])
    if isinstance(node, yaml.MappingNode):
        return next((_Link(key, value) for key, value in node.value if key.value == step), None)
    return None


def _put(text: str, chain: list[_Link], change: Put) -> _Splice:
    key, holder = chain[-1]
    start, end = holder.start_mark.index, holder.end_mark.index
    gap = " " if start == end else ""  # nothing is written behind the colon
    missing = [str(step) for step in change.steps[len(chain) - 1 :]]
    if not missing and isinstance(holder, yaml.ScalarNode):
        return _Splice(start, end, gap + (json.dumps(change.value) if holder.style == '"' else change.value))
    if missing and holder.tag == _NULL:
        return _Splice(start, end, f"{gap}{{{_flow(missing, change.value)}}}")
    if not missing or not isinstance(holder, yaml.MappingNode):
        raise _NotInPlace
    if holder.flow_style:
        return _put_into_flow(holder, _flow(missing, change.value))
    return _put_lines(text, key, holder, missing, change.value)


def _put_into_flow(holder: yaml.MappingNode, entry: str) -> _Splice:
    """On a line of its own where the first entry has one."""
    inside = holder.start_mark.index + 1
    if not holder.value:
        return _Splice(inside, inside, entry)
    first = holder.value[0][0].start_mark
    if first.line == holder.start_mark.line:
        return _Splice(first.index, first.index, f"{entry}, ")
    return _Splice(first.index, first.index, f"{entry},\n{' ' * first.column}")


def _flow(missing: list[str], value: str) -> str:
    """``"a": {"b": "value"}`` without the outermost braces: what was JSON stays JSON."""
    whole: object = value
    for name in reversed(missing):
        whole = {name: whole}
    return json.dumps(whole)[1:-1]


def _put_lines(text: str, key: yaml.Node | None, holder: yaml.MappingNode, missing: list[str], value: str) -> _Splice:
    """First in the mapping: below the line of its own key, above comments on what has been there."""
    newline = "\r\n" if "\r\n" in text else "\n"
    first = holder.value[0][0].start_mark
    margin = " " * first.column
    lines = [f"{margin}{'  ' * depth}{name}:" for depth, name in enumerate(missing)]
    block = f"{newline.join(lines)} {value}{newline}"
    if key is not None and key.end_mark.line < first.line:
        at = _after_line(text, key.end_mark.index)
        return _Splice(at, at, block)
    return _Splice(first.index, first.index, block.removeprefix(margin) + margin)


def _drop(text: str, holder: yaml.Node, names: frozenset[str]) -> Iterator[_Splice]:
    if not isinstance(holder, yaml.MappingNode):
        raise _NotInPlace
    entries = holder.value
    kept = [index for index, (key, _) in enumerate(entries) if key.value not in names]
    if not kept:
        raise _NotInPlace
    for index, (key, value) in enumerate(entries):
        if index in kept:
            continue
        following = entries[index + 1][0].start_mark.index if index + 1 < len(entries) else -1
        if not holder.flow_style:
            yield _without_lines(text, key, value, following)
        elif index < kept[-1]:
            yield _Splice(key.start_mark.index, following, "")
        elif index == kept[-1] + 1:  # the last ones go together, with the comma before them
            yield _Splice(entries[kept[-1]][1].end_mark.index, entries[-1][1].end_mark.index, "")


def _without_lines(text: str, key: yaml.Node, value: yaml.Node, following: int) -> _Splice:
    start = key.start_mark.index - key.start_mark.column
    if text[start : key.start_mark.index].strip():  # the first key of a list's item stands behind its dash
        if following < 0:
            raise _NotInPlace
        return _Splice(key.start_mark.index, following, "")
    while isinstance(value, yaml.CollectionNode) and not value.flow_style:
        last = value.value[-1]
        value = last[1] if isinstance(value, yaml.MappingNode) else last
    return _Splice(start, _after_line(text, value.end_mark.index), "")


def _after_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1
