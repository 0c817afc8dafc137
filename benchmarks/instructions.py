"""Instructions a request, counted by valgrind's callgrind: a number that other work on the machine leaves alone.

``python -m benchmarks.instructions [CONTENDER]``: ``ours`` by default, or another one in Python. It is run twice with
different numbers of requests, one at a time; what starting and ending take is in both and cancels out. Each request
pays for its own wake-up, so this is the cost at a low rate, in user mode. Compare it to itself, a change apart.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.latency import Generator
from benchmarks.peers.contenders import arena, entered

CONTENDERS = ("ours", "ours plain", "naive")
REQUESTS = (500, 2500)


def counted(name: str) -> float:
    """Instructions a request. Ends the run where there is no valgrind."""
    if shutil.which("valgrind") is None:
        raise SystemExit("not installed: valgrind. On Debian: apt-get install valgrind")
    # The same hashes in both runs: tables of names fill alike.
    os.environ["PYTHONHASHSEED"] = "0"
    few, many = (_of_a_run(name, requests) for requests in REQUESTS)
    return (many - few) / (REQUESTS[1] - REQUESTS[0])


def _of_a_run(name: str, requests: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile")
        with (
            arena(("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}")) as where,
            entered(where, name) as contender,
        ):
            generator = Generator(contender.host, contender.port, 1)
            generator.run([0.0] * requests)
            generator.close()
        return read_callgrind(profile.read_text(errors="replace"))


def read_callgrind(profile: str) -> int:
    """All instructions of a profile. Raises ``ValueError`` for one that was not written to its end."""
    found = re.search(r"^totals: (\d+)", profile, re.MULTILINE)
    if found is None:
        raise ValueError("callgrind's profile has no total")
    return int(found[1])


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", nargs="?", default=CONTENDERS[0], choices=CONTENDERS)
    options = parser.parse_args()
    print(f"{options.contender}: {counted(options.contender):,.0f} instructions a request")
    return 0


if __name__ == "__main__":
    sys.exit(main())
