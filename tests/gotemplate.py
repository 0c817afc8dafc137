"""The four forms that our charts' templates have, carried out as Helm does; anything else is refused.

Nothing here knows what the templates are about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = re.compile(r"\s*\{\{- (if|else if|else|end)(?: \.Values\.(\w+))? \}\}")
_VALUE = re.compile(r'\{\{ (?:printf ("(?:[^"\\]|\\.)*") )?\.Values\.(\w+) \| quote \}\}')
_NUMBER = re.compile(r"\{\{ int \.Values\.(\w+) \}\}")


def values_of(chart: Path) -> dict[str, Any]:
    """values.yaml."""
    found: dict[str, Any] = (
        yaml.safe_load((chart / "values.yaml").read_text()) if (chart / "values.yaml").exists() else {}
    )
    return found


def rendered(chart: Path, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All objects of a chart, file by file. Raises ``KeyError`` for a value that values.yaml does not have."""
    values = {**values_of(chart), **values}
    texts = [_text(file.read_text(), values) for file in sorted((chart / "templates").glob("*.yaml"))]
    return [thing for text in texts for thing in yaml.load_all(text, Loader=_LOADER) if thing]


def _text(template: str, values: Mapping[str, Any]) -> str:
    lines = []
    open_ifs: list[tuple[bool, bool]] = []  # (a branch was taken, this branch is)
    for line in template.splitlines():
        tag = _TAG.fullmatch(line)
        if tag is None:
            if all(now for _, now in open_ifs):
                lines.append(_line(line, values))
            continue
        true = tag[2] is None or bool(values[tag[2]])
        match tag[1]:
            case "if":
                open_ifs.append((true, true))
            case "end":
                open_ifs.pop()
            case _:
                taken, _ = open_ifs.pop()
                open_ifs.append((taken or true, true and not taken))
    assert not open_ifs
    return "\n".join(lines)


def _line(line: str, values: Mapping[str, Any]) -> str:
    line = _VALUE.sub(lambda found: _quoted(found[1], values[found[2]]), line)
    line = _NUMBER.sub(lambda found: str(int(values[found[1]])), line)
    assert "{{" not in line, line
    return line


def _quoted(form: str | None, value: object) -> str:
    return json.dumps(json.loads(form) % value if form else str(value))
