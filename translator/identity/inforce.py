"""What is in force, on disk: so that a controller that restarts in the middle of a rollout goes on with it.

In the mesh's own folder, never in the operator's:

    in-force.json  issuer, its key and what sidecars were told last; readable by its owner alone
    bundle.pem     the trusted roots once more, for sidecars to begin with

Neighbour: ``translator.identity.rotation``, which alone writes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from proxy.contract.bundle import BundleRejected, read_bundle
from proxy.contract.config import Trust
from translator.identity.authority import Authority, AuthorityError, put
from translator.identity.roots import private_pem

FILE_NAME: Final = "in-force.json"
BUNDLE_NAME: Final = "bundle.pem"


class _InForce(Struct, frozen=True, kw_only=True):
    chain: str
    key: str
    trust: Trust


def store(directory: Path, authority: Authority, trust: Trust) -> None:
    """Puts both files in place, each in one step. Raises ``OSError``."""
    held = _InForce(chain=authority.chain, key=private_pem(authority.key).decode("ascii"), trust=trust)
    put(directory / FILE_NAME, msgspec.json.encode(held), 0o600)
    put(directory / BUNDLE_NAME, trust.bundle.encode("ascii"), 0o644)


def load(directory: Path, trust_domain: str) -> tuple[Authority, Trust] | None:
    """What was stored last, None if nothing was. Raises ``AuthorityError`` if the file is damaged."""
    path = directory / FILE_NAME
    try:
        held = msgspec.json.decode(path.read_bytes(), type=_InForce)
        for bundle in (held.trust.bundle, *held.trust.federated.values()):
            read_bundle(bundle)
        authority = Authority.of(held.trust.bundle, held.chain.encode(), held.key.encode(), trust_domain)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, BundleRejected, AuthorityError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise AuthorityError(f"{path}: cannot be used ({reason})") from None  # no text of it: there is a key in it
    return authority, held.trust
