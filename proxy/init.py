"""``python -m proxy init``: has the kernel of this pod redirect its connections to the sidecar. Needs NET_ADMIN.

Runs as root before everything else in the pod but the sidecar, and ends. ``proxy.iptables`` says which rules. With
``--state`` it ends only when the sidecar is ready: what comes after it in the pod finds the mesh working.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from proxy.awaiting import until_ready
from proxy.contract.ports import ADMIN, BadRule, port_list, subnet_list
from proxy.iptables import Redirection, jumps, restore
from proxy.redirected import leave_note

WAIT: Final = ("-w", "10")
"""Seconds to wait for whoever else changes rules."""

FAMILIES: Final = ((4, "iptables"), (6, "ip6tables"))
FLAVOURS: Final = ("", "-nft", "-legacy")
"""Whichever the kernel and the image have; the default first."""

LOCK: Final = "xtables.lock"
"""In the folder of the sidecar's state, a tmpfs: the image's own file system is read-only."""

_T = TypeVar("_T")


class Failed(Exception):
    """A tool failed; the text is what it said."""


def main(arguments: list[str]) -> int:
    """0 when the rules are in force, 1 when they are not, 2 for wrong usage."""
    wanted = _parser().parse_args(arguments)
    redirection = Redirection(
        inbound_port=wanted.inbound_port,
        outbound_port=wanted.outbound_port,
        uid=wanted.uid,
        skip_inbound=wanted.skip_inbound_ports,
        skip_outbound=wanted.skip_outbound_ports,
        skip_subnets=wanted.skip_subnets,
    )
    # The first process of a container is sent no signal that it has not asked for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    state = Path(wanted.state) if wanted.state else None
    if state is not None:
        os.environ.setdefault("XTABLES_LOCKFILE", str(state / LOCK))
    for version, tool in FAMILIES:
        try:
            print(f"IPv{version}: redirected by {_apply(redirection, version, tool)}", flush=True)
        except Failed as error:
            if version == 4:
                print(f"python -m proxy init: {error}", file=sys.stderr)
                return 1
            print(f"IPv{version}: not redirected, this pod has none: {error}", flush=True)
    if state is not None:
        leave_note(state)
        until_ready(ADMIN)
    return 0


def _apply(wanted: Redirection, version: int, tool: str) -> str:
    """The tool that did it. Raises ``Failed`` when none could."""
    problem = f"there is no {tool} here"
    for flavour in FLAVOURS:
        name = f"{tool}{flavour}"
        try:
            _run(f"{name}-restore", "--noflush", *WAIT, text=restore(wanted, version))
            for rule in jumps():
                if subprocess.run((name, *WAIT, "-t", "nat", "-C", *rule), capture_output=True, check=False).returncode:
                    _run(name, *WAIT, "-t", "nat", "-A", *rule)
        except FileNotFoundError:
            continue
        except Failed as error:
            problem = str(error)
            continue
        return name
    raise Failed(problem)


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.strip() or f'exit {done.returncode}'}")


def _parser() -> argparse.ArgumentParser:
    known = Redirection()
    parser = argparse.ArgumentParser(
        prog="python -m proxy init", description="Redirect this pod's connections to its sidecar."
    )
    parser.add_argument("--inbound-port", type=int, default=known.inbound_port, help="(%(default)s)")
    parser.add_argument("--outbound-port", type=int, default=known.outbound_port, help="(%(default)s)")
    parser.add_argument("--uid", type=int, default=known.uid, help="the sidecar's user, never redirected (%(default)s)")
    parser.add_argument("--state", metavar="FOLDER", help="the sidecar's state: it is told there, and waited for")
    ports, subnets = _argument(port_list), _argument(subnet_list)
    parser.add_argument("--skip-inbound-ports", type=ports, default=(), metavar="PORTS", help="25,8000-8010")
    parser.add_argument("--skip-outbound-ports", type=ports, default=(), metavar="PORTS", help="25,8000-8010")
    parser.add_argument("--skip-subnets", type=subnets, default=(), metavar="NETS", help="10.0.0.0/8,fd00::/8")
    return parser


def _argument(read: Callable[[str], _T]) -> Callable[[str], _T]:
    def checked(text: str) -> _T:
        try:
            return read(text)
        except BadRule as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked
