"""As much of Kubernetes' structural schemas as our CRDs use: pruning, validation, and what makes a schema one.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

INT_OR_TEXT, PRESERVE, RULES = (
    f"x-kubernetes-{name}" for name in ("int-or-string", "preserve-unknown-fields", "validations")
)
_TYPES = {"object": dict, "array": list, "string": str, "integer": int}


def prune(value: Any, schema: Schema) -> Any:
    """``value`` as the API server stores it: without the fields that the schema does not name."""
    if schema.get(PRESERVE):
        return value
    if isinstance(value, list):
        return [prune(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict):
        if "additionalProperties" in schema:
            return {key: prune(item, schema["additionalProperties"]) for key, item in value.items()}
        known = schema.get("properties", {})
        if schema.get("type") == "object" and "properties" not in schema:
            return value  # metadata: Kubernetes' own
        return {key: prune(item, known[key]) for key, item in value.items() if key in known}
    return value


def faults(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """What the API server refuses, CEL rules apart."""
    if schema.get(INT_OR_TEXT):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{path}: neither a number nor text"
    elif "type" in schema and (not isinstance(value, _TYPES[schema["type"]]) or isinstance(value, bool)):
        yield f"{path}: not of type {schema['type']}"
        return
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: does not match"
        if len(value) > schema.get("maxLength", len(value)) or value not in schema.get("enum", [value]):
            yield f"{path}: too long or not one of those"
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: out of range"
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{path}: too many"
        for index, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            below = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
            yield from faults(item, below, f"{path}.{key}")


def below(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """``schema`` and every one inside of it, with the way to it."""
    yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from below(one, f"{path}.{name}")
    for name, step in (("items", "[]"), ("additionalProperties", "{}")):
        if name in schema:
            yield from below(schema[name], path + step)
