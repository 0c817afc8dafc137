"""When each object was first seen: a JSON file that outlives the process.

Of several TrafficSplits with one root the oldest counts, and a manifest
usually says nothing of its age. ``smi.sources.directory`` is the only user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from smi.log import sources as log


def load(path: Path) -> dict[str, datetime]:
    """Times by ``kind/namespace/name``. A missing or unreadable file is an empty memory: better young than dead."""
    try:
        known = json.loads(path.read_bytes())
        times = {str(key): datetime.fromisoformat(text) for key, text in known.items()}
        return {key: moment for key, moment in times.items() if moment.tzinfo is not None}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("first-seen times cannot be read, starting anew: %s: %s", path, error)
        return {}


def save(path: Path, seen: Mapping[str, datetime]) -> None:
    """Replace the file in one step. A failure is logged; the times then hold as long as the process."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps({key: seen[key].isoformat() for key in sorted(seen)}, indent=0))
        fresh.replace(path)
    except OSError as error:
        log.warning("first-seen times cannot be written: %s: %s", path, error)
