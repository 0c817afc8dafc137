"""``python -m conformance``: runs the cases against a mesh. Exit code 0 only if all of them held."""

from __future__ import annotations

import argparse
import fnmatch
import shlex
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from conformance import cluster, local
from conformance.case import Case, load
from conformance.cluster import ClusterMesh
from conformance.local import LocalMesh
from conformance.mesh import Mesh, MeshError
from conformance.report import as_json, as_junit, line, verdict
from conformance.run import Result, run


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0 all held, 1 some did not, 2 wrong usage or no mesh."""
    options = _parser().parse_args(arguments)
    here = Path(str(files("conformance")))
    cases = [case for case in load(here / "cases") if _wanted(case, options.case) and _askable(case, options.mesh)]
    if not cases:
        sys.stderr.write(f"no case is called {' or '.join(options.case)}\n")
        return 2
    if options.list:
        sys.stdout.writelines(f"{case.name:48} {case.about}\n" for case in cases)
        return 0
    try:
        results = run(cases, _mesh(options), here / "worlds", _show if options.output == "table" else _show_error)
    except MeshError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    closing = {"table": verdict, "json": as_json, "junit": as_junit}[options.output]
    sys.stdout.write(closing(results) + "\n")
    return 0 if all(result.ok for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description="SMI conformance, black box.")
    parser.add_argument("--mesh", choices=["local", "cluster"], default="local", help="the kind of mesh")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only these; * and ? are wildcards")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("-o", "--output", choices=["table", "json", "junit"], default="table")
    parser.add_argument(
        "--settle",
        type=float,
        metavar="SECONDS",
        help=f"pause after each change (local: {local.SETTLE:g}, cluster: {cluster.SETTLE:g})",
    )
    parser.add_argument("--smi", default=_smi(), metavar="COMMAND", help="local: the smi command line to test")
    parser.add_argument("--kubectl", default="kubectl", metavar="COMMAND", help="cluster: the kubectl command line")
    parser.add_argument("--image", default="", help="cluster: any image with Python 3, instead of the worlds' own")
    return parser


def _mesh(options: argparse.Namespace) -> Mesh:
    if options.mesh == "local":
        settle = local.SETTLE if options.settle is None else options.settle
        return LocalMesh(smi=tuple(shlex.split(options.smi)), settle=settle)
    settle = cluster.SETTLE if options.settle is None else options.settle
    return ClusterMesh(kubectl=tuple(shlex.split(options.kubectl)), image=options.image, settle=settle)


def _wanted(case: Case, patterns: list[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)


def _askable(case: Case, mesh: str) -> bool:
    return not case.meshes or mesh in case.meshes


def _smi() -> str:
    beside = Path(sys.executable).with_name("smi")
    return shlex.quote(str(beside)) if beside.exists() else shutil.which("smi") or "smi"


def _show(result: Result) -> None:
    sys.stdout.write(line(result) + "\n")
    sys.stdout.flush()


def _show_error(result: Result) -> None:
    if not result.ok:
        sys.stderr.write(line(result) + "\n")


if __name__ == "__main__":
    sys.exit(main())
