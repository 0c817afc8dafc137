"""What the sidecars of a running mesh have seen in audit mode, asked of their admin ports."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec

from proxy.contract.audit import Audit
from translator.local.records import PodRecord

PATIENCE = 5.0
"""Seconds to wait for one answer."""

AT_ONCE = 16
"""Sidecars asked at the same time."""


def audits(records: Iterable[PodRecord]) -> list[tuple[PodRecord, Audit | None]]:
    """Of each pod with a sidecar what that has seen, None where it does not say."""
    asked = [record for record in records if record.admin]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(zip(asked, pool.map(_audit, asked), strict=True))


def _audit(record: PodRecord) -> Audit | None:
    parts = urlsplit(record.admin)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/audit")
        response = connection.getresponse()
        return msgspec.json.decode(response.read(), type=Audit) if response.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()
