"""``python -m proxy``: what must be settled before anything is imported. ``proxy.process`` is the program."""

from __future__ import annotations

import os
import sys

from proxy import native


def main() -> int:
    """See ``proxy.process.main``."""
    # aiohttp reads the machine's public certificates as it is imported: 1.7 MB of every sidecar, for roots that
    # a mesh must not trust anyway.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    interpreted = native.prefer()
    from proxy import process  # noqa: PLC0415 (decided above)

    return process.main(interpreted=interpreted)


if __name__ == "__main__":
    sys.exit(main())
