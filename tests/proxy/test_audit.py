"""What audit mode remembers, and that clients cannot make it remember without end."""

from __future__ import annotations

from proxy.audit import MAX_KINDS, MAX_METHOD, MAX_PATH, MAX_PATHS, Auditor
from proxy.authorize import Verdict
from proxy.contract.audit import Audit, Seen
from proxy.errors import Reason
from proxy.http1.head import RequestHead

A = "spiffe://cluster.local/ns/default/sa/a"
FINE = Verdict(None, "default/t")
DENIED = Verdict(Reason.DENIED, "no", False)


def noted(*requests: tuple[str, str], caller: str = A, verdict: Verdict = FINE) -> Audit:
    auditor = Auditor()
    for method, target in requests:
        auditor.note(caller, 8080, RequestHead(method, target.encode()), verdict)
    return auditor.shown()


def test_paths_are_canonical_and_without_query() -> None:
    audit = noted(("GET", "/a?x=1"), ("GET", "//%61"), ("POST", "/a"), ("OPTIONS", "*"))
    assert audit.seen == (
        Seen(caller=A, port=8080, method="GET", path="/a", requests=2),
        Seen(caller=A, port=8080, method="OPTIONS", path="*", requests=1),
        Seen(caller=A, port=8080, method="POST", path="/a", requests=1),
    )


def test_what_policy_would_refuse_is_told_apart() -> None:
    auditor = Auditor()
    for verdict in (FINE, DENIED, DENIED):
        auditor.note("", 8080, RequestHead("GET", b"/"), verdict)
    assert auditor.shown().seen == (Seen(port=8080, method="GET", path="/", requests=3, denied=2),)


def test_an_ambiguous_path_is_not_kept() -> None:
    audit = noted(("GET", "/a%2fb"), ("GET", "/a;b"), verdict=DENIED)
    assert audit.seen == (Seen(caller=A, port=8080, method="GET", ambiguous=True, requests=2, denied=2),)


def test_of_many_paths_the_first_segments_are_kept_then_any() -> None:
    many = [("GET", f"/user/{number}/") for number in range(MAX_PATHS + 5)]
    audit = noted(*many, ("GET", "/other"), many[0])
    assert len(audit.seen) == MAX_PATHS + 2
    assert [one for one in audit.seen if one.below] == [
        Seen(caller=A, port=8080, method="GET", path="/", below=True, requests=1),
        Seen(caller=A, port=8080, method="GET", path="/user/", below=True, requests=5),
    ]
    assert sum(one.requests for one in audit.seen) == MAX_PATHS + 7


def test_of_many_first_segments_any_path_is_kept() -> None:
    audit = noted(*(("GET", f"/{number}/x") for number in range(3 * MAX_PATHS)))
    below = [one for one in audit.seen if one.below]
    assert len(below) == MAX_PATHS + 1
    assert below[0] == Seen(caller=A, port=8080, method="GET", path="/", below=True, requests=MAX_PATHS)


def test_long_paths_and_methods_are_not_kept() -> None:
    audit = noted(("GET", "/" + "x" * MAX_PATH), ("GET", "/a/" + "x" * MAX_PATH), ("X" * (MAX_METHOD + 1), "/"))
    assert audit == Audit(
        seen=(
            Seen(caller=A, port=8080, method="GET", path="/", below=True, requests=1),
            Seen(caller=A, port=8080, method="GET", path="/a/", below=True, requests=1),
        ),
        unlisted=1,
    )


def test_kinds_are_bounded_and_what_does_not_fit_is_counted() -> None:
    audit = noted(*((f"M{number}", "/") for number in range(MAX_KINDS + 7)), ("M0", "/"), ("M0", "/new"))
    assert len(audit.seen) == MAX_KINDS
    assert audit.unlisted == 8
    assert sum(one.requests for one in audit.seen) == MAX_KINDS + 1
