"""Manifest files, with every SMI object in them at another version and Linkerd's ServiceProfiles translated.

Whatever else is in the files passes through. As with decoding, a file counts whole
or not at all, here even all files together: with any problem there is no result.
Pure; ``smi convert`` reads the files and prints the documents.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from smi.convert import Doubt, convert
from smi.decode import decode_found, problems_of
from smi.documents import Found, objects_of
from smi.errors import BadAnnotation
from smi.kept import Manifest, Unfolded, annotation_steps, annotations_of, mapping_at
from smi.linkerd.profile import translate
from smi.names import ServiceName
from smi.problems import Problem
from smi.wire.kinds import SMI_KINDS, Convertible
from smi.wire.linkerd import API_VERSION, KIND, Profile
from smi.yamltree import read_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """``documents`` in the order of the files, none with any problem. ``doubts`` are shaped as problems."""

    documents: tuple[object, ...] = ()
    problems: tuple[Problem, ...] = ()
    doubts: tuple[Problem, ...] = ()


def rewrite(files: Iterable[tuple[str, str]], version: str) -> Rewritten:
    """All of ``files`` (name, text) at ``version``. Problems and doubts call the files by their names."""
    run = _Run(version)
    for file, text in files:
        run.read(file, text)
    if run.problems:
        return Rewritten(problems=tuple(run.problems))
    run.place_annotations()
    return Rewritten(documents=tuple(run.documents), doubts=tuple(sorted(run.doubts)))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Annotations that a ServiceProfile, ``found`` in ``file``, has for a Service."""

    service: ServiceName
    annotations: Mapping[str, str]
    found: Found
    file: str


@dataclass(slots=True)
class _Run:
    """What has come together so far."""

    version: str
    documents: list[Any] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)
    wanted: list[_Wanted] = field(default_factory=list)

    def read(self, file: str, text: str) -> None:
        """Take up one file."""
        tree = read_tree(text)
        found = list(objects_of(tree, file))
        problems = [one for one in found if isinstance(one, Problem)]
        documents: list[list[Any]] = [[copy.deepcopy(node.value)] for node in tree.documents]
        for one in reversed([one for one in found if isinstance(one, Found)]):  # so that indexes of lists stay right
            replacement = self._replacement(one, file)
            if isinstance(replacement, list):
                _put(documents[one.document], one, replacement)
            else:
                problems += replacement
        self.problems += sorted(problems)
        for document in (document for several in documents for document in several):
            _rename_lists(document, self.version)
            self.documents.append(document)

    def place_annotations(self) -> None:
        """On the Services that are there; for others, documents that say no more than the annotations."""
        services = {name: one for document in self.documents for name, one in _services(document)}
        for wanted in self.wanted:
            service = services.get(wanted.service)
            if service is None:
                self.documents.append(_partial(wanted))
                message = "its Service is not in these files: what is printed of it are the annotations, for a patch"
                self._tell(wanted.found, wanted.file, message)
                continue
            there = annotations_of(service)
            for name in sorted(name for name, text in wanted.annotations.items() if there.get(name, text) != text):
                self._tell(wanted.found, wanted.file, f"the Service says {name} itself, which stays")
            service["metadata"]["annotations"] = {**wanted.annotations, **there}

    def _replacement(self, found: Found, file: str) -> list[Any] | tuple[Problem, ...]:
        """What stands in for an object, or what is wrong with it."""
        if found.kind in SMI_KINDS and found.model is not None:
            return self._object(found, found.model, file)
        if (found.api_version, found.kind) == (API_VERSION, KIND):
            return self._profile(found, file)
        if not found.api_version:
            self._tell(found, file, f"a {found.kind} is left out: only kustomize reads it")
            return []
        return [found.node.value]

    def _object(self, found: Found, model: type[Convertible], file: str) -> list[Any] | tuple[Problem, ...]:
        read = decode_found(found, model, file)
        if isinstance(read, list):
            return tuple(read)
        try:
            converted = convert(found.manifest(), self.version)
        except BadAnnotation as error:
            return (found.problem(file, annotation_steps(error.name), str(error)),)
        for doubt in converted.doubts:
            self._tell(found, file, doubt)
        said = mapping_at(found.node.value)
        return [
            {key: value for key, value in converted.manifest.items() if key not in found.inherited or said.get(key)}
        ]

    def _profile(self, found: Found, file: str) -> list[Any] | tuple[Problem, ...]:
        manifest = found.manifest()
        try:
            translated = translate(Profile.model_validate(manifest))
        except ValidationError as error:
            return tuple(problems_of(error, Unfolded(manifest=manifest), found, file))
        for doubt in translated.doubts:
            self._tell(found, file, doubt)
        if translated.service is None:
            return [manifest]
        if translated.annotations:
            self.wanted.append(_Wanted(translated.service, translated.annotations, found, file))
        elif not translated.manifests:
            self._tell(found, file, "says nothing that this mesh has words for: it is left out")
        return [convert(one, self.version).manifest for one in translated.manifests]

    def _tell(self, found: Found, file: str, doubt: Doubt | str) -> None:
        if isinstance(doubt, str):
            doubt = Doubt(places=(("kind",),), message=doubt)
        there = [place for place in doubt.places if found.node.has(place)]
        self.doubts.append(found.problem(file, (there or doubt.places)[0], doubt.message))


def _put(several: list[Any], found: Found, replacement: list[Any]) -> None:
    """Put ``replacement`` in the place of ``found``, in the documents that its document has become."""
    if not found.steps:
        several[:] = replacement
        return
    at = several[0]
    for step in found.steps[:-1]:
        at = at[step]
    index = found.steps[-1]
    assert isinstance(index, int)  # it is an item of a list
    at[index : index + 1] = replacement


def _rename_lists(document: object, version: str) -> None:
    """A typed list (``TrafficSplitList``) is of the version of its items."""
    kind = mapping_at(document).get("kind")
    items = mapping_at(document).get("items")
    if not isinstance(document, dict) or not isinstance(kind, str) or not isinstance(items, list):
        return
    for item in items:
        _rename_lists(item, version)
    group, versions = SMI_KINDS.get(kind.removesuffix("List"), ("", {}))
    if kind.endswith("List") and str(document.get("apiVersion")).startswith(f"{group}/") and version in versions:
        document["apiVersion"] = f"{group}/{version}"


def _services(document: object) -> Iterator[tuple[ServiceName, Manifest]]:
    """Services in a document, by name."""
    value = mapping_at(document)
    if (value.get("apiVersion"), value.get("kind")) == ("v1", "Service"):
        metadata = mapping_at(value, "metadata")
        yield ServiceName(str(metadata.get("namespace") or "default"), str(metadata.get("name"))), value
    items = value.get("items") if str(value.get("kind")).endswith("List") else None
    for item in items if isinstance(items, list) else ():
        yield from _services(item)


def _partial(wanted: _Wanted) -> Manifest:
    namespace, name = wanted.service
    metadata = {"name": name, "namespace": namespace, "annotations": dict(wanted.annotations)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
