"""A problem is said once when it comes and once when it goes."""

from __future__ import annotations

from dataclasses import replace

from smi.problems import Problem
from translator.problems import news

ONE = Problem(file="a.yaml", line=3, field="spec.service", message="is missing")
TWO = Problem(file="b.yaml", line=1, field="yaml", message="cannot be read")


def test_new_ones_are_said() -> None:
    assert news((), (ONE, TWO)) == ("a.yaml:3: spec.service: is missing", "b.yaml:1: yaml: cannot be read")


def test_unchanged_ones_are_not_repeated() -> None:
    assert news((ONE, TWO), (ONE, TWO)) == ()
    assert news((ONE,), (TWO, ONE)) == (str(TWO),)


def test_those_gone_are_said_too() -> None:
    assert news((ONE, TWO), (TWO,)) == ("resolved: a.yaml:3: spec.service: is missing",)


def test_one_that_moved_is_said_with_its_new_line() -> None:
    assert news((ONE,), (replace(ONE, line=5),)) == ("a.yaml:5: spec.service: is missing",)
