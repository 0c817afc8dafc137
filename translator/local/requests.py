"""What is asked of a supervisor over its control socket; shared by both ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """``smi local run``. ``environment`` and ``folder`` are the caller's; ``timeout`` is in seconds."""

    name: str
    argv: tuple[str, ...]
    folder: str
    namespace: str = "default"
    service_account: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    sidecar: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
