"""What the operator wants: the files of the CA and the bundles of other trust domains, looked at again and again.

A file is taken as it is or not at all: while one is wrong, the last good
state stays, and the problem is told. Files that belong together are replaced
one after the other; what does not fit for a moment is not worth a word.

Neighbours: ``translator.identity.rotation`` brings it into force.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from proxy.contract.bundle import BundleRejected
from smi.problems import Problem
from translator.identity.authority import BUNDLE, ISSUER, ISSUER_KEY, LEAF_LIFETIME, MAX_FILE, Authority, AuthorityError
from translator.identity.roots import as_bundle, roots_in
from translator.identity.serving import serving_context

MIN_LIFETIME: Final = timedelta(seconds=5)
"""Of leaves: a shorter one leaves no time for an attempt to renew that fails."""


NOTICE: Final = timedelta(days=60)
"""Before the end of an issuer or root it is told, as `linkerd check` does; of a short life the last tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOptions:
    """What the operator chose.

    ``ca`` is the folder of a CA of their own; None: one is made for this mesh. ``lifetime`` is that of leaves.
    ``federated`` has the bundle files of other trust domains, by name.
    """

    ca: Path | None = None
    lifetime: timedelta = LEAF_LIFETIME
    federated: Mapping[str, Path] = field(default_factory=dict)


class WatchedFiles:
    """Some files that make one thing. ``problem`` says what is wrong with them, empty if nothing."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._seen: object = None
        self._doubt = ""
        self.problem = ""

    def changed(self) -> bool:
        """Whether they were replaced since the last call. If not, what was in doubt then is a problem now."""
        seen = [_state(path) for path in self._paths]
        if seen != self._seen:
            self._seen = seen
            return True
        if self._doubt:
            self.problem, self._doubt = self._doubt, ""
        return False

    def good(self) -> None:
        """What they say is taken."""
        self.problem = self._doubt = ""

    def bad(self, why: str) -> None:
        """What they say cannot be taken; told unless they are replaced again before the next look."""
        self._doubt = why


class Wanted:
    """``authority`` and ``federated`` as the files say, or as they said when they were good last.

    ``authority`` is None until its files have been good once.
    """

    def __init__(self, folder: Path, federated: Mapping[str, Path], trust_domain: str) -> None:
        self.authority: Authority | None = None
        self.federated: dict[str, str] = {}
        self._folder, self._trust_domain = folder, trust_domain
        self._ca = WatchedFiles(*(folder / name for name in (BUNDLE, ISSUER, ISSUER_KEY)))
        self._bundles = {domain: (path, WatchedFiles(path)) for domain, path in federated.items()}

    def remember(self, federated: Mapping[str, str]) -> None:
        """What bundles were when they were good last: they stand in for files that are not."""
        for domain in self._bundles:
            if domain in federated:
                self.federated.setdefault(domain, federated[domain])

    def look(self) -> None:
        """Takes up what was replaced."""
        if self._ca.changed():
            try:
                loaded = Authority.load(self._folder, self._trust_domain)
                _check_same_key(self.authority, loaded)
                serving_context(loaded)
            except AuthorityError as error:
                self._ca.bad(str(error))
            else:
                self.authority = loaded
                self._ca.good()
        for domain, (path, file) in self._bundles.items():
            if file.changed():
                try:
                    self.federated[domain] = as_bundle(roots_in(_text(path)))
                except (OSError, BundleRejected) as error:
                    file.bad(f"{path}: {getattr(error, 'strerror', None) or error}")
                else:
                    file.good()

    @property
    def wrong(self) -> tuple[Problem, ...]:
        """What is wrong with the files; the last good state stays."""
        watched = [(self._folder, self._ca), *self._bundles.values()]
        return tuple(_problem(path, file.problem) for path, file in watched if file.problem)

    @property
    def ending(self) -> tuple[Problem, ...]:
        """What will soon be of no use."""
        return tuple(_ending(self._folder, self.authority)) if self.authority is not None else ()


def _check_same_key(before: Authority | None, after: Authority) -> None:
    """Who holds a certificate of which root could not be told apart by the issuer's key."""
    if before is not None and before.key_id == after.key_id and before.anchor != after.anchor:
        raise AuthorityError(f"{ISSUER} has the key of the one before, but another root: make a new key for it")


def _ending(folder: Path, authority: Authority) -> Iterator[Problem]:
    """Certificates of the CA that have little of their life left: nothing is issued beyond it."""
    for name, certificate in ((ISSUER, authority.issuer), *((BUNDLE, root) for root in authority.roots)):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if end - authority.now() < min(NOTICE, (end - begin) / 10):
            message = (
                f"{certificate.subject.rfc4514_string()} ends at {end:%Y-%m-%d %H:%M} UTC: put a new one in its place"
            )
            yield Problem(file=str(folder / name), line=1, field="file", message=message)


def _problem(path: Path, why: str) -> Problem:
    file, separator, message = why.partition(": ")
    known = separator and file.startswith(str(path))
    return Problem(file=file if known else str(path), line=1, field="file", message=message if known else why)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_FILE).decode("ascii", "replace")


def _state(path: Path) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
