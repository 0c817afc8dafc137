"""Reading an identity from a certificate: what is accepted, and everything that is not."""

from __future__ import annotations

from datetime import timedelta

import forge
import pytest
from forge import BAD, TRUST_DOMAIN, WEB, Leaf
from hypothesis import given
from hypothesis import strategies as st

from proxy.contract import spiffe
from proxy.contract.config import spiffe_id
from proxy.contract.spiffe import PeerRejected, is_label, is_subdomain, parse_spiffe_id, split_spiffe_id, verify_peer


def test_a_good_certificate_is_an_identity() -> None:
    peer = verify_peer(forge.der(forge.good()), TRUST_DOMAIN, forge.now())

    assert (peer.identity, peer.namespace, peer.service_account) == (WEB, "shop", "web")
    assert peer.pods == ("web-0.shop.pod",)
    assert peer.not_before < forge.now() < peer.expires


@pytest.mark.parametrize("name", BAD)
def test_a_bad_certificate_is_none(name: str) -> None:
    with pytest.raises(PeerRejected):
        verify_peer(forge.der(BAD[name]()), TRUST_DOMAIN, forge.now())


def test_the_bad_ones_are_many() -> None:
    assert len(BAD) >= 60


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("upper-case trust domain", "not in lower case"),
        ("other trust domain", "is not 'cluster.local'"),
        ("userinfo", "userinfo"),
        ("port", "a port"),
        ("query", "a query"),
        ("fragment", "a fragment"),
        ("escaped slash", "percent-escape"),
        ("root path", "no path"),
        ("dot-dot segment", "dot segment"),
        ("empty middle segment", "empty or dot segment"),
        ("non-ASCII name", "unreadable"),
        ("2,049 bytes", "2049 bytes"),
        ("NUL within", "control"),
        ("CR LF header", "control"),
        ("two URIs", "2 URIs"),
        ("no URI", "0 URIs"),
        ("no alternative name", "no subject alternative name"),
        ("CA", "is a CA's"),
        ("no digitalSignature", "lacks digitalSignature"),
        ("keyCertSign", "keyCertSign"),
        ("cRLSign", "cRLSign"),
        ("server only", "lacks serverAuth or clientAuth"),
        ("expired", "expired at"),
        ("not yet valid", "not valid before"),
        ("P-384", "not P-256"),
        ("unknown critical extension", "1.3.6.1.4.1.99999.1"),
        ("names cut short", "unreadable"),
    ],
)
def test_the_reason_is_said(bad: str, reason: str) -> None:
    with pytest.raises(PeerRejected, match=reason):
        verify_peer(forge.der(BAD[bad]()), TRUST_DOMAIN, forge.now())


PARTNER = "spiffe://partner.example/billing/api-v2"


def test_of_a_believed_trust_domain_any_path_is_an_identity_and_nothing_else_counts() -> None:
    """Its DNS names could be those of pods of ours."""
    for uri in (PARTNER, "spiffe://partner.example/ns/shop/sa/web", "spiffe://partner.example/A_b.c"):
        der = forge.der(forge.Root().sign(Leaf(uris=(uri,), dns=("web-0.shop.pod", "odd.pod"))))
        peer = verify_peer(der, TRUST_DOMAIN, forge.now(), {"partner.example"})
        assert (peer.identity, peer.trust_domain) == (uri, "partner.example")
        assert (peer.namespace, peer.service_account, peer.pods) == ("", "", ())
        with pytest.raises(PeerRejected, match=r"is not 'cluster\.local'"):
            verify_peer(der, TRUST_DOMAIN, forge.now())
        with pytest.raises(PeerRejected, match=r"is not 'cluster\.local'"):
            verify_peer(der, TRUST_DOMAIN, forge.now(), {"example", "partner.example.org"})


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://partner.example",
        "spiffe://partner.example/",
        "spiffe://partner.example/a//b",
        "spiffe://partner.example/a/../b",
        "spiffe://partner.example/a/",
        "spiffe://partner.example/a b",
        "spiffe://partner.example/a%20b",
        "spiffe://partner.example/ä",
        "spiffe://partner.example/a?b",
        "spiffe://partner.example:8443/a",
        "spiffe://Partner.example/a",
    ],
)
def test_a_believed_trust_domain_is_held_to_the_standard(uri: str) -> None:
    with pytest.raises(PeerRejected):
        split_spiffe_id(uri)


@pytest.mark.parametrize("name", ["workload path only", *BAD])
def test_who_believes_another_trust_domain_is_as_strict_with_its_own(name: str) -> None:
    pair = forge.trusted().sign(Leaf(uris=("spiffe://cluster.local/billing",))) if name not in BAD else BAD[name]()
    with pytest.raises(PeerRejected):
        verify_peer(forge.der(pair), TRUST_DOMAIN, forge.now(), {"partner.example"})


def test_a_certificate_says_who_issued_it() -> None:
    peer = verify_peer(forge.der(forge.good()), TRUST_DOMAIN, forge.now())
    assert peer.issuer == forge.trusted().key_id.hex()


def test_names_of_other_kinds_are_allowed_beside_the_one_uri() -> None:
    pair = forge.trusted().sign(Leaf(dns=("web.example", "web-0.shop.pod", "a.b.shop.pod"), emails=("web@example",)))

    assert verify_peer(forge.der(pair), TRUST_DOMAIN, forge.now()).pods == ("web-0.shop.pod", "a.b.shop.pod")


def test_time_and_trust_domain_are_checked_again_for_a_certificate_seen_before() -> None:
    der = forge.der(forge.good())
    verify_peer(der, TRUST_DOMAIN, forge.now())

    with pytest.raises(PeerRejected, match="expired"):
        verify_peer(der, TRUST_DOMAIN, forge.now() + timedelta(hours=2))
    with pytest.raises(PeerRejected, match="not valid before"):
        verify_peer(der, TRUST_DOMAIN, forge.now() - timedelta(hours=2))
    with pytest.raises(PeerRejected, match="trust domain"):
        verify_peer(der, "other.local", forge.now())


def test_the_last_instant_of_life_is_outside() -> None:
    der = forge.der(forge.good())
    peer = verify_peer(der, TRUST_DOMAIN, forge.now())

    assert verify_peer(der, TRUST_DOMAIN, peer.not_before) == peer
    assert verify_peer(der, TRUST_DOMAIN, peer.expires - timedelta(microseconds=1)) == peer
    with pytest.raises(PeerRejected):
        verify_peer(der, TRUST_DOMAIN, peer.expires)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spiffe, "MAX_PARSED", 4)
    monkeypatch.setattr(spiffe, "_parsed", {})

    for _ in range(10):
        verify_peer(forge.der(forge.good()), TRUST_DOMAIN, forge.now())

    assert len(spiffe._parsed) == 4


@given(st.binary(max_size=400))
def test_bytes_that_are_no_certificate_are_rejected(data: bytes) -> None:
    with pytest.raises(PeerRejected):
        verify_peer(data, TRUST_DOMAIN, forge.now())


_flips = st.tuples(st.integers(0, 10_000), st.integers(1, 255))


@given(st.lists(_flips, min_size=1, max_size=3))
def test_a_damaged_certificate_is_rejected_or_still_the_same_identity_form(flips: list[tuple[int, int]]) -> None:
    data = bytearray(forge.der(forge.good()))
    for position, change in flips:
        data[position % len(data)] ^= change
    try:
        peer = verify_peer(bytes(data), TRUST_DOMAIN, forge.now())
    except PeerRejected:
        return
    assert peer.identity == spiffe_id(TRUST_DOMAIN, peer.namespace, peer.service_account)


@given(st.text(max_size=60) | st.from_regex(r"spiffe://[a-z.:@%]{1,12}/ns/[a-z./-]{0,8}/sa/[a-z./#?-]{0,8}"))
def test_what_is_accepted_spells_its_parts_in_exactly_one_way(uri: str) -> None:
    try:
        parts = parse_spiffe_id(uri)
    except PeerRejected:
        return
    assert spiffe_id(*parts) == uri
    assert is_label(parts[1])
    assert is_subdomain(parts[2])


def test_the_longest_names_are_accepted() -> None:
    namespace, account = "n" * 63, ".".join(["a" * 60] * 4)
    assert parse_spiffe_id(spiffe_id("d" * 255, namespace, account)) == ("d" * 255, namespace, account)
