"""The CRDs: current, structural, the same at every version, and losing nothing of what is written and read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from handwriting import manifests
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel
from shapes import Manifest
from structural import INT_OR_TEXT, PRESERVE, RULES, Schema, below, faults, prune

import smi.wire.kinds
from smi.crds.__main__ import HEADER, main
from smi.crds.definitions import definitions, schema_of
from smi.quantity import quantity_of
from smi.wire.base import Wire

HOUSE = Path(__file__).parents[3]
CRDS = HOUSE / "manifests" / "crds"
KINDS = sorted(smi.wire.kinds.SMI_KINDS)
WRITTEN = [*(HOUSE / "manifests" / "demos").rglob("*.yaml"), *(HOUSE / "conformance").rglob("*.yaml")]
GOLDEN = sorted((HOUSE / "tests" / "golden").rglob("*.yaml"))


def crd(kind: str) -> Manifest:
    (found,) = [one for one in definitions().values() if one["spec"]["names"]["kind"] == kind]
    return found


def all_schemas() -> list[tuple[str, Schema]]:
    return [(f"{kind}{path}", one) for kind in KINDS for path, one in below(schema_of(kind))]


def test_the_files_are_current(tmp_path: Path) -> None:
    """``make crds`` makes them so."""
    main([str(tmp_path)])
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}

    assert {path.name: path.read_text() for path in CRDS.glob("*_*.yaml")} == written
    assert all(text.startswith(HEADER) for text in written.values())
    assert {name: yaml.safe_load(text) for name, text in written.items()} == definitions()


def test_a_folder_must_be_named() -> None:
    with pytest.raises(SystemExit, match="usage: python"):
        main([])


@pytest.mark.parametrize(
    ("kind", "short", "name", "versions"),
    [
        ("TrafficSplit", "ts", "trafficsplits.split.smi-spec.io", 4),
        ("TrafficTarget", "tt", "traffictargets.access.smi-spec.io", 4),
        ("IdentityBinding", "ib", "identitybindings.access.smi-spec.io", 1),
        ("HTTPRouteGroup", "htr", "httproutegroups.specs.smi-spec.io", 4),
        ("TCPRoute", "tr", "tcproutes.specs.smi-spec.io", 4),
        ("UDPRoute", "ur", "udproutes.specs.smi-spec.io", 1),
    ],
)
def test_names_and_versions(kind: str, short: str, name: str, versions: int) -> None:
    spec = crd(kind)["spec"]

    assert crd(kind)["metadata"]["name"] == name == f"{spec['names']['plural']}.{spec['group']}"
    assert spec["names"]["shortNames"] == [short]
    assert spec["names"]["listKind"] == f"{kind}List"
    assert len(spec["versions"]) == versions
    assert [one["name"] for one in spec["versions"] if one["storage"]] == ["v1alpha4"]
    assert all(one["served"] for one in spec["versions"])
    assert spec["conversion"] == {"strategy": "None"}


@pytest.mark.parametrize("kind", KINDS)
def test_all_versions_of_a_kind_have_one_schema_a_status_and_columns(kind: str) -> None:
    for version in crd(kind)["spec"]["versions"]:
        assert version["schema"] == {"openAPIV3Schema": schema_of(kind)}
        assert version["subresources"] == {"status": {}}
        assert ".status.summary" in [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    assert set(schema_of(kind)["properties"]["status"]["properties"]) == {"observedGeneration", "summary", "conditions"}


def test_every_field_is_typed() -> None:
    untyped = [at for at, one in all_schemas() if "type" not in one]
    typed_otherwise = [at for at, one in all_schemas() if one.get(INT_OR_TEXT) or one.get(PRESERVE)]

    assert set(untyped) - set(typed_otherwise) == set()


def test_every_list_and_map_is_bounded() -> None:
    lists = [one for _, one in all_schemas() if one.get("type") == "array"]
    maps = [one for _, one in all_schemas() if "additionalProperties" in one]

    assert lists
    assert maps
    assert all("maxItems" in one for one in lists)
    assert all("maxProperties" in one for one in maps)


def test_nothing_is_required_defaulted_or_ruled_at_the_root() -> None:
    assert [at for at, one in all_schemas() if "required" in one or "default" in one] == []
    assert [kind for kind in KINDS if RULES in schema_of(kind)] == []


def test_what_is_certainly_wrong_has_rules_with_a_message() -> None:
    ruled = {at: rule["message"] for at, one in all_schemas() for rule in one.get(RULES, ())}

    assert ruled["TrafficSplit.spec.backends[].weight"] == "must not be negative"
    assert "IdentityBinding.spec.schemes" in ruled
    assert all(ruled.values())


WEIGHT = schema_of("TrafficSplit")["properties"]["spec"]["properties"]["backends"]["items"]["properties"]["weight"]
PORT = schema_of("TrafficTarget")["properties"]["destination"]["properties"]["port"]


@pytest.mark.parametrize("weight", [0, 90, "90", "900m", "0.5", ".5", "5.", "1e3", "1E-3", "1Ki", "+1", "100n"])
def test_a_weight_that_is_read_is_let_through(weight: int | str) -> None:
    assert quantity_of(weight) >= 0
    assert list(faults(weight, WEIGHT)) == []


@pytest.mark.parametrize("weight", ["", "many", "1 m", "m", "1.2.3", "1ki", "0x1", "1e", "9" * 65, True, [1], None])
def test_a_weight_that_nobody_can_read_is_refused(weight: object) -> None:
    assert list(faults(weight, WEIGHT)) != []


@pytest.mark.parametrize("port", [1, 8080, 65535, "", "1", "8080", "08080", "65535", "59999", "65499"])
def test_a_port_that_is_read_is_let_through(port: int | str) -> None:
    assert list(faults(port, PORT)) == []


@pytest.mark.parametrize("port", [0, -1, 65536, "0", "65536", "70000", "655350", "http", "-1", "1 "])
def test_no_port_is_refused(port: int | str) -> None:
    assert list(faults(port, PORT)) != []


def models(model: type[BaseModel], at: str) -> list[tuple[str, type[BaseModel]]]:
    """``model`` and those inside of it, with the way to each as ``below`` writes it."""
    found = [(at, model)]
    for name, info in model.model_fields.items():
        text = str(info.annotation)
        inside = [part for part in _parts(info.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        step = f"{at}.{info.alias or name}" + (
            "[]" if re.match(r"(typing\.Annotated\[)?(typing\.Optional\[)?list", text) else ""
        )
        found += [one for part in inside for one in models(part, step)]
    return found


def _parts(annotation: Any) -> list[Any]:
    inner = getattr(annotation, "__args__", ())
    return [annotation, *(part for one in inner for part in _parts(one))]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_read_is_in_the_schema(kind: str) -> None:
    """A field that is read and not named would be pruned; so would one that is only known not to be a misspelling."""
    schemas = dict(below(schema_of(kind)))
    for model in set(smi.wire.kinds.SMI_KINDS[kind][1].values()):
        assert isinstance(model, type)
        assert issubclass(model, Wire)
        for at, one in models(model, ""):
            if at.startswith(".metadata"):
                continue
            assert issubclass(one, Wire)
            names = {info.alias or name for name, info in one.model_fields.items()} | one.also_known
            assert names - set(schemas[at]["properties"]) == set(), at


def objects_in(path: Path) -> list[Manifest]:
    text = path.read_text()
    documents = [one for one in yaml.safe_load_all(text) if isinstance(one, dict)]
    return [one for one in documents if one.get("kind") in KINDS]


def check(manifest: Manifest) -> None:
    schema = schema_of(manifest["kind"])
    assert prune(manifest, schema) == manifest
    assert list(faults(manifest, schema)) == []


def test_what_ships_and_every_golden_case_fits() -> None:
    written = [one for path in [*WRITTEN, *GOLDEN] for one in objects_in(path)]

    assert {one["kind"] for one in written} == set(KINDS)
    assert len(written) > 100
    for manifest in written:
        check(manifest)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(manifests())
def test_whatever_anybody_writes_keeps_its_known_fields(manifest: Manifest) -> None:
    schema, said = schema_of(manifest["kind"]), without_noise(manifest)
    assert json.dumps(prune(said, schema)) == json.dumps(said)
    assert [one for one in faults(said, schema) if "weight" not in one] == []


def without_noise(value: Any) -> Any:
    """Without nulls and fields that mean nothing; Kubernetes' clients write neither."""
    if isinstance(value, list):
        return [without_noise(one) for one in value]
    if isinstance(value, dict):
        return {key: without_noise(one) for key, one in value.items() if one is not None and key != "zz"}
    return value
