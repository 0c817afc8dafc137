"""What manifests said when they were last good: a JSON file that outlives the process.

A file that is wrong keeps the last good state of its objects, also when the
process that knew that state was ended. ``smi.sources.directory`` is the only user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from smi.log import sources as log


def load(path: Path) -> dict[str, bytes]:
    """Contents by the manifest's path. A missing or unreadable file is an empty memory."""
    try:
        known = json.loads(path.read_bytes())
        return {str(file): str(text).encode() for file, text in known.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        log.warning("last good manifests cannot be read: %s: %s", path, error)
        return {}


def save(path: Path, contents: Mapping[str, bytes]) -> None:
    """Replace the file in one step. A failure is logged; the contents then hold as long as the process."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps({file: data.decode("utf-8-sig") for file, data in sorted(contents.items())}))
        fresh.replace(path)
    except OSError as error:
        log.warning("last good manifests cannot be written: %s: %s", path, error)
