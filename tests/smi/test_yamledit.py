"""Changes to YAML text keep all else as it is written, and mean what was wanted, whatever the text looks like."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.yamledit import Drop, Put, edited, joined
from smi.yamltext import to_yaml
from smi.yamltree import read_tree

STEPS = ("metadata", "annotations", "a/b")


def put(text: str, wanted: object) -> str:
    done = edited(text, [Put(document=0, steps=STEPS, value="yes!")], [wanted])
    assert not done.anew
    return done.text


@pytest.mark.parametrize(
    ("text", "new"),
    [
        pytest.param(
            "# of\nmetadata:  # all\n  # first\n  name: 'x'   # kept\n\n  annotations:\n    # z\n    z: \"1\"\n# end\n",
            "# of\nmetadata:  # all\n  # first\n  name: 'x'   # kept\n\n"
            '  annotations:\n    a/b: yes!\n    # z\n    z: "1"\n# end\n',
            id="first-among-others",
        ),
        pytest.param(
            "metadata:\n    name: x\nspec: 1\n",
            "metadata:\n    annotations:\n      a/b: yes!\n    name: x\nspec: 1\n",
            id="annotations-missing",
        ),
        pytest.param("spec: 1\n", "metadata:\n  annotations:\n    a/b: yes!\nspec: 1\n", id="metadata-missing"),
        pytest.param(
            "metadata:\nspec: 1\n", 'metadata: {"annotations": {"a/b": "yes!"}}\nspec: 1\n', id="metadata-empty"
        ),
        pytest.param("metadata: {annotations: {}}", 'metadata: {annotations: {"a/b": "yes!"}}', id="flow-empty"),
        pytest.param('{"metadata": {"x": 1}}', '{"metadata": {"annotations": {"a/b": "yes!"}, "x": 1}}', id="json"),
        pytest.param(
            '{\n  "metadata": {\n    "x": 1\n  }\n}\n',
            '{\n  "metadata": {\n    "annotations": {"a/b": "yes!"},\n    "x": 1\n  }\n}\n',
            id="json-of-kubectl",
        ),
        pytest.param(
            "metadata:\n  annotations:\n    a/b: no  # was so\n",
            "metadata:\n  annotations:\n    a/b: yes!  # was so\n",
            id="replaced",
        ),
        pytest.param(
            "metadata:\n  annotations:\n    a/b:\n    c: d\n",
            "metadata:\n  annotations:\n    a/b: yes!\n    c: d\n",
            id="replaced-nothing",
        ),
        pytest.param(
            '{"metadata": {"annotations": {"a/b": "no"}}}',
            '{"metadata": {"annotations": {"a/b": "yes!"}}}',
            id="replaced-json",
        ),
        pytest.param(
            "metadata:\r\n  name: x\r\n", "metadata:\r\n  annotations:\r\n    a/b: yes!\r\n  name: x\r\n", id="crlf"
        ),
        pytest.param(
            "# é\U0001f600\nmetadata:\n  name: é\U0001f600\n",
            "# é\U0001f600\nmetadata:\n  annotations:\n    a/b: yes!\n  name: é\U0001f600\n",
            id="positions-are-characters",
        ),
    ],
)
def test_put_in_place(text: str, new: str) -> None:
    assert put(text, yaml.safe_load(new)) == new


@pytest.mark.parametrize(
    ("text", "steps", "names", "new"),
    [
        ("a:\n  # p\n  p: 1\n  q: 2  # q\n  # r\n  r: 3\n", ("a",), {"q"}, "a:\n  # p\n  p: 1\n  # r\n  r: 3\n"),
        ("a:\n  p: 1\n  q:\n    r: 1\n    s: [1,\n      2]\nb: 1\n", ("a",), {"q"}, "a:\n  p: 1\nb: 1\n"),
        ("a: {p: 1, q: 2, r: 3}\n", ("a",), {"p", "q"}, "a: {r: 3}\n"),
        ("a: {p: 1, q: 2, r: 3}\n", ("a",), {"q", "r"}, "a: {p: 1}\n"),
        ("- p: 1\n  q: 2\n", (0,), {"p"}, "- q: 2\n"),
        ("q: 1\np: 1", (), {"p"}, "q: 1\n"),
    ],
)
def test_dropped_in_place(text: str, steps: tuple[str | int, ...], names: set[str], new: str) -> None:
    done = edited(text, [Drop(document=0, steps=steps, names=frozenset(names))], [yaml.safe_load(new)])
    assert (done.text, done.anew) == (new, False)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x: &x {name: n}\nmetadata: *x\n", id="alias"),
        pytest.param("x: &x\n  annotations: {c: d}\nmetadata:\n  <<: *x\n", id="merge"),
        pytest.param("%YAML 1.1\n---\nmetadata:\n  name: n\n", id="directive"),
        pytest.param("metadata: &m\n  name: n\nx: *m\n", id="anchor"),
    ],
)
def test_where_lines_would_mean_something_else_it_is_written_anew(text: str) -> None:
    wanted = read_tree(text).documents[0].value
    assert isinstance(wanted, dict)
    metadata = wanted["metadata"]
    wanted["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), "a/b": "yes!"}}
    done = edited(text, [Put(document=0, steps=STEPS, value="yes!")], [wanted])
    assert (done.text, done.anew) == (to_yaml([wanted]), True)


def test_without_changes_nothing_is_touched() -> None:
    text = "# only: this\n--- \na:   1\n...\n# and that"
    assert edited(text, [], [{"a": 1}]).text == text


def test_texts_are_joined_with_a_line_between_where_there_is_none() -> None:
    assert joined(["a: 1", "# c\n---\nb: 1\n", "# d\n---x: 1\n"]) == "a: 1\n# c\n---\nb: 1\n---\n# d\n---x: 1\n"
    assert len(list(yaml.safe_load_all(joined(["a: 1\n", "b: 1\n...\n", "c: 1\n"])))) == 3


KEYS = st.sampled_from(["a", "b", "c", "metadata", "annotations", "a/b"])
TREES: st.SearchStrategy[object] = st.recursive(
    st.sampled_from([None, 1, "text", "two\nlines\n", "ends so", [], {}]),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4), st.booleans(), st.sampled_from([None, False, True]))
def test_the_new_text_always_means_what_was_wanted(before: dict[str, object], drops: bool, style: bool | None) -> None:
    text = yaml.safe_dump(before, default_flow_style=style, sort_keys=False)
    if drops:
        name = next(iter(before))
        after = {key: value for key, value in before.items() if key != name}
        done = edited(text, [Drop(document=0, steps=(), names=frozenset({name}))], [after])
    else:
        after = {**before, "metadata": {"annotations": {"a/b": "yes!"}}}
        metadata = before.get("metadata")
        if isinstance(metadata, dict):
            there = metadata.get("annotations")
            after["metadata"] = {
                **metadata,
                "annotations": {**(there if isinstance(there, dict) else {}), "a/b": "yes!"},
            }
        done = edited(text, [Put(document=0, steps=STEPS, value="yes!")], [after])
    assert [node.value for node in read_tree(done.text).documents] == [after]
