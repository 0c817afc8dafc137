"""gRPC side by side: our sidecar and Envoy, as in a pod, in a network of their own.

What an application sends to a Service's address reaches its sidecar because the kernel redirects it, by a rule.
So that this machine's rules stay as they are, ``python -m benchmarks.calls`` runs itself once more in a network
namespace that ends with it. It needs root for that. Prints JSON: ``{"pairs": [[ours, Envoy], …], "counts": {…}}``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict

from benchmarks.pairs import compared, counts
from benchmarks.peers.contenders import arena
from benchmarks.peers.processes import ROOT
from benchmarks.peers.work import CLUSTER_IP
from benchmarks.saturation import Sample

OURS, ENVOY = "ours gRPC", "Envoy gRPC"
COMMAND = (sys.executable, "-m", "benchmarks.calls")


class NotMeasured(Exception):
    """This machine cannot, or a contender does not answer; the text says why."""


def measured(pairs: int, seconds: float) -> tuple[list[tuple[Sample, Sample]], dict[str, dict[str, float | None]]]:
    """The runs, and system calls a call. Raises ``NotMeasured``."""
    if os.geteuid():
        raise NotMeasured("gRPC is measured in a network of its own, for which one has to be root")
    command = ["unshare", "--net", *COMMAND, "--pairs", str(pairs), "--seconds", str(seconds), "--inside"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise NotMeasured(f"gRPC was not measured: {done.stderr.strip().partition(chr(10))[0]}")
    said = json.loads(done.stdout)
    return [(Sample(**ours), Sample(**envoy)) for ours, envoy in said["pairs"]], said["counts"]


def inside(pairs: int, seconds: float) -> None:
    """What happens in the namespace."""
    for command in ("ip link set lo up", f"ip address add {CLUSTER_IP}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    with arena() as where:
        rule = f"-A OUTPUT -p tcp -d {CLUSTER_IP} --dport 80 -j REDIRECT --to-ports {where.redirected}"
        subprocess.run(["iptables", "-t", "nat", *rule.split()], check=True)
        runs = compared(where, OURS, ENVOY, pairs, seconds)
        counted = {name: counts(where, name, seconds) for name in (OURS, ENVOY)}
    print(json.dumps({"pairs": [[asdict(a), asdict(b)] for a, b in runs], "counts": counted}))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.pairs, options.seconds)
        return 0
    try:
        runs, counted = measured(options.pairs, options.seconds)
    except NotMeasured as reason:
        print(reason, file=sys.stderr)
        return 1
    print(json.dumps({"pairs": [[asdict(a), asdict(b)] for a, b in runs], "counts": counted}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
