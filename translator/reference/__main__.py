"""``python -m translator.reference DIR``: writes the reference, one file each."""

from __future__ import annotations

import sys
from pathlib import Path

from translator.reference.pages import pages


def main(arguments: list[str]) -> None:
    """Write into the folder that is named."""
    if len(arguments) != 1:
        sys.exit("usage: python -m translator.reference DIR")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
