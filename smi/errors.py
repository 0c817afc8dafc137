"""What can be wrong with a single value the operator wrote.

    ValueError
    └── Invalid            the text does not mean what its place demands; str() is the reason, in the operator's terms
        ├── BadName        not a name Kubernetes would accept
        ├── BadQuantity    not a resource.Quantity, or not one a weight can be
        └── BadAnnotation  not what conversion left there, or no longer fitting the rest

These never leave the room: ``smi.decode`` turns each into a ``Problem`` with
file, line and field. They are ValueErrors because pydantic collects those.
"""

from __future__ import annotations


class Invalid(ValueError):
    """The operator's text is wrong; the message is a full reason."""


class BadName(Invalid):
    """Not a valid name of an object."""


class BadQuantity(Invalid):
    """Not a valid amount."""


class BadAnnotation(Invalid):
    """``name`` is the annotation's full name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
