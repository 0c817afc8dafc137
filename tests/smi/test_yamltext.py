"""What is written as YAML is read as the same data, by this reader and by others."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.yamltext import to_yaml
from smi.yamltree import read_tree

TEXT = st.text(max_size=12) | st.text(st.sampled_from("01ex.:-_+ab \n\t#'\"|>{[&*!%@`\x85\u2028"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=500)
@given(st.lists(VALUES.filter(lambda value: value is not None), min_size=1, max_size=3))
def test_what_is_written_is_read_again(documents: list[object]) -> None:
    tree = read_tree(to_yaml(documents))

    assert tree.flaws == ()
    assert [node.value for node in tree.documents] == documents


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "0o17",
        "0x1f",
        "017",
        "1_000",
        "12:30",
        "1.",
        ".5",
        "+1",
        "-.inf",
        ".NaN",
        "y",
        "N",
        "no",
        "On",
        "~",
        "NULL",
    ],
)
def test_text_that_another_reader_takes_for_a_number_or_a_truth_value_stands_in_quotes(text: str) -> None:
    assert to_yaml([{text: text}]) == f"'{text}': '{text}'\n"


@pytest.mark.parametrize("text", ["900m", "1e", "web", "v1", "1.2.3-rc", "10.0.0.0/8", "noon", "/api/.*$"])
def test_other_text_stands_bare(text: str) -> None:
    assert to_yaml([{"a": text}]) == f"a: {text}\n"


def test_lines_stay_lines() -> None:
    script = "#!/bin/sh\necho hi\n"

    assert to_yaml([{"a": script}, {"b": ["c"]}]) == "a: |\n  #!/bin/sh\n  echo hi\n---\nb:\n  - c\n"


def test_long_text_stays_on_one_line() -> None:
    assert not re.search(r"\n.", to_yaml([{"a": "word " * 100 + "end"}]))
