"""The objects in a manifest file, one by one, whoever's they are and however they are wrapped.

A file has documents, a document is an object or a list of objects. ``smi.decode``
reads what is found here, ``smi.rewrite`` puts something else into its place. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from smi.kept import Manifest
from smi.names import shown
from smi.problems import Problem, Step, field_path
from smi.wire.kinds import Convertible, model_of
from smi.yamltree import Node, Tree

KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml"})
"""Kustomize's own file may leave out apiVersion and kind and lies in the same folders."""

_OBJECT = "must be an object: a mapping with apiVersion, kind and metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object: ``steps`` lead to it in the document of that index. Without ``model`` it is of a kind not ours.

    ``inherited`` is what a typed list says of its items, which they need not say again.
    """

    document: int
    node: Node
    steps: tuple[Step, ...]
    api_version: str
    kind: str
    model: type[Convertible] | None
    inherited: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} ({self.api_version})" if self.api_version else self.kind

    def manifest(self) -> Manifest:
        """The object as it would be outside of its list. It shares what is below with the file's data."""
        value = self.node.value if isinstance(self.node.value, dict) else {}
        return {**value, "apiVersion": self.api_version, "kind": self.kind}

    def problem(self, file: str, steps: tuple[Step, ...], message: str) -> Problem:
        """Something wrong at ``steps`` of this object."""
        return Problem(
            file=file, line=self.node.line_at(steps), field=field_path((*self.steps, *steps)), message=message
        )


def objects_of(tree: Tree, file: str) -> Iterator[Found | Problem]:
    """Everything in ``tree``, in order, and what keeps something from being found."""
    if not tree.documents and not tree.flaws:
        yield Problem(file=file, line=1, field="file", message="is empty: there is no object in it")
    for flaw in tree.flaws:
        yield Problem(file=file, line=flaw.line, field=flaw.field, message=flaw.message)
    for index, document in enumerate(tree.documents):
        yield from _Walk(file, index).item(document, (), {})


def kind_of_value(value: object) -> str:
    """What ``value`` is, in the words of a message."""
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None:
            return "nothing"
        case _:
            return shown(value)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Through one document."""

    file: str
    document: int

    def item(self, node: Node, steps: tuple[Step, ...], inherited: Mapping[str, str]) -> Iterator[Found | Problem]:
        """A document or a list's item."""
        if not isinstance(node.value, dict):
            where = field_path(steps) or "yaml"
            message = f"{_OBJECT}, not {kind_of_value(node.value)}"
            yield Problem(file=self.file, line=node.line, field=where, message=message)
            return
        head = {**inherited, **{key: node.value.get(key) for key in ("apiVersion", "kind") if node.value.get(key)}}
        if not head and PurePosixPath(self.file).name in KUSTOMIZATIONS:
            head = {"apiVersion": "", "kind": "Kustomization"}
        found = Found(
            document=self.document,
            node=node,
            steps=steps,
            api_version=str(head.get("apiVersion", "")),
            kind=str(head.get("kind", "")),
            model=None,
            inherited=inherited,
        )
        faults = list(_head_faults(head))
        if faults:
            yield from (found.problem(self.file, (name,), message) for name, message in faults)
        else:
            yield from self._of_kind(found)

    def _of_kind(self, found: Found) -> Iterator[Found | Problem]:
        model = model_of(found.api_version, found.kind)
        if isinstance(model, tuple):
            name, message = model
            yield found.problem(self.file, (name,), message)
        elif model is None and found.kind.endswith("List"):
            yield from self._list(found)
        else:
            yield replace(found, model=model)

    def _list(self, found: Found) -> Iterator[Found | Problem]:
        """A ``List`` of anything, or a typed one (``TrafficSplitList``)."""
        element = found.kind.removesuffix("List")
        inherited = {"apiVersion": found.api_version, "kind": element} if element else {}
        if element and model_of(found.api_version, element) is None:
            yield found
            return
        items = found.node.children.get("items")
        if items is None or items.value is None:
            return
        if not isinstance(items.value, list):
            yield found.problem(self.file, ("items",), "must be a list")
            return
        for index, item in items.children.items():
            yield from self.item(item, (*found.steps, "items", index), inherited)


def _head_faults(head: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name in ("apiVersion", "kind"):
        if name not in head:
            yield name, "required"
        elif not isinstance(head[name], str):
            yield name, f"must be text, not {shown(head[name])}"
