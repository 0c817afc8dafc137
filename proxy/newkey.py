"""A program of its own: prints a new private key and a certificate request for it. ``proxy.keys`` runs it.

The key goes to whoever runs it and nowhere else: not to the command line, the environment or a disk.
"""

from __future__ import annotations

import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def new_key_and_request(identity: str) -> tuple[bytes, bytes]:
    """A P-256 private key and a certificate request for the SPIFFE ID ``identity``, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
    )  # fmt: skip


if __name__ == "__main__":
    sys.stdout.buffer.write(b"".join(new_key_and_request(sys.argv[1])))
