"""``python -m translator.charts DIR``: writes the charts, a folder each, instead of those that are there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from translator.charts.files import charts
from translator.cli.install import shipped


def main(arguments: list[str]) -> None:
    """Write into the folder that is named."""
    if len(arguments) != 1:
        sys.exit("usage: python -m translator.charts DIR")
    folder = Path(arguments[0])
    files = charts(shipped())
    for name in {file.partition("/")[0] for file in files}:
        shutil.rmtree(folder / name, ignore_errors=True)
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
