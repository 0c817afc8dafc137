"""YAML text to plain data that still knows its lines.

The usual loader builds data without positions, lets the last of two equal keys
win, and follows aliases without bound. This one reads the parser's events,
reports doubled keys, and counts what it builds. Scalars mean what they mean to
kubectl (YAML 1.1 without sexagesimal numbers and timestamps). Pure;
``smi.decode`` is the caller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import yaml

from smi.names import shown
from smi.problems import Step, field_path

MAX_TEXT = 4 * 1024 * 1024
"""Characters of a file. etcd refuses an object over 1.5 MiB; a List of several still fits. It takes seconds to read."""

MAX_DEPTH = 100
"""Nesting. The deepest published CRD schemas reach about 60; recursion over the result must stay safe."""

MAX_NODES = 400_000
"""Scalars and collections of a file, aliases counted as often as they are used: nine lines can mean 10^9."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_resolve: Callable[..., object] = yaml.resolver.Resolver().resolve
_TAG = "tag:yaml.org,2002:"
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")
"""Two escapes for one character, the one thing that JSON may write and YAML may not."""

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_NO_COLON = "could not find expected ':'"
_NO_TOKEN = "found character that cannot start any token"
_NULL, _MERGE = f"{_TAG}null", f"{_TAG}merge"
_KNOWN_TAGS = frozenset({"!", *(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))})
_TRUE = frozenset({"yes", "true", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value with its line (from 1). ``value`` is plain data; ``children`` are the nodes below, by key or index.

    ``size`` counts the values it means, itself too; ``height`` the levels below it. Aliases count in full.
    """

    line: int
    value: object
    children: Mapping[Step, Node] = field(default_factory=dict)
    size: int = 1
    height: int = 0

    def line_at(self, steps: tuple[Step, ...]) -> int:
        """The line of the value at ``steps``, or of the nearest one above it that exists."""
        node = self
        for step in steps:
            if step not in node.children:
                break
            node = node.children[step]
        return node.line

    def has(self, steps: tuple[Step, ...]) -> bool:
        """Whether there is a value at ``steps``."""
        node = self
        for step in steps:
            if step not in node.children:
                return False
            node = node.children[step]
        return True

    def lines(self, above: tuple[Step, ...] = ()) -> Iterator[tuple[str, int]]:
        """Every field below, as (path, line)."""
        for step, child in self.children.items():
            yield field_path((*above, step)), child.line
            yield from child.lines((*above, step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something wrong with the YAML itself."""

    line: int
    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What a text holds: documents up to the first syntax error, and what is wrong. Empty documents are left out."""

    documents: tuple[Node, ...]
    flaws: tuple[Flaw, ...]


def read_tree(text: str) -> Tree:
    """All documents of ``text``. Never raises on any text."""
    composer = _Composer()
    if len(text) > MAX_TEXT:
        return Tree(documents=(), flaws=(Flaw(line=1, field="file", message=f"is larger than {MAX_TEXT} bytes"),))
    if _SURROGATES.search(text) and _is_json(text):
        text = _SURROGATES.sub(lambda found: found[1] + str(json.loads(f'"{found[2]}"')), text)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Refused as refused:
        composer.flaws.append(refused.flaw)
    except yaml.MarkedYAMLError as error:
        composer.flaws.append(_syntax_flaw(error, text))
    except yaml.reader.ReaderError as error:
        before = text.encode(errors="replace")[: error.position]
        composer.flaws.append(Flaw(line=before.count(b"\n") + 1, field="yaml", message=error.reason))
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        composer.flaws.append(Flaw(line=line, field="yaml", message="a lone surrogate is not text"))
    return Tree(documents=tuple(composer.documents), flaws=tuple(composer.flaws))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _syntax_flaw(error: yaml.MarkedYAMLError, text: str) -> Flaw:
    """Where the parser gave up; or where it began, when it only gave up at the end or after a line without colon."""
    mark = error.problem_mark or error.context_mark
    if mark and error.context_mark and (_ends_before(text, mark.line) or error.problem == _NO_COLON):
        mark = error.context_mark
    message = error.problem or "cannot be read"
    if mark and message == _NO_TOKEN and _lines(text)[mark.line][mark.column : mark.column + 1] == "\t":
        message = "a tab cannot stand here: YAML is indented with spaces"
    if error.context:
        message = f"{message} ({error.context})"
    return Flaw(line=mark.line + 1 if mark else 1, field="yaml", message=message)


def _ends_before(text: str, line: int) -> bool:
    lines = _lines(text)
    return len(lines) - (lines[-1] == "") <= line


def _lines(text: str) -> list[str]:
    """As the parser counts them (YAML 1.1, 5.4): not only a line feed ends one."""
    return _BREAK.split(text)


class _Refused(Exception):
    def __init__(self, line: int, where: str, message: str) -> None:
        super().__init__(message)
        self.flaw = Flaw(line=line, field=where or "yaml", message=message)


@dataclass(slots=True, kw_only=True)
class _Frame:
    """A collection being read. ``key`` is set between a mapping's key and its value."""

    line: int
    mapping: bool
    anchor: str | None
    key: str | None = None
    merge: bool = False
    children: dict[Step, Node] = field(default_factory=dict)
    merged: dict[Step, Node] = field(default_factory=dict)
    size: int = 1


class _Composer:
    """Parser events to nodes, without recursion."""

    def __init__(self) -> None:
        self.documents: list[Node] = []
        self.flaws: list[Flaw] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node] = {}
        self._total = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event, line)
            case yaml.CollectionEndEvent():
                self._close()
            case yaml.AliasEvent():
                self._follow(event.anchor, line)
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case _:  # ends of documents, begin and end of the stream
                pass

    def _path(self, *more: Step) -> str:
        steps: list[Step] = []
        for frame in self._frames:
            if frame.mapping and frame.key is not None:
                steps.append(frame.key)
            elif not frame.mapping:
                steps.append(len(frame.children))
        return field_path((*steps, *more))

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        self._refuse_tag(event.tag, line)
        self._bound_depth(len(self._frames) + 1, line)
        if self._awaits_key():
            raise _Refused(line, self._path(), "a key must be text, not a collection")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._frames.append(_Frame(line=line, mapping=mapping, anchor=event.anchor))

    def _bound_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            raise _Refused(line, self._path(), f"is nested more than {MAX_DEPTH} deep")

    def _close(self) -> None:
        frame = self._frames.pop()
        if frame.merged:
            frame.children = {**frame.merged, **frame.children}
        nodes = frame.children
        value = (
            {step: node.value for step, node in nodes.items()} if frame.mapping else [n.value for n in nodes.values()]
        )
        height = 1 + max((node.height for node in nodes.values()), default=0)
        self._put(Node(line=frame.line, value=value, children=nodes, size=frame.size, height=height), frame.anchor)

    def _follow(self, anchor: str | None, line: int) -> None:
        target = self._anchors.get(anchor or "")
        if target is None:
            raise _Refused(line, self._path(), f"the anchor of *{anchor} is not above, or is around it")
        if self._awaits_key():
            raise _Refused(line, self._path(), "a key must be text, not an alias")
        self._put(replace(target, line=line), None)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        tag = self._tag_of(event, line)
        if self._awaits_key():
            self._key(event.value, tag, line)
        else:
            self._put(Node(line=line, value=_scalar_value(event.value, tag)), event.anchor)

    def _tag_of(self, event: yaml.ScalarEvent, line: int) -> str:
        if event.tag is None or event.tag == "!":
            plain = event.implicit[0] and event.tag is None
            return str(_resolve(yaml.ScalarNode, event.value, (plain, not plain)))
        self._refuse_tag(event.tag, line)
        return str(event.tag)

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None and tag not in _KNOWN_TAGS:
            raise _Refused(line, self._path(), f"the tag {shown(tag)} is not supported")

    def _awaits_key(self) -> bool:
        return bool(self._frames) and self._frames[-1].mapping and self._frames[-1].key is None

    def _key(self, text: str, tag: str, line: int) -> None:
        if tag == _NULL:
            raise _Refused(line, self._path(), "a key must not be null")
        frame = self._frames[-1]
        frame.key, frame.merge = text, tag == _MERGE
        if not frame.merge and text in frame.children:
            first = frame.children[text].line
            self.flaws.append(Flaw(line=line, field=self._path(), message=f"stands twice, first on line {first}"))

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._frames:
            self._total += node.size
            if node.value is not None:
                self.documents.append(node)
            return
        self._bound_depth(len(self._frames) + node.height, node.line)
        frame = self._frames[-1]
        frame.size += node.size
        if self._total + sum(open_frame.size for open_frame in self._frames) > MAX_NODES:
            raise _Refused(node.line, self._path(), f"the file means more than {MAX_NODES} values")
        if not frame.mapping:
            frame.children[len(frame.children)] = node
        elif frame.merge:
            self._merge(frame, node)
        elif frame.key is not None:
            frame.children.setdefault(frame.key, node)
        frame.key = None

    def _merge(self, frame: _Frame, node: Node) -> None:
        """YAML's ``<<``: keys of another mapping (or of several, the earlier first), own keys win."""
        sources = list(node.children.values()) if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                raise _Refused(node.line, self._path(), "must be a mapping or a list of mappings")
            for step, child in source.children.items():
                frame.merged.setdefault(step, child)


def _scalar_value(text: str, tag: str) -> object:
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() in _TRUE
        case "int":
            return _integer(text)
        case "float":
            return _float(text)
        case _:
            return text


def _integer(text: str) -> int | str:
    digits = text.replace("_", "")
    try:
        return int(digits, 8) if _OCTAL.fullmatch(digits) else int(digits, 0)
    except ValueError:  # sexagesimal (kubectl keeps those as text), or too many digits for any field
        return text


def _float(text: str) -> float | str:
    try:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
