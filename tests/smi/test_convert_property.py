"""Conversion, for random objects as anybody might write them: nothing is lost, and nothing changes its meaning."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import replace
from typing import Any, cast

from handwriting import manifests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapes import VERSIONS, Manifest

from smi.convert import convert
from smi.decode import SmiObject, decode_text

EXAMPLES = int(os.environ.get("SMI_MESH_EXAMPLES", "1000")) // 4
some = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def text(manifest: Manifest) -> str:
    """To compare: for Python 1, 1.0 and true are equal."""
    return json.dumps(manifest, sort_keys=True)


def meaning(manifest: Manifest) -> SmiObject:
    decoded = decode_text(json.dumps(manifest), "m.yaml")
    assert decoded.problems == ()
    (obj,) = decoded.objects
    return replace(cast(Any, obj), api_version="")  # type: ignore[no-any-return]


@some
@given(manifests(), st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=3))
def test_there_and_back_is_the_very_same_object(manifest: Manifest, way: list[str]) -> None:
    given_as, converted = copy.deepcopy(manifest), manifest
    for version in (*way, manifest["apiVersion"].rpartition("/")[2]):
        converted = convert(converted, version).manifest
    assert text(converted) == text(manifest) == text(given_as)


@some
@given(manifests(), st.sampled_from(VERSIONS))
def test_what_is_converted_means_the_same(manifest: Manifest, version: str) -> None:
    converted = convert(manifest, version).manifest
    if manifest["kind"] not in ("IdentityBinding", "UDPRoute"):
        assert converted["apiVersion"].endswith(f"/{version}")
    assert meaning(converted) == meaning(manifest)
