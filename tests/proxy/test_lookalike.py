"""Names that some applications take for one another."""

from __future__ import annotations

import pytest

from proxy.lookalike import Guard, folded


@pytest.mark.parametrize("name", [b"x-role", b"X-Role", b"x_role", b"X.Role", b"x~role", b"x'role", b"x+role"])
def test_signs_are_all_one(name: bytes) -> None:
    assert folded(name) == b"x-role"


@pytest.mark.parametrize("name", [b"xrole", b"x--role", b"x-role-", b"x-rol3"])
def test_other_names_stay_other_names(name: bytes) -> None:
    assert folded(name) != b"x-role"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], ""),
        ([b"X-Role: user\r\n", b"x-role: user\r\n"], ""),
        ([b"Accept: x_role\r\n", b"X-Role: user\r\n"], ""),
        ([b"X-Role: user\r\n", b"X_Role: admin\r\n"], "x_role"),
        ([b"X.ROLE: admin\r\n"], "x.role"),
        ([b"x-flag: 1\r\n"], "x-flag"),
        ([b"X_Flag: 1\r\n"], ""),
    ],
)
def test_a_look_alike_is_found(lines: list[bytes], found: str) -> None:
    assert Guard(["x-role", "x_flag"]).look_alike(lines) == found


def test_trailers_cannot_write_what_policy_looks_at() -> None:
    trailers = [b"X-Sum: 1\r\n", b"X-Role: admin\r\n", b"x_role: admin\r\n"]
    assert Guard(["x-role"]).keep_out(trailers) == [b"X-Sum: 1\r\n"]
