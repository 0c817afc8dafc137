"""The words in docs/observing.md are the code's: every kind, every value of the annotation."""

from __future__ import annotations

import re
from pathlib import Path

from translator.resources import KINDS
from translator.vocabulary import ACCESS_LOG

TEXT = (Path(__file__).parents[2] / "docs" / "observing.md").read_text()


def test_the_words_for_kinds() -> None:
    named = set(re.findall(r"`([a-z]+)`", TEXT[TEXT.index("`KIND` is") : TEXT.index("All of them take")])) - {"stat"}
    assert named <= KINDS.keys()
    assert {KINDS[word] for word in named} == set(KINDS.values())


def test_the_annotation_and_its_values() -> None:
    paragraph = TEXT[TEXT.index("## Access log") : TEXT.index("## The API")]
    assert f"`{ACCESS_LOG.name}`" in paragraph
    assert all(f"`{value}`" in paragraph for value in ACCESS_LOG.values)
