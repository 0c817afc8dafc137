"""The containers of a pod: what to run, with which environment and files, and when it is ready."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from smi.wire.base import Label, Name, Port, PortOrName, Wire, one_of
from smi.workloads import Container, ContainerPort, EnvVar, Probe

Seconds = Annotated[int, Field(ge=0)]


class ContainerPortWire(Wire):
    """One of ``ports``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"hostPort", "hostIP"})
    container_port: Port
    name: str = ""
    protocol: Annotated[str, one_of("TCP", "UDP", "SCTP")] = "TCP"


class FieldRef(Wire):
    """``valueFrom.fieldRef``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"apiVersion"})
    field_path: str


class KeyRef(Wire):
    """``valueFrom.configMapKeyRef``."""

    spelling_by_hand: ClassVar[bool] = True
    name: Name
    key: str
    optional: bool = False


class ValueFrom(Wire):
    """``valueFrom``; its other sources (Secrets, resources) are not for local processes."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"resourceFieldRef", "secretKeyRef", "fileKeyRef"})
    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None


class Env(Wire):
    """One of ``env``."""

    spelling_by_hand: ClassVar[bool] = True
    name: str
    value: str | None = None
    value_from: ValueFrom | None = None

    def to_hub(self) -> EnvVar | None:
        """The hub's object, None when its value comes from where we do not read."""
        source = self.value_from
        if source is None:
            return EnvVar(name=self.name, value=self.value or "")
        if source.field_ref is not None:
            return EnvVar(name=self.name, field_path=source.field_ref.field_path)
        if source.config_map_key_ref is not None:
            ref = source.config_map_key_ref
            return EnvVar(name=self.name, config_map=(ref.name, ref.key), optional=ref.optional)
        return None


class ConfigMapRef(Wire):
    """``configMapRef``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"optional"})
    name: Name


class EnvFrom(Wire):
    """One of ``envFrom``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"prefix", "secretRef"})
    config_map_ref: ConfigMapRef | None = None


class HttpHeader(Wire):
    """One of a probe's ``httpHeaders``."""

    spelling_by_hand: ClassVar[bool] = True
    name: str
    value: str


class HttpGet(Wire):
    """``httpGet``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"host", "scheme"})
    port: PortOrName
    path: str = "/"
    http_headers: list[HttpHeader] = Field(default_factory=list)


class Exec(Wire):
    """``exec``."""

    spelling_by_hand: ClassVar[bool] = True
    command: list[str]


class TcpSocket(Wire):
    """``tcpSocket``; ``grpc`` is read as the same: the port must accept."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"host", "service"})
    port: PortOrName


class ReadinessProbe(Wire):
    """``readinessProbe``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"terminationGracePeriodSeconds"})
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: TcpSocket | None = None
    exec: Exec | None = None
    initial_delay_seconds: Seconds = 0
    period_seconds: Seconds = 10
    timeout_seconds: Seconds = 1
    failure_threshold: Annotated[int, Field(ge=1)] = 3
    success_threshold: Annotated[int, Field(ge=1)] = 1

    def to_hub(self) -> Probe | None:
        """The hub's object, None when the probe asks for nothing."""
        kind, port, path, headers, command = self._asked()
        if not kind:
            return None
        return Probe(
            kind=kind,
            port=port,
            path=path,
            headers=headers,
            command=command,
            initial_delay=float(self.initial_delay_seconds),
            period=float(self.period_seconds or 10),
            timeout=float(self.timeout_seconds or 1),
            failure_threshold=self.failure_threshold,
            success_threshold=self.success_threshold,
        )

    def _asked(self) -> tuple[str, int | str, str, tuple[tuple[str, str], ...], tuple[str, ...]]:
        if self.http_get is not None:
            headers = tuple((header.name, header.value) for header in self.http_get.http_headers)
            return "httpGet", self.http_get.port, self.http_get.path or "/", headers, ()
        socket = self.tcp_socket or self.grpc
        if socket is not None:
            return "tcpSocket", socket.port, "/", (), ()
        if self.exec is not None:
            return "exec", 0, "/", (), tuple(self.exec.command)
        return "", 0, "/", (), ()


class Item(Wire):
    """One of a ConfigMap volume's ``items``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"mode"})
    key: str
    path: str


class ConfigMapVolume(Wire):
    """``configMap`` of a volume."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset({"defaultMode", "optional"})
    name: Name
    items: list[Item] = Field(default_factory=list)


class Volume(Wire):
    """One of a pod's ``volumes``; kinds other than ConfigMaps are not read."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "awsElasticBlockStore",
            "azureDisk",
            "azureFile",
            "cephfs",
            "cinder",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "fc",
            "flexVolume",
            "flocker",
            "gcePersistentDisk",
            "gitRepo",
            "glusterfs",
            "hostPath",
            "image",
            "iscsi",
            "nfs",
            "persistentVolumeClaim",
            "photonPersistentDisk",
            "portworxVolume",
            "projected",
            "quobyte",
            "rbd",
            "scaleIO",
            "secret",
            "storageos",
            "vsphereVolume",
        }
    )
    name: str
    config_map: ConfigMapVolume | None = None


class VolumeMount(Wire):
    """One of ``volumeMounts``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "mountPropagation",
            "readOnly",
            "recursiveReadOnly",
            "subPathExpr",
        }
    )
    name: str
    mount_path: str
    sub_path: str = ""


class WireContainer(Wire):
    """One of ``containers``."""

    spelling_by_hand: ClassVar[bool] = True
    also_known: ClassVar[frozenset[str]] = frozenset(
        {
            "imagePullPolicy",
            "lifecycle",
            "livenessProbe",
            "resizePolicy",
            "resources",
            "restartPolicy",
            "restartPolicyRules",
            "securityContext",
            "startupProbe",
            "stdin",
            "stdinOnce",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "tty",
            "volumeDevices",
        }
    )
    name: Label
    image: str = ""
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    working_dir: str = ""
    ports: list[ContainerPortWire] = Field(default_factory=list)
    env: list[Env] = Field(default_factory=list)
    env_from: list[EnvFrom] = Field(default_factory=list)
    readiness_probe: ReadinessProbe | None = None
    volume_mounts: list[VolumeMount] = Field(default_factory=list)

    def to_hub(self, volumes: Mapping[str, ConfigMapVolume]) -> Container:
        """The hub's object; ``volumes`` are the pod's ConfigMap volumes by name."""
        mounts, files = _mounted(self.volume_mounts, volumes)
        return Container(
            name=self.name,
            image=self.image,
            command=tuple(self.command),
            args=tuple(self.args),
            working_dir=self.working_dir,
            ports=tuple(
                ContainerPort(port=port.container_port, name=port.name, protocol=port.protocol) for port in self.ports
            ),
            env=tuple(variable for variable in (entry.to_hub() for entry in self.env) if variable is not None),
            env_from=tuple(entry.config_map_ref.name for entry in self.env_from if entry.config_map_ref is not None),
            readiness=self.readiness_probe.to_hub() if self.readiness_probe is not None else None,
            config_mounts=mounts,
            config_files=files,
        )


def _mounted(
    mounts: list[VolumeMount], volumes: Mapping[str, ConfigMapVolume]
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str, str], ...]]:
    """Whole ConfigMaps as folders, and single keys of them as files."""
    folders: list[tuple[str, str]] = []
    files: list[tuple[str, str, str]] = []
    for mount in mounts:
        volume = volumes.get(mount.name)
        if volume is None:
            continue
        keys = {item.path: item.key for item in volume.items}
        if mount.sub_path:
            files.append((mount.mount_path, volume.name, keys.get(mount.sub_path, mount.sub_path)))
        elif keys:
            files += [(posixpath.join(mount.mount_path, path), volume.name, key) for path, key in keys.items()]
        else:
            folders.append((mount.mount_path, volume.name))
    return tuple(folders), tuple(files)
