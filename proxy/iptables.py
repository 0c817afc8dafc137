"""The nat rules of a pod: what goes through the sidecar and what does not. Pure.

Made for ``iptables-restore``, which puts a whole table in force in one step; ``proxy.init`` runs it. Rules are those
of our two chains only, so that running it again replaces them and touches nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from proxy.contract import ports as own

INBOUND: Final = "SMI_INBOUND"
OUTBOUND: Final = "SMI_OUTBOUND"

MULTIPORT: Final = 15
"""Ports that one rule takes; a range counts as two (iptables-extensions(8), multiport)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirection:
    """Ports of the sidecar, its user, and what is left alone. Port ranges are written ``first:last``."""

    inbound_port: int = own.REDIRECTED
    outbound_port: int = own.OUTBOUND
    own_ports: tuple[int, ...] = (own.MESH, own.ADMIN)
    uid: int = own.SIDECAR_UID
    skip_inbound: tuple[str, ...] = ()
    skip_outbound: tuple[str, ...] = ()
    skip_subnets: tuple[str, ...] = ()


def restore(wanted: Redirection, version: int) -> str:
    """Input of ``iptables-restore --noflush`` for IP ``version`` 4 or 6."""
    subnets = [net for net in wanted.skip_subnets if ip_network(net).version == version]
    ours = [str(port) for port in wanted.own_ports]
    inbound = [f"-A {INBOUND} -s {net} -j RETURN" for net in subnets]
    inbound += [f"-A {INBOUND} {ports} -j RETURN" for ports in multiport([*ours, *wanted.skip_inbound])]
    inbound.append(f"-A {INBOUND} -p tcp -j REDIRECT --to-ports {wanted.inbound_port}")
    outbound = [
        f"-A {OUTBOUND} -m owner --uid-owner {wanted.uid} -j RETURN",
        f"-A {OUTBOUND} -o lo -j RETURN",
        *(f"-A {OUTBOUND} -d {net} -j RETURN" for net in subnets),
        *(f"-A {OUTBOUND} {ports} -j RETURN" for ports in multiport(wanted.skip_outbound)),
        f"-A {OUTBOUND} -p tcp -j REDIRECT --to-ports {wanted.outbound_port}",
    ]
    lines = ["*nat", f":{INBOUND} - [0:0]", f":{OUTBOUND} - [0:0]", *inbound, *outbound]
    return "\n".join([*lines, "COMMIT", ""])


def jumps() -> tuple[tuple[str, ...], ...]:
    """The two rules that lead into our chains, as arguments behind ``-C`` (is it there?) or ``-A``."""
    return (("PREROUTING", "-p", "tcp", "-j", INBOUND), ("OUTPUT", "-p", "tcp", "-j", OUTBOUND))


def multiport(ports: Sequence[str]) -> Iterable[str]:
    """Conditions on the destination port, as few as multiport allows."""
    batch: list[str] = []
    room = MULTIPORT
    for port in ports:
        cost = 2 if ":" in port else 1
        if cost > room:
            yield _condition(batch)
            batch, room = [], MULTIPORT
        batch.append(port)
        room -= cost
    if batch:
        yield _condition(batch)


def _condition(ports: Iterable[str]) -> str:
    return f"-p tcp -m multiport --dports {','.join(ports)}"
