"""From files to one snapshot: what counts, what is reported, since when an object exists."""

from datetime import UTC, datetime, timedelta

from smi.decode import decode_text
from smi.meta import Meta
from smi.sources.snapshot import FileState, advance, any_hidden, merge, stamp
from smi.specs import TCPRoute

API = "specs.smi-spec.io/v1alpha4"
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def route(name: str, port: int = 80, meta: str = "") -> str:
    spec = f"spec: {{matches: {{ports: [{port}]}}}}"
    return f"apiVersion: {API}\nkind: TCPRoute\nmetadata: {{name: {name}{meta}}}\n{spec}\n"


def state(file: str, *texts: str) -> FileState:
    """A file after it was written so, time after time."""
    found = FileState(file=file)
    for text in texts:
        found = advance(found, decode_text(text, file))
    return found


def key(name: str) -> tuple[str, str, str]:
    return ("TCPRoute", "default", name)


def test_files_become_one() -> None:
    snapshot = merge([state("a.yaml", route("one") + "---\n" + route("two")), state("b.yaml", route("three"))])
    assert list(snapshot.objects) == [key("one"), key("two"), key("three")]
    assert snapshot.objects[key("one")] == TCPRoute(meta=Meta(name="one"), api_version=API, ports=(80,))
    assert {name: (origin.file, origin.line) for (_, _, name), origin in snapshot.origins.items()} == {
        "one": ("a.yaml", 1),
        "two": ("a.yaml", 6),
        "three": ("b.yaml", 1),
    }


def test_a_wrong_file_keeps_its_last_good_state() -> None:
    for wrong in ("", "a: [", route("X")):
        found = state("a.yaml", route("one", 1), wrong)
        assert found.objects == state("a.yaml", route("one", 1)).objects
        assert len(found.problems) == 1
        assert merge([found]).problems == found.problems


def test_a_file_that_was_mended_counts_again() -> None:
    found = state("a.yaml", route("one", 1), "a: [", route("two", 2))
    assert found == state("a.yaml", route("two", 2))


def test_a_file_that_was_never_good_holds_nothing() -> None:
    found = state("a.yaml", "a: [", "")
    assert (found.objects, found.once_good) == ((), False)
    assert any_hidden([found])
    assert not any_hidden([state("a.yaml", route("one"), "a: [")])


def test_the_first_of_two_counts_and_the_other_is_reported() -> None:
    snapshot = merge([state("a.yaml", route("one", 1)), state("b.yaml", "---\n" + route("one", 2))])
    assert snapshot.objects[key("one")] == TCPRoute(meta=Meta(name="one"), api_version=API, ports=(1,))
    assert [str(problem) for problem in snapshot.problems] == [
        "b.yaml:4: metadata.name: TCPRoute default/one is also in a.yaml:1, which counts; this one does not"
    ]


def test_the_next_takes_over() -> None:
    snapshot = merge([state("a.yaml", route("one", 1), route("other")), state("b.yaml", route("one", 2))])
    assert snapshot.objects[key("one")] == TCPRoute(meta=Meta(name="one"), api_version=API, ports=(2,))
    assert snapshot.problems == ()


def test_twice_in_one_file_is_reported_alike() -> None:
    snapshot = merge([state("a.yaml", route("one", 1) + "---\n" + route("one", 2))])
    assert [problem.line for problem in snapshot.problems] == [8]
    assert list(snapshot.objects) == [key("one")]


def test_one_name_in_two_namespaces_or_kinds_is_no_duplicate() -> None:
    texts = [route("one"), route("one", meta=", namespace: shop"), route("one").replace("TCP", "UDP")]
    snapshot = merge([state("a.yaml", "---\n".join(texts))])
    assert (len(snapshot.objects), snapshot.problems) == (3, ())


def test_what_is_ignored_is_said() -> None:
    snapshot = merge([state("a.yaml", "{apiVersion: batch/v1, kind: Job}")])
    assert (snapshot.ignored, snapshot.problems) == (("a.yaml:1: Job (batch/v1)",), ())


def test_first_seen_is_the_age_of_what_does_not_tell() -> None:
    snapshot = merge(
        [state("a.yaml", route("old", meta=", creationTimestamp: 2020-01-01T00:00:00Z") + "---\n" + route("new"))]
    )
    stamped, seen = stamp(snapshot, {}, NOON, forget=True)
    later, _ = stamp(snapshot, seen, NOON + timedelta(days=1), forget=True)
    assert stamped == later
    assert stamped.objects[key("old")].meta.created == datetime(2020, 1, 1, tzinfo=UTC)
    assert stamped.objects[key("new")].meta.created == NOON
    assert seen == {"TCPRoute/default/old": NOON, "TCPRoute/default/new": NOON}


def test_what_is_gone_is_forgotten_unless_it_may_only_be_hidden() -> None:
    seen = {"TCPRoute/default/gone": NOON}
    snapshot = merge([])
    assert stamp(snapshot, seen, NOON, forget=True)[1] == {}
    assert stamp(snapshot, seen, NOON, forget=False)[1] == seen
