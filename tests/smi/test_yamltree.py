"""YAML with lines: what scalars mean, what is refused, where it says so."""

import json

import pytest

from smi.yamltree import MAX_DEPTH, MAX_NODES, MAX_TEXT, read_tree


def value_of(text: str) -> object:
    tree = read_tree(text)
    assert tree.flaws == ()
    (document,) = tree.documents
    return document.value


def flaws_of(text: str) -> list[tuple[int, str, str]]:
    return [(flaw.line, flaw.field, flaw.message) for flaw in read_tree(text).flaws]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("x", "x"),
        ("'5'", "5"),
        ("5", 5),
        ("-5", -5),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0b11", 3),
        ("017", 15),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", "1e3"),
        (".inf", float("inf")),
        ("true", True),
        ("Yes", True),
        ("off", False),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("=", "="),
        ("9" * 5000, "9" * 5000),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("!!int 7", 7),
        ("!!null x", None),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars(scalar: str, value: object) -> None:
    assert value_of(f"a: {scalar}") == {"a": value}


def test_lines_of_values() -> None:
    text = "a: 1\nb:\n  - x\n  -\n    c: 2\nd: {e: 3,\n  f: 4}\n"
    (document,) = read_tree(text).documents
    assert dict(document.lines()) == {"a": 1, "b": 3, "b[0]": 3, "b[1]": 5, "b[1].c": 5, "d": 6, "d.e": 6, "d.f": 7}
    assert document.line_at(("b", 1, "c")) == 5
    assert document.line_at(("b", 1, "missing", "x")) == 5


def test_documents_and_blanks() -> None:
    documents = read_tree("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n").documents
    assert [(document.line, document.value) for document in documents] == [(2, {"a": 1}), (6, {"b": 2})]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n---\n", "null\n", "\ufeff"])
def test_nothing(text: str) -> None:
    assert read_tree(text) == read_tree("")
    assert read_tree(text).documents == ()


def test_keys_are_text() -> None:
    assert value_of("1: a\ntrue: b\non: c\n") == {"1": "a", "true": "b", "on": "c"}


def test_aliases_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nboth: {<<: [{x: 5}, *b]}\nsame: *b\n"
    assert value_of(text) == {
        "base": {"x": 1, "y": 2},
        "own": {"x": 1, "y": 3},
        "both": {"x": 5, "y": 2},
        "same": {"x": 1, "y": 2},
    }
    (document,) = read_tree(text).documents
    assert document.line_at(("same",)) == 4


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("a: 1\nb: c: d\n", (2, "yaml", "mapping values are not allowed in this context")),
        ("a:\n\tb: 2\n", (2, "yaml", "a tab cannot stand here: YAML is indented with spaces")),
        ("a: 1\r\tb: 2\r\t@", (2, "yaml", "found a tab character that violates indentation")),
        ("\x85@", (2, "yaml", "found character that cannot start any token")),
        ("\r\t@", (2, "yaml", "a tab cannot stand here")),
        ("a:\n  b: @x\n", (2, "yaml", "found character that cannot start any token")),
        ("a: 1\nb: [1, 2\n", (2, "yaml", "did not find expected ',' or ']'")),
        ("a: 1\nb: 'x\n", (2, "yaml", "found unexpected end of stream")),
        ("a: 1\nspe\nc: 2\n", (2, "yaml", "could not find expected ':'")),
        ("a: 1\nb: \x00\n", (2, "yaml", "control characters are not allowed")),
        ("a: 1\nb: '\ud800'\n", (2, "yaml", "a lone surrogate is not text")),
        ("a: 1\nb: {c: 1,\n c: 2}\n", (3, "b.c", "stands twice, first on line 2")),
        ("- a: 1\n  b: 1\n  a: 2\n", (3, "[0].a", "stands twice, first on line 1")),
        ("a: 1\nb: *x\n", (2, "b", "the anchor of *x is not above")),
        ("a: &x [1, *x]\n", (1, "a[1]", "is around it")),
        ("a: 1\nb: !secret x\n", (2, "b", "the tag `!secret` is not supported")),
        ("a: !!python/object:os.system []\n", (1, "a", "is not supported")),
        ("? [1]\n: 2\n", (1, "yaml", "a key must be text")),
        ("? {a: 1}\n: 2\n", (1, "yaml", "a key must be text")),
        ("a: &x 1\nb: {? *x : 2}\n", (2, "b", "a key must be text, not an alias")),
        ("a: {~: 1}\n", (1, "a", "a key must not be null")),
        ("a:\n  <<: 5\n", (2, "a[<<]", "must be a mapping or a list of mappings")),
    ],
)
def test_flaws(text: str, flaw: tuple[int, str, str]) -> None:
    (found,) = flaws_of(text)
    assert found[:2] == flaw[:2]
    assert flaw[2] in found[2]


def test_all_doubled_keys_are_told() -> None:
    assert [flaw[:2] for flaw in flaws_of("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n")] == [(2, "a"), (3, "b.c"), (4, "a")]


def test_the_first_of_doubled_keys_stays() -> None:
    tree = read_tree("a: 1\na: 2\na: 3\n")
    assert [document.value for document in tree.documents] == [{"a": 1}]
    assert [flaw.message for flaw in tree.flaws] == ["stands twice, first on line 1"] * 2


def test_documents_before_an_error_are_kept() -> None:
    tree = read_tree("a: 1\n---\nb: [\n")
    assert [document.value for document in tree.documents] == [{"a": 1}]
    assert len(tree.flaws) == 1


def test_a_billion_laughs() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    ((_, where, message),) = flaws_of("\n".join(lines))
    assert where.startswith("a5")
    assert message == f"the file means more than {MAX_NODES} values"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting(opening: str) -> None:
    ((_, _, message),) = flaws_of(opening * 2 * MAX_DEPTH)
    assert message == f"is nested more than {MAX_DEPTH} deep"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_without_end_is_one_flaw(opening: str) -> None:
    """Newer versions of the YAML library have a bound of their own."""
    ((_, _, message),) = flaws_of(opening * 100_000)
    assert "nest" in message


def test_nesting_through_aliases_is_bounded_too() -> None:
    deep = MAX_DEPTH - 10
    text = f"a: &a {'[' * deep}{']' * deep}\nb: {'[' * deep}*a{']' * deep}\n"
    ((line, _, message),) = flaws_of(text)
    assert (line, message) == (2, f"is nested more than {MAX_DEPTH} deep")


def test_the_deepest_that_is_allowed() -> None:
    assert flaws_of("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []


def test_a_text_too_long_is_not_even_parsed() -> None:
    assert flaws_of("[" * (MAX_TEXT + 1)) == [(1, "file", f"is larger than {MAX_TEXT} bytes")]


def test_json_may_write_one_character_as_two_escapes() -> None:
    text = r'{"a": "\ud83d\ude00\ud83d\ude01", "\\ud83d": "\\\ud83d\ude00"}'
    (document,) = read_tree(text).documents

    assert document.value == json.loads(text)


def test_elsewhere_such_escapes_are_what_yaml_says_they_are() -> None:
    assert [node.value for node in read_tree(r"a: '\ud83d\ude00'").documents] == [{"a": r"\ud83d\ude00"}]
    assert read_tree(r'a: "\ud83d\ude00"').flaws
