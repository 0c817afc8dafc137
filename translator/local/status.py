"""What ``smi local status`` shows: the supervisor's records, and what sidecars and controller say of themselves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from translator.local.client import ask
from translator.local.errors import LocalError
from translator.local.pages import PATIENCE, page
from translator.local.records import MeshRecord, PodRecord, decode_mesh, decode_pods
from translator.local.state import MeshState, read_state

AT_ONCE = 16
"""Sidecars asked at the same time."""


def collect(state: MeshState) -> dict[str, Any]:
    """The status as JSON data; its shape is a contract (docs: local mode). ``NoSuchMesh`` if it has just ended."""
    mesh = decode_mesh(read_state(state, state.mesh))
    records = decode_pods(read_state(state, state.pods))
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        problems = pool.submit(_problems, state, mesh)
        findings = pool.submit(_findings, mesh)
        sidecars = list(pool.map(_sidecar, records))
        return {
            "name": mesh.name,
            "supervisor": {"pid": mesh.pid},
            "controller": {"pid": mesh.controller_pid or None, "url": mesh.url},
            "problems": problems.result(),
            "findings": findings.result(),
            "pods": [_pod(record, sidecar) for record, sidecar in zip(records, sidecars, strict=True)],
        }


def _pod(record: PodRecord, sidecar: Mapping[str, Any] | None) -> dict[str, Any]:
    pod = record.pod
    return {
        "name": pod.meta.name,
        "namespace": pod.meta.namespace,
        "workload": pod.workload,
        "serviceAccount": pod.service_account,
        "ip": pod.ip,
        "ready": pod.ready,
        "meshed": pod.meshed,
        "phase": record.phase,
        "reason": record.reason,
        "message": record.message,
        "labels": dict(pod.meta.labels),
        "app": {"pid": record.app_pid or None},
        "sidecar": sidecar,
    }


def _sidecar(record: PodRecord) -> dict[str, Any] | None:
    if not record.admin:
        return None
    said: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        said = dict(_get(f"{record.admin}/status"))
    return {
        "pid": record.sidecar_pid or None,
        "admin": record.admin,
        "configVersion": int(said.get("configVersion") or 0),
        "certificateExpires": said.get("certificateExpires") or None,
    }


def _problems(state: MeshState, mesh: MeshRecord) -> list[Any]:
    """The controller's; while it is away those that the supervisor read, and if that is silent too, this."""
    try:
        return list(_get(f"{mesh.url}/problems"))
    except (OSError, ValueError):
        try:
            return list(json.loads(ask(state.socket, "GET", "/v1/problems", timeout=PATIENCE)))
        except (LocalError, ValueError) as error:
            message = f"the problems are not known, the controller does not answer, and {error}"
            return [{"file": "", "line": 0, "field": "", "message": message}]


def _findings(mesh: MeshRecord) -> list[Any] | None:
    """What the controller remarks on objects that do not mean what they seem to; None while it is not there to say."""
    try:
        return list(_get(f"{mesh.url}/findings"))
    except (OSError, ValueError):
        return None


def _get(url: str) -> Any:
    status, body = page(url)
    if status != 200:
        raise ValueError(f"{url} answers {status}")
    return json.loads(body)
