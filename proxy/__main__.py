"""``python -m proxy``: choose which modules run before any of them is imported. ``proxy.process`` is the program."""

from __future__ import annotations

import sys

from proxy import native


def main() -> int:
    """See ``proxy.process.main``."""
    interpreted = native.prefer()
    from proxy import process  # noqa: PLC0415 (decided above)

    return process.main(interpreted=interpreted)


if __name__ == "__main__":
    sys.exit(main())
