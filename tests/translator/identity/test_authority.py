"""The authority: made once, whole, and issuing exactly what was proved."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import forge
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.contract.spiffe import verify_peer
from proxy.newkey import new_key_and_request
from proxy.tls import Pair, build_contexts
from translator.identity.authority import Authority, AuthorityError, RequestRejected
from translator.identity.subject import SidecarIdentity

WEB = SidecarIdentity(namespace="shop", service_account="web", pod="web-0")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path)


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, *uris: str
) -> bytes:  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_authority_has_its_files_and_keeps_its_secrets(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = Authority.create(tmp_path)
    finally:
        os.umask(before)

    ca = tmp_path / "ca"
    assert sorted(os.listdir(ca)) == ["ca.crt", "issuer.crt", "issuer.key"]
    assert [mode(ca), mode(ca / "issuer.key")] == [0o700, 0o600]
    assert authority.roots == (authority.issuer,)
    assert os.listdir(tmp_path) == ["ca"]


def test_the_root_may_sign_leaves_and_nothing_else(authority: Authority) -> None:
    root = authority.issuer
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)

    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    assert root.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3640)


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    first, second, third = Authority.create(tmp_path), Authority.create(tmp_path), Authority.load(tmp_path / "ca")

    assert first.issuer == second.issuer == third.issuer
    assert first.key_id == second.key_id == third.key_id


def test_of_many_that_create_at_once_one_wins_for_all(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    made: list[Authority] = []

    def create() -> None:
        together.wait()
        made.append(Authority.create(tmp_path))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 8
    assert len({authority.issuer.serial_number for authority in made}) == 1
    assert os.listdir(tmp_path) == ["ca"]


@pytest.mark.parametrize("name", ["ca.crt", "issuer.crt", "issuer.key"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "of another"])
def test_a_damaged_authority_is_refused_and_not_replaced(tmp_path: Path, name: str, damage: str) -> None:
    Authority.create(tmp_path)
    file = tmp_path / "ca" / name
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "of another":
        Authority.create(tmp_path / "other")
        file.write_bytes((tmp_path / "other" / "ca" / name).read_bytes())
    else:
        file.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])

    with pytest.raises(AuthorityError) as caught:
        Authority.create(tmp_path)
    secret = (tmp_path / "ca" / "issuer.key").read_text().splitlines()[1:2] if name != "issuer.key" else []
    assert all(line not in str(caught.value) for line in secret)


def test_a_bundle_of_several_roots_is_accepted_and_handed_on(tmp_path: Path) -> None:
    Authority.create(tmp_path)
    bundle = tmp_path / "ca" / "ca.crt"
    other = forge.Root()
    bundle.write_text(f"# the next one\n{other.pem}{bundle.read_text()}{other.pem}")
    loaded = Authority.load(tmp_path / "ca")

    assert loaded.roots == (other.certificate, loaded.issuer)
    assert loaded.bundle == other.pem + loaded.chain


def test_an_issued_certificate_is_an_identity(authority: Authority) -> None:
    key, csr = new_key_and_request(WEB.spiffe_id("cluster.local"))
    before = datetime.now(UTC)
    pem = authority.issue(csr, WEB)

    peer = verify_peer(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER),
                       "cluster.local", datetime.now(UTC))  # fmt: skip
    assert peer.identity == "spiffe://cluster.local/ns/shop/sa/web"
    assert peer.pods == ("web-0.shop.pod",)
    assert timedelta(seconds=58) < before - peer.not_before < timedelta(seconds=62)
    assert timedelta(hours=47.9) < peer.expires - before < timedelta(hours=48.1)
    pair = Pair(certificate=pem, key=key)
    assert build_contexts(pair, authority.bundle, peer.identity, "cluster.local", datetime.now(UTC)).own == peer


def test_an_issued_certificate_has_exactly_what_it_needs(authority: Authority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue(request(p256()), WEB))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/shop/sa/web"]
    assert names.get_values_for_type(x509.DNSName) == ["web-0.shop.pod"]
    assert len(list(names)) == 2
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(authority.issuer)


def test_a_lifetime_may_be_set_but_ends_with_the_root(authority: Authority) -> None:
    short = x509.load_pem_x509_certificate(authority.issue(request(p256()), WEB, timedelta(seconds=60)))
    long = x509.load_pem_x509_certificate(authority.issue(request(p256()), WEB, timedelta(days=9999)))
    end = authority.issuer.not_valid_after_utc
    late = replace(authority, now=lambda: end - timedelta(hours=1))
    last = x509.load_pem_x509_certificate(late.issue(request(p256()), WEB))

    shortest = x509.load_pem_x509_certificate(authority.issue(request(p256()), WEB, timedelta(seconds=5)))
    assert short.not_valid_after_utc - short.not_valid_before_utc == timedelta(seconds=120)
    assert shortest.not_valid_after_utc - shortest.not_valid_before_utc == timedelta(seconds=10)
    assert long.not_valid_after_utc == end
    assert last.not_valid_after_utc == end


def test_an_expired_root_issues_nothing(authority: Authority) -> None:
    over = replace(authority, now=lambda: authority.issuer.not_valid_after_utc)

    with pytest.raises(AuthorityError, match="expired"):
        over.issue(request(p256()), WEB)


def test_of_a_request_only_the_key_counts(authority: Authority) -> None:
    key = p256()
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "admin")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("admin-0.kube-system.pod")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=3), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    certificate = x509.load_pem_x509_certificate(authority.issue(csr, WEB))

    assert certificate.public_key() == key.public_key()
    assert certificate.subject == x509.Name([])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web-0.shop.pod"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "uris", [("spiffe://cluster.local/ns/shop/sa/admin",), (WEB.spiffe_id("cluster.local"), "x:y")]
)
def test_a_request_for_another_name_is_refused(authority: Authority, uris: tuple[str, ...]) -> None:
    with pytest.raises(RequestRejected, match="not proved"):
        authority.issue(request(p256(), *uris), WEB)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "RSA", "Ed25519"],
)
def test_another_kind_of_key_is_refused(
    authority: Authority, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
) -> None:  # fmt: skip
    with pytest.raises(RequestRejected, match="P-256"):
        authority.issue(request(key), WEB)


def test_a_request_that_its_key_did_not_sign_is_refused(authority: Authority) -> None:
    csr = x509.load_pem_x509_csr(request(p256()))
    der = bytearray(csr.public_bytes(serialization.Encoding.DER))
    other = x509.load_pem_x509_csr(request(p256())).public_key()
    mine = csr.public_key()
    assert isinstance(mine, ec.EllipticCurvePublicKey)
    assert isinstance(other, ec.EllipticCurvePublicKey)
    point = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    at = der.find(mine.public_bytes(*point))
    der[at : at + 65] = other.public_bytes(*point)
    stolen = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)

    with pytest.raises(RequestRejected, match="not signed"):
        authority.issue(stolen, WEB)


@pytest.mark.parametrize("data", [b"", b"x", b"\x00" * 100, b"-----BEGIN CERTIFICATE REQUEST-----\n", b"a" * 9000])
def test_bytes_that_are_no_request_are_refused(authority: Authority, data: bytes) -> None:
    with pytest.raises(RequestRejected):
        authority.issue(data, WEB)


def test_the_controller_gets_a_certificate_of_its_own(authority: Authority) -> None:
    certificate, key = authority.issue_controller()
    contexts = build_contexts(
        Pair(certificate=certificate, key=key), authority.bundle, authority.controller_identity, "cluster.local",
        datetime.now(UTC),
    )  # fmt: skip

    assert contexts.own.identity == "spiffe://cluster.local/ns/smi-mesh/sa/smi-mesh-controller"
    assert contexts.own.pods == ()


def test_nothing_shows_the_secrets(authority: Authority, tmp_path: Path) -> None:
    shown = repr(authority)

    assert (tmp_path / "ca" / "issuer.key").read_text().splitlines()[1] not in shown
