"""Golden cases: what autoscalers are answered, request by request.

To write the answers anew after an intended change, and then to read the diff:

    SMI_MESH_REWRITE_GOLDEN=1 pytest tests/translator/autoscaling/test_golden_scaling.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from scaleworld import Client, scene

REQUESTS = Path(__file__).parent / "golden" / "requests.yaml"


def test_golden() -> None:
    found: dict[str, Any] = {}

    async def play(client: Client) -> None:
        for group in yaml.safe_load(REQUESTS.read_text()).values():
            for request in group:
                status, body = await client.ask(request)
                # Times are when it was looked.
                text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "NOW", json.dumps(body))
                found[request] = {"status": status, "body": json.loads(text)}

    scene(play)
    expected = REQUESTS.with_suffix(".json")
    if os.environ.get("SMI_MESH_REWRITE_GOLDEN") == "1":
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
