"""Plain data to YAML text that every reader of Kubernetes manifests takes for the same data.

PyYAML leaves text bare that its own resolver calls text, though others (the Go
libraries behind kubectl) take ``1e3``, ``0o17`` or ``y`` for something else; here
such text stands in quotes. The counterpart of ``smi.yamltree``. Pure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

import yaml

_NUMBER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9_.:]*[0-9][0-9_.:]*(?:[eE][-+]?[0-9_]+)?|\.(?:inf|nan))",
    re.IGNORECASE,
)
_BREAKS = re.compile("[\r\x85\u2028\u2029]")
"""Ends of lines besides the usual one: only an escape keeps them as they are."""

_WORD = re.compile(r"y|n|yes|no|on|off|true|false|null|~", re.IGNORECASE)


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, as in most manifests; nothing is an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never ``indentless``."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Always: kubectl reads aliases, people do not."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """In quotes what some reader takes for a number or a truth value, as a block what has lines."""
    style = None
    if _BREAKS.search(text):
        style = '"'
    elif _NUMBER.fullmatch(text) or _WORD.fullmatch(text):
        style = "'"
    elif "\n" in text:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[object]) -> str:
    """One document each, ``---`` between them, keys in their order."""
    return "---\n".join(
        yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
        for document in documents
    )
