"""What is a trust bundle, and what is none."""

from __future__ import annotations

import forge
import pytest

from proxy.contract.bundle import BundleRejected, read_bundle
from translator.identity.roots import as_bundle, roots_in

ONE, OTHER = forge.Root(), forge.Root()


def test_every_root_is_read_once_in_order() -> None:
    assert roots_in(ONE.pem + OTHER.pem + ONE.pem) == (ONE.certificate, OTHER.certificate)
    assert roots_in(as_bundle([ONE.certificate])) == (ONE.certificate,)


def test_text_around_the_roots_does_not_count() -> None:
    assert roots_in(f"subject=root of ours\n{ONE.pem}\nissued by us\n") == (ONE.certificate,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("hello", "cannot be read"),
        ("\udc80", "cannot be read"),
        (ONE.pem[:-40], "cannot be read"),
        (ONE.pem + OTHER.pem[:-40], "cut short"),
        (ONE.pem + OTHER.pem[:12], "cut short"),
        (ONE.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        (ONE.pem + forge.good().key.decode(), "something else than certificates"),
        (ONE.pem + forge.good().certificate.decode(), "no CA's"),
    ],
)
def test_half_a_bundle_is_none(text: str, reason: str) -> None:
    with pytest.raises(BundleRejected, match=reason):
        read_bundle(text)
