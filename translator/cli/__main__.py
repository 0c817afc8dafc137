"""``python -m translator.cli``: the ``smi`` command where it is not installed."""

from translator.cli import main

main(prog_name="smi")
