"""What a container becomes as a process: argv, variables, files. Pure.

local-mode.md, "Manifests", is the contract. ``translator.local.pod`` carries it out at every start of
the process, as the kubelet does; ``smi local exec`` uses the same variables.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from proxy.contract.ports import OUTBOUND
from smi.workloads import ConfigMap, Container, EnvVar, Pod
from translator.local.addresses import listen_port
from translator.local.sidecar import container_ports
from translator.vocabulary import COMMAND

NO_COMMAND = "NoCommand"
"""The reason of a pod that cannot start because it is not said what to run."""

NO_PROXY = "localhost,127.0.0.1,::1"
INSTANCE = "SMI_MESH_INSTANCE"
"""Marks every process of a mesh, so that what outlives its parent is found (``translator.local.leftovers``)."""


class NotStartable(Exception):
    """The container cannot start as things are. ``reason`` is one word as Kubernetes would say it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AppProcess:
    """A container as a process. ``files`` has text by path below the pod's own folder of files."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What a container may learn of its pod.

    ``files`` is where the pod's ConfigMap files lie, ``ports`` are the container ports of all its containers.
    """

    pod: Pod
    uid: str
    app_address: str
    files: str
    first_unprivileged: int
    ports: tuple[int, ...]


ConfigMaps = Mapping[tuple[str, str], ConfigMap]
"""By namespace and name."""


def has_command(container: Container, annotations: Mapping[str, str], first: bool) -> bool:
    """Whether there is something to run: a command, or the annotation, which speaks for the ``first`` container."""
    return bool(container.command) or (first and COMMAND.name in annotations)


def no_command(container: str) -> str:
    """What to do about a container without a command."""
    return f'container "{container}" has no command: set one, or the annotation {COMMAND.name} on the pod template'


def app_process(container: Container, facts: PodFacts, config_maps: ConfigMaps, first: bool) -> AppProcess:
    """The process of one container; ``NotStartable`` when it has no command or a ConfigMap is missing."""
    variables = pod_variables(container, facts, config_maps)
    argv = tuple(expand(part, variables) for part in _argv(container, facts.pod.meta.annotations, first))
    mounted = [path for path, _ in container.config_mounts] + [path for path, _, _ in container.config_files]
    moved = {path: f"{facts.files}/{container.name}{_clean(path)}" for path in mounted}
    return AppProcess(
        argv=tuple(relocate(part, moved) for part in argv),
        variables=variables,
        files=mounted_files(container, facts.pod.meta.namespace, config_maps),
    )


def mounted_files(container: Container, namespace: str, config_maps: ConfigMaps) -> dict[str, str]:
    """Text of every mounted ConfigMap's keys by ``<container>/<mountPath>/<key>``, single files by their own path."""
    files = {}
    for path, name in container.config_mounts:
        for key, text in _config_map(config_maps, namespace, name).data.items():
            if PurePosixPath(key).name != key or key == ".." or "\0" in key:
                raise NotStartable("CreateContainerConfigError", f'ConfigMap "{name}": key "{key}" is no file name')
            files[f"{container.name}{_clean(path)}/{key}"] = text
    for path, name, key in container.config_files:
        data = _config_map(config_maps, namespace, name).data
        if key not in data:
            raise NotStartable("CreateContainerConfigError", f'ConfigMap "{name}" has no key "{key}"')
        files[f"{container.name}{_clean(path)}"] = data[key]
    return files


def pod_variables(container: Container, facts: PodFacts, config_maps: ConfigMaps) -> dict[str, str]:
    """The container's environment without what it inherits.

    The mesh's ``HOST``, ``PORT`` and ``POD_*`` win over the manifest's: an app
    that listened elsewhere would not be reached. The manifest's own proxy
    settings win over the mesh's.
    """
    namespace = facts.pod.meta.namespace
    fixed = _place(container, facts)
    variables = _proxies(facts.pod) | fixed
    for name in container.env_from:
        data = _config_map(config_maps, namespace, name).data
        variables |= {key: text for key, text in data.items() if _is_variable(key)}
    variables |= fixed
    for variable in container.env:
        if not _is_variable(variable.name):
            raise NotStartable("CreateContainerConfigError", f'env: "{variable.name}" is no name of a variable')
        if variable.name not in fixed and not _left_out(variable, namespace, config_maps):
            variables[variable.name] = _value(variable, variables, facts, config_maps)
    return variables


def _is_variable(name: str) -> bool:
    """Whether a process may have a variable of this name. Of a ConfigMap's keys Kubernetes passes over others too."""
    return name != "" and "=" not in name and "\0" not in name


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' expansion: ``$(VAR)`` is replaced where VAR is known, ``$$`` is a ``$`` that starts nothing."""

    def replacement(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else variables.get(name, found.group(0))

    return _REFERENCE.sub(replacement, text)


_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def relocate(text: str, moved: Mapping[str, str]) -> str:
    """Replaces mountPaths, where they stand as a whole path or as the head of one, by where the files are."""
    for path in sorted(moved, key=len, reverse=True):
        whole = rf"(?:(?<![\w./-])|(?<=://)){re.escape(_clean(path))}(?![\w-]|\.\w)"
        text = re.sub(whole, lambda _, path=path: moved[path], text)  # type: ignore[misc]
    return text


def _argv(container: Container, annotations: Mapping[str, str], first: bool) -> tuple[str, ...]:
    """The annotation is a shell's command line, or a JSON list."""
    if first and COMMAND.name in annotations:
        text = annotations[COMMAND.name].strip()
        if not text.startswith("["):
            return "/bin/sh", "-c", text
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list) and listed and all(isinstance(part, str) for part in listed):
            return tuple(listed)
        raise NotStartable(
            NO_COMMAND, f"annotation {COMMAND.name} is neither a command line nor a JSON list of strings"
        )
    if not container.command:
        raise NotStartable(NO_COMMAND, no_command(container.name))
    return (*container.command, *container.args)


def _place(container: Container, facts: PodFacts) -> dict[str, str]:
    place = {
        "HOST": facts.app_address,
        "POD_NAME": facts.pod.meta.name,
        "POD_NAMESPACE": facts.pod.meta.namespace,
        "POD_IP": facts.pod.ip,
    }
    ports = container_ports((container,)) or facts.ports
    if ports:
        place["PORT"] = str(listen_port(ports[0], facts.first_unprivileged))
    return place


def _proxies(pod: Pod) -> dict[str, str]:
    own = {"NO_PROXY": NO_PROXY, "no_proxy": NO_PROXY}
    if pod.meshed:
        own["HTTP_PROXY"] = own["http_proxy"] = f"http://{pod.ip}:{OUTBOUND}"
    return own


def _left_out(variable: EnvVar, namespace: str, config_maps: ConfigMaps) -> bool:
    """Whether an optional reference leads nowhere; the variable is then not set."""
    if variable.config_map is None or not variable.optional:
        return False
    name, key = variable.config_map
    found = config_maps.get((namespace, name))
    return found is None or key not in found.data


def _value(variable: EnvVar, known: Mapping[str, str], facts: PodFacts, config_maps: ConfigMaps) -> str:
    if variable.config_map is not None:
        name, key = variable.config_map
        data = _config_map(config_maps, facts.pod.meta.namespace, name).data
        if key not in data:
            raise NotStartable("CreateContainerConfigError", f'ConfigMap "{name}" has no key "{key}"')
        return data[key]
    if variable.field_path:
        return _field(variable.field_path, facts)
    return expand(variable.value or "", known)


def _field(path: str, facts: PodFacts) -> str:
    meta = facts.pod.meta
    fields = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": facts.uid,
        "status.podIP": facts.pod.ip,
        "status.hostIP": "127.0.0.1",
        "spec.serviceAccountName": facts.pod.service_account,
        "spec.nodeName": "local",
    }
    if path in fields:
        return fields[path]
    item = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path)
    if item:
        return (meta.labels if item.group(1) == "labels" else meta.annotations).get(item.group(2), "")
    raise NotStartable("CreateContainerConfigError", f'fieldRef "{path}" is not known here')


def _config_map(config_maps: ConfigMaps, namespace: str, name: str) -> ConfigMap:
    found = config_maps.get((namespace, name))
    if found is None:
        raise NotStartable("CreateContainerConfigError", f'ConfigMap "{name}" not found in namespace "{namespace}"')
    return found


def _clean(path: str) -> str:
    """An absolute path without dots and slashes that mean nothing: it cannot lead out of the pod's folder."""
    return posixpath.normpath("/" + path.lstrip("/"))
