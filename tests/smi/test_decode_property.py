"""decode_text on whatever may lie in a folder: it answers, always, and names a place for every problem."""

import copy
import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smi.decode import decode_text

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "900m", "*", "(", "web.default.svc", "HTTPRouteGroup", "v1", "-1", "1e999999999", "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)

GOOD: list[dict[str, Any]] = [
    {
        "apiVersion": "split.smi-spec.io/v1alpha1",
        "kind": "TrafficSplit",
        "metadata": {"name": "x", "namespace": "n", "creationTimestamp": "2024-05-01T10:00:00Z", "labels": {"a": "b"}},
        "spec": {
            "service": "web",
            "matches": [{"kind": "HTTPRouteGroup", "name": "g"}],
            "backends": [{"service": "a", "weight": "900m"}, {"service": "b", "weight": 1}],
        },
    },
    {
        "apiVersion": "access.smi-spec.io/v1alpha3",
        "kind": "TrafficTarget",
        "metadata": {"name": "x", "annotations": {"a": "b"}},
        "spec": {
            "destination": {"kind": "ServiceAccount", "name": "s", "port": 80},
            "sources": [{"kind": "ServiceAccount", "name": "c", "namespace": "n"}],
            "rules": [{"kind": "HTTPRouteGroup", "name": "g", "matches": ["m"]}],
        },
    },
    {
        "apiVersion": "access.smi-spec.io/v1alpha4",
        "kind": "IdentityBinding",
        "metadata": {"name": "x"},
        "spec": {"schemes": {"podLabelSelector": {"matchLabels": {"a": "b"}}, "spiffeIdentities": ["a/b"]}},
    },
    {
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "x"},
        "spec": {"matches": [{"name": "m", "methods": ["GET"], "pathRegex": "/", "headers": [{"a": "b"}]}]},
    },
    {
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "TCPRoute",
        "metadata": {"name": "x"},
        "spec": {"matches": {"ports": [80]}},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]},
    },
    {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x"},
                "spec": {
                    "containers": [
                        {
                            "name": "a",
                            "ports": [{"containerPort": 80}],
                            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                            "readinessProbe": {"httpGet": {"port": 80}},
                            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "k"}],
                        }
                    ],
                    "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "k"}]}}],
                },
            }
        ],
    },
]


def check(text: str) -> None:
    decoded = decode_text(text, "m.yaml")
    assert len(decoded.objects) == len(decoded.origins)
    assert not (decoded.objects and decoded.problems)
    last_line = 2 + sum(text.count(end) for end in "\n\r\x85\u2028\u2029")
    for problem in decoded.problems:
        assert not problem.message.startswith("cannot be read: ")  # the last resort: something was overlooked
        assert problem.field
        assert problem.message
        assert "\n" not in str(problem)
        assert 1 <= problem.line <= last_line


def places(value: object, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in below for path in [(*above, key), *places(item, (*above, key))]]


@st.composite
def bent(draw: st.DrawFn) -> dict[str, Any]:
    """A good manifest with up to three places deleted, renamed or replaced by anything."""
    manifest: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        *above, last = draw(st.sampled_from(places(manifest)))
        at: Any = manifest
        for step in above:
            at = at[step]
        match draw(st.sampled_from(["delete", "replace", "rename"])):
            case "delete" if isinstance(at, dict):
                del at[last]
            case "rename" if isinstance(at, dict):
                at[draw(st.sampled_from([f"{last}s", last[1:], "x", last.upper()]))] = at.pop(last)
            case _:
                at[last] = draw(VALUES)
        if not places(manifest):
            break
    return manifest


@settings(deadline=None)
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@?,\n \t<0~\x85\u2028\r\ufeff\ud800")))
def test_any_punctuation(text: str) -> None:
    check(text)


@settings(deadline=None)
@given(VALUES)
def test_any_yaml(value: object) -> None:
    check(json.dumps(value))
    check(yaml.dump(value, allow_unicode=True) if "\\ud8" not in json.dumps(value) else "a: b")


@settings(max_examples=400, deadline=None)
@given(bent())
def test_any_fault_in_a_good_manifest(manifest: dict[str, Any]) -> None:
    check(json.dumps(manifest, indent=1))


@settings(deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_any_beginning_of_a_good_manifest(manifest: dict[str, Any], data: st.DataObject) -> None:
    text = yaml.safe_dump(manifest, sort_keys=False)
    check(text[: data.draw(st.integers(min_value=0, max_value=len(text)))])


def test_the_good_manifests_are_good() -> None:
    for manifest in GOOD:
        decoded = decode_text(yaml.safe_dump(manifest), "m.yaml")
        assert decoded.problems == ()
        assert len(decoded.objects) == 1


@settings(max_examples=400, deadline=None)
@given(
    bent(),
    st.sampled_from(["matches", "weights", "port", "headers", "ports", "original", "other"]),
    VALUES | st.lists(st.fixed_dictionaries({"name": st.sampled_from(["m", "n"])}, optional={"headers": VALUES})),
)
def test_any_value_that_conversion_might_have_kept(manifest: dict[str, Any], name: str, value: object) -> None:
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict):
        metadata["annotations"] = {f"convert.smi-mesh.io/{name}": json.dumps(value)}
    check(json.dumps(manifest, indent=1))
