"""``python -m smi.crds DIR``: writes the CustomResourceDefinitions, one file each."""

from __future__ import annotations

import sys
from pathlib import Path

from smi.crds.definitions import definitions
from smi.yamltext import to_yaml

HEADER = "# Written by `make crds` from smi/crds. Do not edit.\n"


def main(arguments: list[str]) -> None:
    """Write into the folder that is named."""
    if len(arguments) != 1:
        sys.exit("usage: python -m smi.crds DIR")
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, definition in definitions().items():
        (folder / name).write_text(HEADER + to_yaml([definition]))


if __name__ == "__main__":
    main(sys.argv[1:])
