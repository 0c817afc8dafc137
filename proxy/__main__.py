"""``python -m proxy``: what must be settled before anything is imported. ``proxy.start`` is the program.

``init`` and ``drain`` are small programs beside it, which a pod runs at its start and at its end.
"""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """See ``proxy.start.main``; the small programs load nothing of it."""
    match sys.argv[1:2]:
        case ["init"]:
            from proxy import init  # noqa: PLC0415

            return init.main(sys.argv[2:])
        case ["drain"]:
            from proxy import draining  # noqa: PLC0415

            return draining.main(sys.argv[2:])
        case _:
            pass
    # Little of what is imported goes away again: looking for what does would be a twentieth of the start (see start).
    gc.disable()
    from proxy import native  # noqa: PLC0415

    # aiohttp reads the machine's public certificates as it is imported: 1.7 MB of every sidecar, for roots that
    # a mesh must not trust anyway.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    interpreted = native.prefer()
    from proxy import start  # noqa: PLC0415 (decided above)

    return start.main(interpreted=interpreted)


if __name__ == "__main__":
    sys.exit(main())
