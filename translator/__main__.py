"""``python -m translator --state DIR [--manifests DIR]…``: the controller of a local mesh."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import sys
from datetime import timedelta
from pathlib import Path

import uvloop

from proxy.contract.spiffe import is_trust_domain
from translator.controller import Options, run
from translator.identity.authority import LEAF_LIFETIME, AuthorityError
from translator.identity.tokens import TokenKeyDamaged
from translator.identity.wanted import IdentityOptions
from translator.local.records import decode_mesh
from translator.local.state import MeshState


def main() -> int:
    """Runs the controller; 1 when it cannot start."""
    arguments = _arguments()
    # Problems of the manifests are what stderr is for; the log goes beside it.
    logging.basicConfig(
        stream=sys.stdout, level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.raiseExceptions = False  # of a log on a full disk: a traceback for each line that is lost
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    state = MeshState(directory=arguments.state)
    try:
        mesh = decode_mesh(state.mesh.read_bytes())
    except (OSError, ValueError) as error:
        print(f"{state.mesh}: {error}", file=sys.stderr)
        return 1
    manifests = tuple(arguments.manifests or map(Path, mesh.directories))
    identity = IdentityOptions(
        ca=arguments.ca,
        lifetime=timedelta(seconds=arguments.issuance_lifetime),
        federated=dict(arguments.federate or ()),
    )
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            options = Options(
                state=state,
                mesh=mesh,
                manifests=manifests,
                identity=identity,
                report_seconds=arguments.report_seconds,
            )
            runner.run(run(options))
    except (OSError, AuthorityError, TokenKeyDamaged) as error:
        print(f"the controller cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m translator", description="The controller of a local mesh.")
    parser.add_argument("--state", type=Path, required=True, help="the mesh's folder, with mesh.json")
    parser.add_argument("--manifests", type=Path, action="append", help="a folder to follow (default: as in mesh.json)")
    parser.add_argument(
        "--ca", type=Path, help="a folder with ca.crt, issuer.crt, issuer.key (default: made in DIR/ca)"
    )
    parser.add_argument(
        "--issuance-lifetime",
        type=float,
        default=LEAF_LIFETIME.total_seconds(),
        metavar="SECONDS",
        help="the life of the sidecars' certificates (default: 48 hours)",
    )
    parser.add_argument(
        "--federate",
        type=_federated,
        action="append",
        metavar="TRUST_DOMAIN=FILE",
        help="the trust bundle of another trust domain, whose identities IdentityBindings may name",
    )
    parser.add_argument(
        "--report-seconds",
        type=float,
        default=1.0,
        choices=(1.0, 2.0, 5.0),
        help="how often sidecars report what they counted (default: 1; on one machine that costs next to nothing)",
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args()


def _federated(text: str) -> tuple[str, Path]:
    domain, separator, path = text.partition("=")
    if not separator or not is_trust_domain(domain):
        raise argparse.ArgumentTypeError(f"{text!r} is not TRUST_DOMAIN=FILE")
    return domain, Path(path)


if __name__ == "__main__":
    sys.exit(main())
