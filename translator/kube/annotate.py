"""Manifests with, or without, the annotation that asks for sidecars. Pure; ``smi inject`` reads and prints the files.

The annotation is all that is written: what a pod with a sidecar looks like the webhook decides when the pod is made,
and a mesh that is upgraded needs no manifest changed. Everything else in the files stays, to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from smi.kept import annotations_of, mapping_at
from smi.problems import Problem, Step
from smi.yamledit import Drop, Put, edited
from smi.yamltree import Node, read_tree
from translator.kube.admission.decide import ALIAS, ENABLED, INJECT, NEVER, decide
from translator.kube.admission.settings import Injected

DISABLED: Final = "disabled"
ANNOTATIONS: Final = ("metadata", "annotations")

_TEMPLATE: Final = ("spec", "template")
PODS_OF: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Namespace"): (),
    ("", "Pod"): (),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", *_TEMPLATE),
}
"""By API group and kind: where in an object there is what its pods become, or inherit from."""

Verb = Literal["inject", "uninject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one object; ``why`` nothing did, where that needs saying."""

    kind: str
    name: str
    changed: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """A file's new text. With ``problems`` there is none. ``anew``: its comments could not be kept."""

    text: str = ""
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[Problem, ...] = ()
    anew: bool = False


def annotated(file: str, text: str, verb: Verb) -> Annotated:
    """The manifests ``text`` of ``file``, each object of ``PODS_OF`` asking for sidecars, or no more."""
    tree = read_tree(text)
    problems = [Problem(file=file, line=one.line, field=one.field, message=one.message) for one in tree.flaws]
    if not tree.documents and not problems:
        problems = [Problem(file=file, line=1, field="file", message="is empty: there is no object in it")]
    run = _Run(verb, [_unshared(node.value) for node in tree.documents])
    for document, node in enumerate(tree.documents):
        for steps, one in _objects(node, ()):
            if isinstance(one.value, dict):
                run.take(document, steps, one.value)
            else:
                message = "must be an object: a mapping with apiVersion, kind and metadata"
                problems.append(Problem(file=file, line=one.line, field="yaml", message=message))
    if problems:
        return Annotated(problems=tuple(sorted(problems)))
    done = edited(text, run.changes, run.documents)
    return Annotated(text=done.text, outcomes=tuple(run.outcomes), anew=done.anew)


def _objects(node: Node, steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Node]]:
    """A document's object, or those of a List, each with the way to it."""
    items = node.children.get("items")
    if isinstance(node.value, dict) and node.value.get("kind") == "List" and items is not None:
        for index, item in items.children.items():
            yield from _objects(item, (*steps, "items", index))
    else:
        yield steps, node


def _unshared(value: object) -> Any:
    """A copy in which nothing is in two places: of what an alias repeats one may be changed and the other not."""
    if isinstance(value, dict):
        return {key: _unshared(one) for key, one in value.items()}
    return [_unshared(one) for one in value] if isinstance(value, list) else value


@dataclass(slots=True)
class _Run:
    """``documents`` are brought to what is wanted, ``changes`` are the steps that do the same to the text."""

    verb: Verb
    documents: list[Any]
    changes: list[Put | Drop] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def take(self, document: int, steps: tuple[Step, ...], thing: Mapping[str, Any]) -> None:
        """Do to one object what is to be done."""
        kind, name = str(thing.get("kind") or ""), str(mapping_at(thing, "metadata").get("name") or "")
        if not kind:
            self.outcomes.append(Outcome(kind="", name="", changed=False, why='there is no "kind" in it'))
            return
        group = str(thing.get("apiVersion") or "").rpartition("/")[0]
        way = PODS_OF.get((group, kind))
        if way is None:
            self.outcomes.append(Outcome(kind=kind, name=name, changed=False))
            return
        holder = mapping_at(thing, *way)
        if self.verb == "inject":
            changed, why = _wanted(thing, holder)
            if changed:
                self._inject(document, (*steps, *way))
        else:
            names = _asking(holder)
            changed, why = bool(names), ""
            if names:
                self._uninject(document, (*steps, *way), names)
        self.outcomes.append(Outcome(kind=kind, name=name, changed=changed, why=why))

    def _inject(self, document: int, steps: tuple[Step, ...]) -> None:
        at = self.documents[document]
        for step in steps:
            at = at[step]
        for step in ANNOTATIONS:
            at[step] = at.get(step) or {}
            at = at[step]
        # Where the text has to be written anew it stands where it is put into a text: first.
        there = {name: value for name, value in at.items() if name != INJECT}
        at.clear()
        at.update({INJECT: ENABLED, **there})
        self.changes.append(Put(document=document, steps=(*steps, *ANNOTATIONS, INJECT), value=ENABLED))

    def _uninject(self, document: int, steps: tuple[Step, ...], names: frozenset[str]) -> None:
        """A mapping that is left empty goes, too: injecting what never had one is undone to the letter."""
        way: tuple[Step, ...] = (*steps, *ANNOTATIONS)
        while True:
            at = self.documents[document]
            for step in way:
                at = at[step]
            for name in names:
                del at[name]
            if at or len(way) == len(steps):
                break
            way, names = way[:-1], frozenset({str(way[-1])})
        self.changes.append(Drop(document=document, steps=way, names=names))


def _wanted(thing: Mapping[str, Any], holder: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether an object is to be annotated; if not, why: the webhook would refuse its pods, or it is said already."""
    namespace = str(mapping_at(thing, "metadata").get("namespace") or "default")
    said = annotations_of(holder)
    if not _can_be_said(holder):
        return False, "its metadata is not understood"
    asked = next((said[name] for name in (INJECT, ALIAS) if name in said), None)
    if asked == DISABLED:
        return False, f"it says {DISABLED} itself"
    if said.get(INJECT) == ENABLED:
        return False, f"it says {ENABLED} already"
    if thing["kind"] == "Namespace":
        name = str(mapping_at(thing, "metadata").get("name"))
        if name in NEVER or name == Injected().namespace:
            return False, f"pods of {name} never get a sidecar"
        return True, ""
    if not mapping_at(holder, "spec"):
        return False, "there is no pod in it"
    pod = {"metadata": {"annotations": {INJECT: ENABLED}}, "spec": holder["spec"]}
    try:
        decision = decide(pod, namespace, {}, Injected())
    except (AttributeError, TypeError):  # the webhook's pods are the API server's, a file's may be anything
        return False, "its pod is not understood"
    return decision.inject, decision.why


def _can_be_said(holder: Mapping[str, Any]) -> bool:
    """Whether metadata and annotations are mappings, or not there yet."""
    metadata = holder.get("metadata")
    return metadata is None or (isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict | None))


def _asking(holder: Mapping[str, Any]) -> frozenset[str]:
    """The annotations to take out. One that says no stays: without it the namespace's would count."""
    said = annotations_of(holder)
    return frozenset(name for name in (INJECT, ALIAS) if name in said and said[name] != DISABLED)
