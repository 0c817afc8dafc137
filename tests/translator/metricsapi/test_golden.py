"""Golden cases: a world and what was counted in it, and what is then answered to which request.

``NAME.yaml`` is the case (``tests/metricsworld.py`` says how it is written) with its ``requests``, ``NAME.json`` the
answer to each. To write the answers anew after an intended change, and then to read the diff:

    SMI_MESH_REWRITE_GOLDEN=1 pytest tests/translator/metricsapi/test_golden.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from metricsworld import TABLE, Client, observed_of, scene

CASES = sorted((Path(__file__).parent / "golden").glob("*.yaml"))
ANEW = os.environ.get("SMI_MESH_REWRITE_GOLDEN") == "1"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    found: dict[str, Any] = {}

    async def play(client: Client) -> None:
        for request in case["requests"]:
            place = request.removeprefix("table ")
            answer = await client.ask(place, **({"Accept": TABLE} if place != request else {}))
            # Times are when it was asked, and each process gives lists names of its own.
            text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "NOW", answer.text)
            text = re.sub(r'("continue":"\d+)\.[0-9a-f]{8}-', r"\1.LIFE-", text)
            found[request] = {"status": answer.status, "body": json.loads(text)}

    scene(play, observed_of(case) if "pods" in case else None, partial=case.get("partial", ""))
    expected = path.with_suffix(".json")
    if ANEW:
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
