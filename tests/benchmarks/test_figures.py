"""A run's JSON as tables, pictures and a document: the same figures everywhere, and nothing made up."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import document
from benchmarks.chart import Chart, svg
from benchmarks.comparison import invalid
from benchmarks.curves import charts
from benchmarks.document import BEGIN, END, Refused, block, fit, inserted
from benchmarks.estimate import Estimate
from benchmarks.goals import rows
from benchmarks.report import aligned, as_json, markdown, measured, piped, text

HOUSE = Path(__file__).parents[2]
TIMES = {"p50": 3.25, "p99": 7.75}
CHANGE = {"affected": 10, "bytes": 88, "cpu_ms": 4.4, "first_ms": TIMES, "last_ms": TIMES}
PLANE = {
    "services": 10_000,
    "pss_bare": 101.5,
    "alone_ms": {"p50": 1.7, "p99": 2.6},
    "few": {"rare": CHANGE, "popular": CHANGE, "sidecars": 100, "pss": 119.4},
}
CURVE = {"50": 0.4, "90": 0.9, "99": 2.0, "99.9": 4.0, "100": 9.0}
FIGURES = {
    "cpu: ours / ours": Estimate(value=1.01, low=0.99, high=1.02, count=12),
    "cpu: ours / Envoy": Estimate(value=0.4321, low=0.41, high=0.45, count=12),
    "PSS: ours": Estimate(value=31.0, low=30.9, high=31.1, count=5),
}
ONE = {"cpu_us": 41.26, "user_us": 20.0, "system_us": 21.26, "rate": 23456.7, "busy": 0.98, "syscalls": 4.01}


def run(**changes: Any) -> dict[str, Any]:
    return {
        "mode": "full",
        "invalid": "",
        "machine": {"processor": "a | b", "load before": [0.1, 0.2, 0.3]},
        "goals": rows(FIGURES),
        "figures": as_json(FIGURES),
        "notes": ["something was not measured"],
        "samples": {
            "saturation": {"ours": ONE},
            "latency": {"1000": {"direct": CURVE}},
            "cpu at rate": {"1000": {"direct": 77.7}},
            "PSS": {"ours": [30.9, 31.1]},
            "control": {"runs": [PLANE]},
        },
        **changes,
    }


def test_everything_found_is_in_the_text_and_in_the_document() -> None:
    for said in (text(run()), markdown(run(), [])):
        for figure in (
            "1.010 [0.990 – 1.020]",
            "0.432",
            "41.3",
            "23,457",
            "4.01",
            "98%",
            "0.400",
            "77.7",
            "30.9, 31.1",
            "10,000",
            "2.6",
            "7.8",
            "119.4",
        ):
            assert figure in said
        assert "something was not measured" in said


def test_a_run_of_before_instructions_could_be_counted_has_dashes() -> None:
    assert re.search(r"^\| ours \| .* \| 4\.01 \| – \|$", markdown(run(), []), re.MULTILINE)


def test_what_there_is_nothing_of_has_no_table() -> None:
    said = text(run(samples={}))

    assert "Memory" not in said
    assert "Latency" not in said
    assert "Goals" in said


def test_an_invalid_run_says_so_first() -> None:
    assert text(run(invalid="the machine was too restless")).startswith(
        "This run is INVALID: the machine was too restl"
    )


@pytest.mark.parametrize(("value", "says"), [(0.969, "A/A is 0.969"), (1.031, "A/A is 1.031"), (0.97, ""), (1.03, "")])
def test_an_a_a_pair_tells_whether_a_run_is_valid(value: float, says: str) -> None:
    found = invalid({"cpu: ours / ours": Estimate(value=value, low=0.0, high=2.0, count=3)})

    assert (says in found) if says else (found == "")


def test_a_run_without_an_a_a_pair_is_not_valid() -> None:
    assert "twin" in invalid({})


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0.43210, "0.432"), (31.0, "31"), (1234.5, "1,234"), ("p50 3 ms", "p50 3 ms"),
     ({"× Envoy": 0.5, "× HAProxy": 1.9}, "0.5 × Envoy, 1.9 × HAProxy")],
)  # fmt: skip
def test_a_measurement_in_words(value: object, said: str) -> None:
    assert measured(value) == said


def test_tables() -> None:
    table = [("a", "bb"), ("ccc", "d|e")]

    assert aligned(table) == "a    bb\n───  ───\nccc  d|e"
    assert piped(table) == "| a | bb |\n|---|---|\n| ccc | d\\|e |"


def test_a_document_gets_the_figures_between_its_marks_and_keeps_the_rest() -> None:
    before = f"above\n{BEGIN}\nold\n{END}\nbelow\n"

    after = inserted(before, "new\n")

    assert after == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"
    assert inserted(after, "new\n") == after


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_document_without_its_marks_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="once"):
        inserted(text, "new")


@pytest.mark.parametrize("changes", [{"invalid": "restless"}, {"mode": "quick"}])
def test_no_figures_are_taken_of_a_run_that_says_nothing(changes: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"restless|quick"):
        fit(run(**changes))


def test_what_is_refused_leaves_the_document_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    monkeypatch.setattr(document, "DOCUMENT", page)

    with pytest.raises(Refused):
        document.write(run(mode="quick"))

    assert page.read_text() == f"{BEGIN}\n{END}\n"
    assert list(tmp_path.iterdir()) == [page]


def test_pictures_are_written_beside_the_document_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    monkeypatch.setattr(document, "DOCUMENT", page)
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "latency-77.svg").touch()

    document.write(run())

    assert [file.name for file in (tmp_path / "performance").iterdir()] == ["latency-1000.svg"]
    assert "(performance/latency-1000.svg)" in page.read_text()


def test_the_document_has_the_figures_of_the_run_that_lies_beside() -> None:
    """Whoever measures anew commits both."""
    said = (HOUSE / "docs" / "performance.md").read_text()
    if not document.RESULTS.is_file():
        assert f"{BEGIN}\n\nNothing has been measured yet.\n\n{END}" in said
        return
    latest = json.loads(document.RESULTS.read_text())

    assert inserted(said, block(latest)) == said
    assert latest["invalid"] == ""
    for name, chart in charts(latest).items():
        assert (HOUSE / "docs" / "performance" / f"{name}.svg").read_text() == svg(chart)


def drawn(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(svg(chart))


def polyline(picture: ElementTree.Element) -> list[tuple[float, float]]:
    (found,) = [one for one in picture.iter() if one.tag.endswith("polyline")]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found.attrib["points"].split())]


def test_a_power_is_a_straight_line_on_logarithmic_axes() -> None:
    points = [(n, n**0.5) for n in (10.0, 100.0, 1000.0)]

    (x1, y1), (x2, y2), (x3, y3) = polyline(
        drawn(Chart(title="t", x="x", y="y", lines={"l": points}, log_x=True, log_y=True))
    )

    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y2 - y1 == pytest.approx(y3 - y2, abs=0.2)
    assert y3 < y1  # up is less, in SVG


def test_linear_axes_begin_at_nothing() -> None:
    (_, y1), (_, y2) = polyline(drawn(Chart(title="t", x="x", y="y", lines={"l": [(0, 5.0), (1, 10.0)]})))

    assert y1 - y2 == pytest.approx(160, abs=0.2)  # half of the 320 pixels that 0 to 10 have


def test_names_are_text_and_no_markup() -> None:
    words = [one.text for one in drawn(Chart(title="a < b & c", x="x", y="y", lines={"<l>": [(1, 1)]})).iter()]

    assert {"a < b & c", "<l>"} <= set(words)


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(1.0, 0.0)]])
def test_what_a_logarithmic_axis_does_not_have(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"nothing to draw|logarithmic"):
        svg(Chart(title="t", x="x", y="y", lines={"l": points}, log_x=True, log_y=True))


def test_growth_is_drawn_with_its_exponent_against_its_smallest() -> None:
    growth = {"bytes": [[10000, 400.0], [100, 4.0]], "one size": [[100, 7.0]]}

    chart = charts(run(samples={"control": {"growth": growth}}))["growth"]

    assert chart.lines == {"bytes: n^1.00": [(100.0, 1.0), (10000.0, 100.0)], "one size": [(100.0, 1.0)]}


def test_the_rarer_the_further_right() -> None:
    (line,) = charts(run())["latency-1000"].lines.values()

    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == list(CURVE.values())
