"""``python -m benchmarks``: the comparison. Prints its tables, writes its JSON; 1 when the run is invalid.

Whether a goal was met is told and changes no exit code: the run did what it is for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.comparison import FULL, QUICK, invalid, measure, tell
from benchmarks.goals import rows
from benchmarks.machine import described
from benchmarks.peers.contenders import arena
from benchmarks.peers.processes import ROOT, require
from benchmarks.report import as_json, text


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main ratios only, in a minute and a half")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: in benchmarks/results, by what the run was")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    require()
    machine = described()
    with arena() as where:
        found = measure(plan, where)
    reason = invalid(found.figures)
    run = {
        "mode": plan.name,
        "invalid": reason,
        "machine": machine,
        "goals": rows(found.figures, found.brought),
        "figures": as_json(found.figures),
        "notes": found.notes,
        "samples": found.samples,
    }
    # A run that says nothing does not take the place of one that does.
    name = f"{plan.name}{'-invalid' if reason else ''}.json"
    file: Path = options.json or ROOT / "benchmarks" / "results" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    print(text(run))
    tell(f"written: {file}")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
