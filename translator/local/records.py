"""What the supervisor writes down for others: ``pods.json`` and ``mesh.json``.

The controller watches ``pods.json`` for its world (``PodRecord.pod``); ``smi local
exec|status|logs`` read both. The supervisor is the only writer.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from smi.workloads import Pod

PENDING = "Pending"
RUNNING = "Running"
TERMINATING = "Terminating"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """One pod: what the compiler needs (``pod``) and what is known of its processes.

    ``app_address`` is where its app listens (``HOST``). ``phase`` is Pending,
    Running or Terminating; ``reason`` is one word (``NoCommand``), ``message``
    says more. A pid of 0 means no such process now. ``admin`` is the URL of
    the sidecar's admin port, empty without sidecar.
    """

    pod: Pod
    uid: str
    app_address: str
    phase: str = PENDING
    reason: str = ""
    message: str = ""
    app_pid: int = 0
    sidecar_pid: int = 0
    admin: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return self.pod.meta.key


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsFile:
    """The content of ``pods.json``."""

    pods: tuple[PodRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRecord:
    """The content of ``mesh.json``. ``instance`` marks this mesh's processes in their environment.

    The controller listens with TLS on ``control_address``:``control_port`` and
    serves the API on 127.0.0.1:``api_port``. ``ca`` is the folder of the user's own CA, empty if there is none.
    """

    name: str
    instance: str
    pid: int
    api_port: int
    directories: tuple[str, ...]
    control_address: str
    control_port: int
    controller_pid: int = 0
    ca: str = ""

    @property
    def url(self) -> str:
        """Where the API is served."""
        return f"http://127.0.0.1:{self.api_port}"


def encode_pods(pods: tuple[PodRecord, ...]) -> bytes:
    """The JSON of ``pods.json``."""
    return msgspec.json.encode(PodsFile(pods=pods))


def decode_pods(data: bytes) -> tuple[PodRecord, ...]:
    """Reads ``pods.json``; ``ValueError`` when it is not one."""
    return msgspec.json.decode(data, type=PodsFile).pods


def encode_mesh(mesh: MeshRecord) -> bytes:
    """The JSON of ``mesh.json``."""
    return msgspec.json.encode(mesh)


def decode_mesh(data: bytes) -> MeshRecord:
    """Reads ``mesh.json``; ``ValueError`` when it is not one."""
    return msgspec.json.decode(data, type=MeshRecord)
