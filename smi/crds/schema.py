"""The words of OpenAPI that a structural schema is made of, and the limits that CEL's cost estimate wants.

Kubernetes prunes what a schema does not name, so everything that is read is named;
it multiplies a rule's cost by the bounds of the lists around it, so every list has one.
No field is required and none has a default: SMI's shapes differ from version to version, while an object is
stored once and shown at all of them, and nobody's ``spec`` is written to.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

MAX_BACKENDS = 256
"""Leaves of a split, and references in its ``matches``: people write two."""

MAX_ENTRIES = 1024
"""Any other list. The largest seen are route groups generated from an API's description, with some hundred matches."""


def described(schema: Schema, description: str) -> Schema:
    """``schema`` with a text for ``kubectl explain``."""
    return {"description": description, **schema}


def text(*choices: str) -> Schema:
    """A string; with ``choices`` one of them."""
    return {"type": "string", "enum": list(choices)} if choices else {"type": "string"}


def listed(items: Schema, most: int = MAX_ENTRIES) -> Schema:
    """A list of at most ``most``."""
    return {"type": "array", "maxItems": most, "items": items}


def mapping(**properties: Schema) -> Schema:
    """An object with these fields."""
    return {"type": "object", "properties": properties}


def labels() -> Schema:
    """A map of text by text."""
    return {"type": "object", "maxProperties": MAX_ENTRIES, "additionalProperties": text()}


def int_or_text(**rules: int | str) -> Schema:
    """A number or text, as versions differ. Of the rules those of numbers are for numbers, those of text for text."""
    return {"x-kubernetes-int-or-string": True, **rules}


def anything() -> Schema:
    """Data that is taken as it comes: where versions differ in more than number or text."""
    return {"x-kubernetes-preserve-unknown-fields": True}


def ruled(schema: Schema, rule: str, message: str) -> Schema:
    """``schema`` with a CEL rule that must hold."""
    return {**schema, "x-kubernetes-validations": [{"rule": rule, "message": message}]}
