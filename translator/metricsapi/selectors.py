"""Label and field selectors, by Kubernetes' own grammar (``k8s.io/apimachinery``: labels, fields). Pure.

a=b  a==b  a!=b  a in (b, c)  a notin (b, c)  a  !a  a>1  a<1      with commas between: all of them
field=value  field==value  field!=value                            in a value \\, \\= and \\\\ stand for themselves
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from translator.metricsapi.status import Refused

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]

FIELDS: Final = ("edge.direction", "edge.side", "metadata.name", "metadata.namespace", "resource.kind")

_TOKENS: Final = re.compile(r"\s*(==|!=|=|!|<|>|\(|\)|,|[^\s=!<>(),]+)")
_PART: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE: Final = re.compile(f"(?:{_PART})?")
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_KEY: Final = re.compile(rf"(?:(?=[^/]{{1,253}}/){_LABEL}(?:\.{_LABEL})*/)?{_PART}")
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_SPECIAL: Final = frozenset({"==", "!=", "=", "!", "<", ">", "(", ")", ","})


def label_selector(text: str) -> Test:
    """Whether labels are meant; without a selector all are. Raises ``Refused`` (400)."""
    tokens = _tokens(text)
    tests: list[Test] = []
    while tokens:
        tests.append(_requirement(tokens))
        if tokens and (tokens.pop() != "," or not tokens):
            raise _unreadable()
    if not tests:
        return lambda _: True  # asked of tens of thousands of items
    return lambda labels: all(test(labels) for test in tests)


def _tokens(text: str) -> list[str]:
    """The last one first, to be popped."""
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        shape = _TOKENS.match(text, at)
        if shape is None:
            raise _unreadable()
        found.append(shape[1])
        at = shape.end()
    return found[::-1]


def _requirement(tokens: list[str]) -> Test:
    absent = tokens[-1] == "!"
    if absent:
        tokens.pop()
    key = tokens.pop() if tokens else ""
    # As keys the words are operators.
    if _KEY.fullmatch(key) is None or key in ("in", "notin"):
        raise _unreadable()
    if absent:
        return lambda labels: key not in labels
    if not tokens or tokens[-1] == ",":
        return lambda labels: key in labels
    match tokens.pop():
        case "=" | "==":
            value = _value(tokens)
            return lambda labels: labels.get(key) == value
        case "!=":
            value = _value(tokens)
            return lambda labels: labels.get(key) != value
        case "in":
            values = _values(tokens)
            return lambda labels: labels.get(key) in values
        case "notin":
            values = _values(tokens)
            return lambda labels: labels.get(key) not in values
        case ">" | "<" as sign:
            return _compared(key, sign, _value(tokens))
        case _:
            raise _unreadable()


def _compared(key: str, sign: str, bound: str) -> Test:
    """A label that is no whole number is neither more nor less."""
    if _INTEGER.fullmatch(bound) is None:
        raise _unreadable()
    than = int(bound)

    def test(labels: Labels) -> bool:
        text = labels.get(key, "")
        if _INTEGER.fullmatch(text) is None:
            return False
        return int(text) > than if sign == ">" else int(text) < than

    return test


def _value(tokens: list[str]) -> str:
    """The next token, where there is one that is no sign; else the empty value."""
    value = tokens.pop() if tokens and tokens[-1] not in _SPECIAL else ""
    if _VALUE.fullmatch(value) is None:
        raise _unreadable()
    return value


def _values(tokens: list[str]) -> frozenset[str]:
    if not tokens or tokens.pop() != "(" or not tokens or tokens[-1] == ")":
        raise _unreadable()
    found = {_value(tokens)}
    while tokens and tokens[-1] == ",":
        tokens.pop()
        found.add(_value(tokens))
    if not tokens or tokens.pop() != ")":
        raise _unreadable()
    return frozenset(found)


def _unreadable() -> Refused:
    return Refused(400, "labelSelector: cannot be read; it is like app=web,tier in (a, b),!old")


def field_selector(text: str) -> tuple[tuple[str, bool, str], ...]:
    """Field, whether it must be equal (else it must not be), value. Raises ``Refused`` (400)."""
    found = []
    for part in filter(None, re.findall(r"((?:\\.|[^\\,])*\\?)(?:,|$)", text)):
        shape = re.fullmatch(r"([A-Za-z.]+)(==|=|!=)((?:\\[\\,=]|[^\\,=])*)", part)
        if shape is None:
            raise Refused(400, "fieldSelector: must be like field=value or field!=value, with commas between")
        if shape[1] not in FIELDS:
            raise Refused(400, f"fieldSelector: there is no field {shape[1][:64]!r}; there are {', '.join(FIELDS)}")
        found.append((shape[1], shape[2] != "!=", re.sub(r"\\(.)", r"\1", shape[3])))
    return tuple(found)
