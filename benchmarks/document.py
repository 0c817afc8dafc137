"""Puts a run's figures into docs/performance.md: ``python -m benchmarks.document RUN.json``.

What is between the two marks in the document is made of the JSON alone, and so are the pictures beside it; the words
around are written by hand. A run that is invalid, or was a quick one, is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.chart import svg
from benchmarks.curves import charts
from benchmarks.peers.processes import ROOT
from benchmarks.report import Run, markdown

RESULTS = ROOT / "benchmarks" / "results" / "full.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PICTURES = "performance"
"""The folder of the pictures, beside the document."""

BEGIN = "<!-- figures: made by python -m benchmarks.document, do not edit -->"
END = "<!-- end of figures -->"


class Refused(Exception):
    """The run or the document is not fit; the text says why."""


def block(run: Run) -> str:
    """What stands between the marks."""
    return markdown(run, [(chart.title, f"{PICTURES}/{name}.svg") for name, chart in charts(run).items()])


def inserted(document: str, content: str) -> str:
    """``document`` with ``content`` between its marks. Raises ``Refused`` unless each is there once, in order."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise Refused(f"the document does not have the line {BEGIN!r} once and {END!r} once after it")
    return f"{before}{begin}\n\n{content}\n{end}{after}"


def fit(run: Run) -> Run:
    """The same run. Raises ``Refused`` for one from which nothing may be concluded."""
    if run["invalid"]:
        raise Refused(f"the run is invalid: {run['invalid']}")
    if run["mode"] != "full":
        raise Refused(f"the run is a {run['mode']} one")
    return run


def write(run: Run) -> None:
    """The document and its pictures. Raises ``Refused``."""
    text = inserted(DOCUMENT.read_text(), block(fit(run)))
    pictures = DOCUMENT.parent / PICTURES
    pictures.mkdir(exist_ok=True)
    for old in pictures.glob("*.svg"):
        old.unlink()
    for name, chart in charts(run).items():
        (pictures / f"{name}.svg").write_text(svg(chart))
    DOCUMENT.write_text(text)


def main() -> int:
    """See the module; 1 when refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=RESULTS, help="a run's JSON (default: the last full run)")
    options = parser.parse_args()
    try:
        write(json.loads(options.run.read_text()))
    except Refused as reason:
        print(f"{options.run}: {reason}", file=sys.stderr)
        return 1
    print(f"{DOCUMENT.relative_to(ROOT)} has the figures of {options.run}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
