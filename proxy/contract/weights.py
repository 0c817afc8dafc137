"""The weights of a Service's rules alone: what most changes of a split change, and so what travels of them. Pure.

``proxy.contract.messages`` sends them, ``proxy.contract.patch`` puts them in.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from proxy.contract.config import Port, Rule, Service


class WrongNumber(ValueError):
    """There are not as many weights as backends."""


def weights_of(service: Service) -> tuple[int, ...]:
    """Those of all backends: by port number, then in the order of the rules and of each one's backends."""
    return tuple(
        backend.weight
        for number in sorted(service.ports)
        for rule in service.ports[number].rules
        for backend in rule.backends
    )


def with_weights(service: Service, weights: tuple[int, ...]) -> Service:
    """``service`` with other weights, in the order of ``weights_of``. Raises ``WrongNumber``."""
    left = iter(weights)
    try:
        ports = {number: _port(service.ports[number], left) for number in sorted(service.ports)}
    except StopIteration:
        raise WrongNumber(f"there are only {len(weights)} weights") from None
    if next(left, None) is not None:
        raise WrongNumber(f"{len(weights)} weights are too many")
    return replace(service, ports={number: ports[number] for number in service.ports})


def _port(port: Port, weights: Iterator[int]) -> Port:
    return replace(port, rules=tuple([_rule(rule, weights) for rule in port.rules]))


def _rule(rule: Rule, weights: Iterator[int]) -> Rule:
    # Lists, not generators: within these the end of the weights would be an error of another kind.
    return replace(rule, backends=tuple([replace(backend, weight=next(weights)) for backend in rule.backends]))
