"""May this caller make this request? The decision of TrafficTargets on the server's side.

A request is let in iff one grant matches whole: source, L4 and L7. Grants are
ORed as units. Without a grant that names the pod the default policy decides.
Pure: built from the contract's ``Inbound``, asked once per request. ``judge`` is the whole decision, with the form in
which the request is judged and handed on; ``proxy.inbound`` acts on it.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from proxy.contract.config import Grant, Inbound
from proxy.errors import BadRequest, Denied, Reason, Refusal
from proxy.lookalike import Guard
from proxy.matching import Matcher, Request, compile_match
from proxy.paths import canonical_path

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

# Callers seen are remembered per port; more than this many at once and the memory starts anew.
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: a SPIFFE ID (empty: no identity) and the pod names its certificate vouches for."""

    identity: str = ""
    pods: tuple[str, ...] = ()


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` is None when policy lets the request in; ``enforced`` is false in audit mode.

    ``target`` is the TrafficTarget that lets it in, ``match`` the ``group/match`` by which; empty where there is none.
    """

    reason: Reason | None
    by: str
    enforced: bool = True
    target: str = ""
    match: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the request goes on to the application."""
        return self.reason is None or not self.enforced

    def refusal(self) -> Refusal | None:
        """What is answered instead of the application; None: nothing, the request goes on."""
        if self.reason is None or not self.enforced:
            return None
        return BadRequest(self.by) if self.reason is Reason.BAD_REQUEST else Denied(self.reason, self.by)


@dataclass(frozen=True, slots=True)
class _Grant:
    target: str
    identities: frozenset[str]
    pods: frozenset[str]
    ports: frozenset[int] | None
    http: tuple[tuple[Matcher, Verdict], ...] | None
    """What must hold of a request, and what is then said; None: ``allowed`` without looking."""
    allowed: Verdict

    def reaches(self, caller: Caller, port: int) -> bool:
        if self.ports is not None and port not in self.ports:
            return False
        return caller.identity in self.identities or any(pod in self.pods for pod in caller.pods)


def _compile_grant(grant: Grant) -> _Grant:
    allowed = Verdict(None, grant.target, target=grant.target)
    return _Grant(
        target=grant.target,
        identities=frozenset(source.identity for source in grant.sources if source.identity),
        pods=frozenset(source.pod for source in grant.sources if source.pod),
        ports=None if grant.ports is None else frozenset(grant.ports),
        http=None
        if grant.http is None
        else tuple((compile_match(match), replace(allowed, match=match.name)) for match in grant.http),
        allowed=allowed,
    )


class Authorizer:
    """The compiled policy of one pod. Raises ``ConfigRejected`` for a pattern that is not RE2."""

    __slots__ = (
        "_candidates",
        "_default",
        "_grants",
        "_guards",
        "_looks",
        "_named",
        "_own",
        "enforced",
        "unmeshed",
    )

    def __init__(self, inbound: Inbound, own_identity: str) -> None:
        self._own = own_identity
        self._default = inbound.default_policy
        self._named = inbound.named
        self.enforced = not inbound.audit
        """False in audit mode: then nothing is refused, nor changed for policy's sake."""
        self.unmeshed = inbound.unmeshed
        """Whether callers without identity are let in whatever the grants say."""
        self._grants = tuple(_compile_grant(grant) for grant in inbound.grants)
        self._looks: dict[int, bool] = {}
        self._guards: dict[int, Guard | None] = {}
        self._candidates: dict[tuple[str, tuple[str, ...], int], tuple[_Grant, ...]] = {}

    def looks_at_path(self, port: int) -> bool:
        """Whether a path condition other than match-all is in force at ``port``."""
        looks = self._looks.get(port)
        if looks is None:
            looks = self._looks[port] = any(matcher.looks_at_path for matcher in self._in_force(port))
        return looks

    def guard(self, port: int) -> Guard | None:
        """The headers that conditions in force at ``port`` look at; None when there are none."""
        try:
            return self._guards[port]
        except KeyError:
            names = {name for matcher in self._in_force(port) for name, _ in matcher.headers}
            guard = self._guards[port] = Guard(names) if names else None
            return guard

    def _in_force(self, port: int) -> list[Matcher]:
        return [
            matcher
            for grant in self._grants
            if grant.http is not None and (grant.ports is None or port in grant.ports)
            for matcher, _ in grant.http
        ]

    def decide(self, caller: Caller, port: int, request: Request | None) -> Verdict:
        """Judge one request to container port ``port``; ``request`` None is traffic that is not HTTP."""
        enforced = self.enforced
        if not caller.identity:
            return self._decide_nobody(enforced)
        if not self._named:
            return self._decide_default(caller, enforced)
        key = (caller.identity, caller.pods, port)
        grants = self._candidates.get(key)
        if grants is None:
            if len(self._candidates) >= _REMEMBERED:
                self._candidates.clear()
            grants = tuple(grant for grant in self._grants if grant.reaches(caller, port))
            self._candidates[key] = grants
        for grant in grants:
            if grant.http is None:
                return grant.allowed
            if request is not None:
                for matcher, allowed in grant.http:
                    if matcher.accepts(request):
                        return allowed
        return Verdict(Reason.DENIED, "no TrafficTarget allows it", enforced)

    def _decide_nobody(self, enforced: bool) -> Verdict:
        if self.unmeshed:
            return Verdict(None, "unmeshed: allow", enforced)
        if self._default == "allow" and not self._named:
            return Verdict(None, "default policy allow", enforced)
        return Verdict(Reason.NO_IDENTITY, "the caller has no identity", enforced)

    def _decide_default(self, caller: Caller, enforced: bool) -> Verdict:
        policy = self._default
        if policy == "allow" or (policy == "same-identity" and caller.identity == self._own):
            return Verdict(None, f"default policy {policy}", enforced)
        return Verdict(Reason.DENIED, f"default policy {policy}", enforced)


def barred(head: RequestHead, port: int, own: Container[int]) -> Refusal | None:
    """What is answered to a request for container port ``port`` that policy is not even asked about."""
    if head.method == "CONNECT":
        return BadRequest("CONNECT is not forwarded", 405)
    if port in own:
        return Denied(Reason.LOOP, f"port {port} is the sidecar's own")
    return None


def judge(authorizer: Authorizer, caller: Caller, port: int, head: RequestHead) -> Verdict:
    """May ``caller`` make this request of container port ``port``? Brings the request to the form that is judged.

    Where a condition on paths is in force that is the canonical path, which the application then gets too; what may
    mean different things to policy and to the application is a bad request. Audit mode changes nothing.
    """
    doubt = ""
    # Who is refused for being nobody costs no work on paths.
    if (caller.identity or authorizer.unmeshed) and authorizer.looks_at_path(port):
        doubt = _settle_path(head, authorizer.enforced)
    guard = authorizer.guard(port)
    if guard is not None and not doubt:
        doubt = _settle_headers(head, guard)
    if doubt:
        return Verdict(Reason.BAD_REQUEST, doubt, authorizer.enforced)
    return authorizer.decide(caller, port, head)


def _settle_path(head: RequestHead, enforced: bool) -> str:
    """The canonical path is what policy sees and, where it is enforced, what the application gets. Why not, if not."""
    path = canonical_path(head.path)
    head.policy_path = path.path.decode("latin-1")
    if path.ambiguous:
        return f"ambiguous path: {path.ambiguous}"
    if enforced and path.path != head.path:
        _, mark, query = head.target.partition(b"?")
        head.target = path.path + mark + query
    return ""


def _settle_headers(head: RequestHead, guard: Guard) -> str:
    """No header under another name, or in the trailers, stands in for one that policy looks at. Which does, if one."""
    name = guard.look_alike(head.lines)
    if name:
        return f"ambiguous header: {name}"
    head.guard = guard
    return ""
