"""Errors as a Kubernetes API says them: ``metav1.Status``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    410: "Expired",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refused(Exception):
    """The request is answered with ``code`` and a sentence. ``token``: how a list may be continued all the same."""

    def __init__(
        self, code: int, message: str, details: Mapping[str, str] | None = None, *, token: str = ""
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.token = token


def status_of(refused: Refused) -> dict[str, Any]:
    """The body."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {"continue": refused.token} if refused.token else {},
        "status": "Failure",
        "message": refused.message,
        "reason": _REASONS.get(refused.code, ""),
        **({"details": refused.details} if refused.details else {}),
        "code": refused.code,
    }
