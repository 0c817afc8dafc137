"""How one mesh is to be run: what ``smi local up`` was told, and the supervisor's own times."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

DEFAULT_PORT = 8001
"""Of the API: what ``kubectl proxy`` uses, so users know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one supervisor. Times are in seconds."""

    name: str
    """Of the mesh; names its state directory."""

    directories: tuple[str, ...]
    """Absolute paths of the folders with manifests."""

    port: int | None = None
    """Of the API. None: 8001, or a free one where that is taken; 0: a free one."""

    timeout: float = 60.0
    """Until all pods are ready; then the mesh is ended again. As long as most people wait before they look."""

    egress: bool = False
    """Whether sidecars let names of another world through. Off: a typing error shall not leave the machine."""

    ca: str = ""
    """Absolute path of a folder with a CA of the user's own. Empty: the mesh makes one, which ends with it."""

    issuance_lifetime: float = 48 * 3600.0
    """Of the sidecars' certificates. Two days: renewed at half, they outlive a controller that is away for one."""

    federated: dict[str, str] = field(default_factory=dict)
    """Absolute paths of the trust bundles of other trust domains, by name."""

    sidecar: tuple[str, ...] = (sys.executable, "-P", "-m", "proxy")
    """The sidecar's command without its ``--config``. A setting, so that another build can be run beside this one."""

    controller: tuple[str, ...] = (sys.executable, "-P", "-m", "translator")
    """The controller's command without ``--state`` and ``--manifests``. A setting for the same reason."""

    drain_grace: float = 2.0
    """Between taking a pod out of the endpoints and ending its app: twenty times what a push may take, and room
    for requests under way. Without it a rollover would lose requests."""

    app_grace: float = 10.0
    """Between SIGTERM and SIGKILL when one pod ends. A third of Kubernetes' default: these apps start in no time."""

    down_grace: float = 3.0
    """The same when the whole mesh ends: somebody waits at the terminal."""
