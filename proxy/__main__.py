"""``python -m proxy``: what must be settled before anything is imported. ``proxy.process`` is the program.

``init``, ``await`` and ``drain`` are small programs beside it, which a pod runs before, at the start and at the end.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """See ``proxy.process.main``; the small programs load nothing of it."""
    match sys.argv[1:2]:
        case ["init"]:
            from proxy import init  # noqa: PLC0415

            return init.main(sys.argv[2:])
        case ["await"]:
            from proxy import awaiting  # noqa: PLC0415

            return awaiting.main(sys.argv[2:])
        case ["drain"]:
            from proxy import draining  # noqa: PLC0415

            return draining.main(sys.argv[2:])
        case _:
            pass
    from proxy import native  # noqa: PLC0415

    # aiohttp reads the machine's public certificates as it is imported: 1.7 MB of every sidecar, for roots that
    # a mesh must not trust anyway.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    interpreted = native.prefer()
    from proxy import process  # noqa: PLC0415 (decided above)

    return process.main(interpreted=interpreted)


if __name__ == "__main__":
    sys.exit(main())
