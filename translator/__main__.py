"""``python -m translator --state DIR [--manifests DIR]…``: the controller of a local mesh."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from pathlib import Path

import uvloop

from translator.controller import Options, run
from translator.local.records import decode_mesh
from translator.local.state import MeshState


def main() -> int:
    """Runs the controller; 1 when it cannot start."""
    arguments = _arguments()
    # Problems of the manifests are what stderr is for; the log goes beside it.
    logging.basicConfig(
        stream=sys.stdout, level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    state = MeshState(directory=arguments.state)
    try:
        mesh = decode_mesh(state.mesh.read_bytes())
    except (OSError, ValueError) as error:
        print(f"{state.mesh}: {error}", file=sys.stderr)
        return 1
    manifests = tuple(arguments.manifests or map(Path, mesh.directories))
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            options = Options(state=state, mesh=mesh, manifests=manifests, report_seconds=arguments.report_seconds)
            runner.run(run(options))
    except OSError as error:
        print(f"the controller cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m translator", description="The controller of a local mesh.")
    parser.add_argument("--state", type=Path, required=True, help="the mesh's folder, with mesh.json")
    parser.add_argument("--manifests", type=Path, action="append", help="a folder to follow (default: as in mesh.json)")
    parser.add_argument(
        "--report-seconds",
        type=float,
        default=1.0,
        choices=(1.0, 2.0, 5.0),
        help="how often sidecars report what they counted (default: 1; on one machine that costs next to nothing)",
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
