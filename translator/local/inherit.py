"""What a pod's process inherits of the environment it is started from. Imports nothing, since ``exec`` needs it."""

from __future__ import annotations

from collections.abc import Mapping

FOREIGN_PROXIES = frozenset(
    spelled for name in ("http_proxy", "https_proxy", "all_proxy") for spelled in (name, name.upper())
)
"""A proxy that the user's shell has is not the pod's: these are taken out before the pod's own are set."""


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """All but foreign proxies."""
    return {name: value for name, value in environment.items() if name not in FOREIGN_PROXIES}
