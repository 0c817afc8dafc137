"""Local tokens: what was minted is accepted, nothing else is, and nothing is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from translator.identity.subject import BadIdentity, SidecarIdentity
from translator.identity.tokens import MAX_TOKEN, TokenKeyDamaged, TokenRejected, mint, token_key, verify

KEY = bytes(range(32))
WEB = SidecarIdentity(namespace="shop", service_account="web", pod="web-0")
TOKEN = mint(KEY, WEB)


def test_the_meshs_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = token_key(tmp_path)
    finally:
        os.umask(before)
    assert len(key) == 32
    assert token_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "token.key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["token.key"]


def test_of_many_that_make_the_key_at_once_one_wins_for_all(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    made: list[bytes] = []

    def make() -> None:
        together.wait()
        made.append(token_key(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1


def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "token.key").write_bytes(b"short")
    with pytest.raises(TokenKeyDamaged, match=r"token\.key"):
        token_key(tmp_path)
    assert (tmp_path / "token.key").read_bytes() == b"short"


labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


def signed(payload: bytes, key: bytes = KEY) -> str:
    """A token with a good signature over any payload: what only the holder of the key could make."""
    first = base64.urlsafe_b64encode(payload).rstrip(b"=")
    second = base64.urlsafe_b64encode(hmac.digest(key, first, hashlib.sha256)).rstrip(b"=")
    return f"{first.decode()}.{second.decode()}"


@given(labels, labels, labels)
def test_what_was_minted_is_accepted(namespace: str, account: str, pod: str) -> None:
    identity = SidecarIdentity(namespace=namespace, service_account=account, pod=pod)
    assert verify(KEY, mint(KEY, identity)) == identity


def test_the_form_is_the_documented_one() -> None:
    payload, signature = TOKEN.split(".")

    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {"ns": "shop", "sa": "web", "pod": "web-0"}
    expected = hmac.digest(KEY, payload.encode(), hashlib.sha256)
    assert base64.urlsafe_b64decode(signature + "=") == expected


def test_the_longest_names_fit() -> None:
    long = ".".join(["a" * 63] * 3 + ["a" * 61])
    identity = SidecarIdentity(namespace="n" * 63, service_account=long, pod=long)

    assert len(mint(KEY, identity)) <= MAX_TOKEN
    assert verify(KEY, mint(KEY, identity)) == identity


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_one_changed_character_is_rejected(position: int) -> None:
    for other in "A_":
        changed = TOKEN[:position] + other + TOKEN[position + 1 :]
        if changed != TOKEN:
            with pytest.raises(TokenRejected):
                verify(KEY, changed)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        TOKEN[:-1],
        TOKEN + "=",
        TOKEN + " ",
        " " + TOKEN,
        TOKEN + "\n",
        TOKEN + "." + TOKEN,
        TOKEN.partition(".")[0],
        TOKEN.partition(".")[0] + ".",
        "." + TOKEN.partition(".")[2],
        TOKEN.upper(),
        TOKEN + "A" * MAX_TOKEN,
        "é" + TOKEN,
        "\x00" + TOKEN,
        "\ud800",
        "\ud800.x",
        "x.\ud800",
    ],
)
def test_a_malformed_token_is_rejected(token: str) -> None:
    with pytest.raises(TokenRejected):
        verify(KEY, token)


def test_a_token_of_another_key_is_rejected() -> None:
    with pytest.raises(TokenRejected):
        verify(bytes(32), TOKEN)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"1",
        b'"ns"',
        b"{}",
        b'{"ns":"shop","sa":"web"}',
        b'{"ns":1,"sa":"web","pod":"web-0"}',
        b'{"ns":"shop","sa":null,"pod":"web-0"}',
        b'{"ns":"shop","sa":["web"],"pod":"web-0"}',
        b'{"ns":"Shop","sa":"web","pod":"web-0"}',
        b'{"ns":"shop/x","sa":"web","pod":"web-0"}',
        b'{"ns":"shop","sa":"web","pod":"../web"}',
        b'{"ns":"","sa":"web","pod":"web-0"}',
        b"[" * 700,
    ],
)
def test_claims_that_are_no_identity_are_rejected_even_with_a_good_signature(payload: bytes) -> None:
    with pytest.raises(TokenRejected):
        verify(KEY, signed(payload))


@given(st.text(max_size=200) | st.binary(max_size=100).map(signed) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
@example(TOKEN)
def test_any_other_text_is_rejected_without_being_repeated(token: str) -> None:
    if token == TOKEN:
        assert verify(KEY, token) == WEB
        return
    with pytest.raises(TokenRejected) as caught:
        verify(KEY, token)
    assert len(token) < 8 or token not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_short_key_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="token key"):
        mint(b"short", WEB)


@pytest.mark.parametrize("bad", ["", "A", "a_b", "-a", "a-", "a/b", "a\n", "a.b."])
def test_names_that_kubernetes_does_not_give_are_refused(bad: str) -> None:
    for field in ("namespace", "service_account", "pod"):
        names = {"namespace": "shop", "service_account": "web", "pod": "web-0", field: bad}
        with pytest.raises(BadIdentity):
            SidecarIdentity(**names)
