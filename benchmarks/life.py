"""Requests of every method go on while the application, the controller, the sidecars and the API server are restarted.

On the cluster that KUBECONFIG names, with the mesh installed. Prints JSON: what every method got, and each failure with
the restart it happened at and why. A GET, PUT or DELETE that failed, or a failure that nothing explains, makes the exit
code 1. Usage: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cluster import DEMOS, Place, place
from underload import (
    VERSIONS,
    Failure,
    explained,
    kill_controller,
    load,
    restart_application,
    restart_controller,
    restart_sidecars,
)

GRACE: Final = {"terminationGracePeriodSeconds": 30}
"""Kubernetes' own: the time in which a pod that ends takes leave is a part of it. Tests have less."""

CALM: Final = 5.0
"""Seconds before the first restart and after each: what comes late still belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A restart, and when it was; times are seconds since 1970."""

    what: str
    began: float
    ended: float


def steps(api_restart: str) -> dict[str, Callable[[Place], None]]:
    """The restarts in turn."""

    def restart_api(_: Place) -> None:
        subprocess.run(api_restart, shell=True, check=True)

    every: dict[str, Callable[[Place], None]] = {
        "application, with new sidecars": restart_application,
        "controller, in order": restart_controller,
        "controller, killed": kill_controller,
        "sidecars, in their pods": restart_sidecars,
    }
    return {**every, "API server": restart_api} if api_restart else every


def told(failed: Sequence[Failure], done: Sequence[Step]) -> list[dict[str, Any]]:
    """Each failure with the last restart that had begun before it, and the seconds since."""
    rows = []
    for one in failed:
        step = next((step for step in reversed(done) if step.began <= one.at), None)
        rows.append(
            {
                **asdict(one),
                "during": step.what if step else "",
                "after": round(one.at - step.began, 2) if step else 0.0,
                "explained": explained(one.method, one.kind),
            }
        )
    return rows


def main() -> int:
    """0 when every failure is one that must be expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second (%(default)s)")
    parser.add_argument("--api-restart", default="", metavar="COMMAND", help="restarts or stops the API server")
    parser.add_argument("--namespace", default="bench-life", help="made and deleted (%(default)s)")
    wanted = parser.parse_args()
    done: list[Step] = []
    with place(wanted.namespace) as where:
        where.apply(*sorted((DEMOS / "canary").glob("*.yaml")))
        for name in VERSIONS:
            where.kubectl("patch", f"deployment/{name}", "-p", json.dumps({"spec": {"template": {"spec": GRACE}}}))
        where.settled()
        with load(where, wanted.rate) as found:
            began = time.time()
            time.sleep(CALM)
            for what, restart in steps(wanted.api_restart).items():
                at = time.time()
                restart(where)
                done.append(Step(what=what, began=at, ended=time.time()))
                time.sleep(CALM)
            seconds = time.time() - began
    rows = told(found.failed, done)
    counted = Counter(f"{row['during']}: {row['method']} {row['kind']}" for row in rows)
    report = {
        "seconds": round(seconds, 1),
        "requests": sum(sum(kinds.values()) for kinds in found.methods.values()),
        "methods": found.methods,
        "restarts": {step.what: round(step.ended - step.began, 1) for step in done},
        "failures": dict(counted),
        "unexplained": len(found.unexplained()),
        "each": rows,
        "load": [float(word) for word in Path("/proc/loadavg").read_text("ascii").split()[:3]],
    }
    print(json.dumps(report, indent=2))
    return 1 if found.unexplained() else 0


if __name__ == "__main__":
    sys.exit(main())
