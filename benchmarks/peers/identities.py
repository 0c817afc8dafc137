"""Certificates for both sides of a pair, from the mesh's own authority: Envoy shows the very same ones."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.peers.work import CLIENT, SERVER, TRUST_DOMAIN, Keys
from translator.identity.authority import Authority
from translator.identity.subject import SidecarIdentity


def both_sides(folder: Path) -> tuple[Keys, Keys]:
    """The caller's and the server's files in ``folder``, issued now."""
    authority = Authority.create(folder, TRUST_DOMAIN)
    bundle = folder / "roots.pem"
    bundle.write_text(authority.bundle)
    client, server = (_issued(authority, folder, account, bundle) for account in (CLIENT, SERVER))
    return client, server


def _issued(authority: Authority, folder: Path, account: str, bundle: Path) -> Keys:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    who = SidecarIdentity(namespace="default", service_account=account, pod=f"{account}-0")
    files = Keys(folder / f"{account}.crt", folder / f"{account}.key", bundle)
    files.certificate.write_bytes(authority.issue(request.public_bytes(serialization.Encoding.PEM), who))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
