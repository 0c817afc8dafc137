"""Which addresses a mesh and its pods get. Pure; ``translator.local.subnets`` holds the locks.

A mesh has one /24 of 127.80.0.0/16, where sidecars listen, and its twin in
127.81.0.0/16, where the apps do. Host 1 is the controller's; pods get 2 to 254.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

SUBNETS = 256
CONTROLLER_HOST = 1
FIRST_POD = 2
LAST_POD = 254
MOST_PODS = LAST_POD - FIRST_POD + 1

UNPRIVILEGED_OFFSET = 20000
"""Added to a port that only root may bind: above all well-known ports, below Linux' ephemeral ones (32768)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """Number ``n`` of the 256: 127.80.n.0/24 and 127.81.n.0/24."""

    number: int

    @property
    def cidr(self) -> str:
        """The half where sidecars listen."""
        return f"127.80.{self.number}.0/24"

    @property
    def controller(self) -> str:
        """The controller's address."""
        return self.pod_ip(CONTROLLER_HOST)

    def pod_ip(self, host: int) -> str:
        """``POD_IP`` of the pod with this host number."""
        return f"127.80.{self.number}.{host}"

    def app_address(self, host: int) -> str:
        """``HOST`` of the pod with this host number."""
        return f"127.81.{self.number}.{host}"


def next_host(taken: Collection[int], last: int) -> int | None:
    """A free host number after ``last``, round and round; None when all are taken.

    An address that was just given up is the last to be used again: other
    sidecars may still know it as the pod's that had it.
    """
    for step in range(1, MOST_PODS + 1):
        host = FIRST_POD + (last - FIRST_POD + step) % MOST_PODS
        if host not in taken:
            return host
    return None


def listen_port(port: int, first_unprivileged: int) -> int:
    """The port really bound for container port ``port``: itself, or 20000 + port where only root may bind it."""
    return port if port >= first_unprivileged else UNPRIVILEGED_OFFSET + port


def used_subnets(addresses: Iterable[str]) -> frozenset[int]:
    """Numbers of the subnets that these addresses lie in."""
    octets = (address.split(".") for address in addresses if address.startswith(("127.80.", "127.81.")))
    return frozenset(int(number) for _, _, number, _ in octets)
