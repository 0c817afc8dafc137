"""`python -m proxy --config FILE`: one sidecar until SIGTERM or SIGINT. Here what is first: its settings, its key.

FILE is JSON, ``proxy.contract.config.File``; what the controller's
``/debug/config/NAMESPACE/POD`` prints is such a file. In a pod the same text is in an environment variable
(``--config-env``).

Little is imported for that. A sidecar that has no key yet has a child make one (``proxy.keys``) while it imports the
rest, ``proxy.process``, which takes longer.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Final

import msgspec

from proxy.contract.config import File, spiffe_id
from proxy.errors import SidecarError
from proxy.keys import NoKey, begin

USAGE: Final = """\
usage: python -m proxy --config FILE | --config-env NAME

The smi-mesh sidecar.

  --config FILE      JSON: the sidecar's settings and first config
  --config-env NAME  the same, in an environment variable

Beside the sidecar itself there are: python -m proxy init|drain --help"""
"""Two options do not need a parser that stays in memory for as long as the pod lives."""

LOOK_EVERY: Final = 5_000
"""Objects between two looks for what is garbage while modules are imported. That is a hundredth of the start, and what
is found makes room for what comes: without, the garbage of all imports would be 0.6 MB, from then on full of holes."""


def main(arguments: list[str] | None = None, *, interpreted: str = "") -> int:
    """Exit code 0 after a clean end, 1 when the sidecar cannot run, 2 for wrong usage.

    ``interpreted``: why the request path runs from source (``proxy.native``), empty when it is compiled.
    """
    match sys.argv[1:] if arguments is None else arguments:
        case ["--config", path]:
            read = partial(read_file, Path(path))
        case ["--config-env", name]:
            read = partial(read_environment, name)
        case ["-h" | "--help"]:
            print(USAGE)
            return 0
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    try:
        file = read()
    except (SidecarError, OSError) as error:
        print(f"python -m proxy: {error}", file=sys.stderr)
        return 1
    making = first_key(file)
    usual = gc.get_threshold()
    gc.set_threshold(LOOK_EVERY)
    gc.enable()
    from proxy import process  # noqa: PLC0415 (the key is made meanwhile)

    gc.disable()
    gc.set_threshold(*usual)
    return process.main(file, making, interpreted=interpreted)


def first_key(file: File) -> Popen[bytes] | None:
    """A child that makes the key of a sidecar that has to enrol and has none on its disk."""
    settings = file.sidecar
    if settings.tls is None or settings.control is None or os.path.exists(settings.tls.key):
        return None
    with suppress(NoKey):  # it will be tried again, and told
        return begin(spiffe_id(settings.trust_domain, settings.namespace, settings.service_account))
    return None


def read_file(path: Path) -> File:
    """Read and check the settings file. Raises ``SidecarError`` naming the file and the field."""
    return _decoded(str(path), path.read_bytes())


def read_environment(name: str) -> File:
    """The same from an environment variable. What it says of trust is where the sidecar begins, unless it knows better.

    Raises ``SidecarError`` naming the variable and the field, ``OSError`` where the bundle cannot be written.
    """
    text = os.environ.get(name)
    if not text:
        raise SidecarError(f"the environment variable {name} is not set")
    file = _decoded(name, text.encode())
    tls, trust = file.sidecar.tls, file.config.trust
    if tls is not None and trust is not None and not os.path.exists(tls.bundle):
        Path(tls.bundle).write_text(trust.bundle, encoding="ascii")
    return msgspec.structs.replace(file, config=msgspec.structs.replace(file.config, trust=None))


def _decoded(name: str, text: bytes) -> File:
    try:
        return msgspec.json.decode(text, type=File)
    except msgspec.MsgspecError as error:
        raise SidecarError(f"{name}: {error}") from error
