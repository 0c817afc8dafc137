"""What the demos do to their manifests, and when their numbers hold."""

import shutil
from pathlib import Path

import pytest

import manifests
from smi.decode import decode_text
from smi.split import TrafficSplit
from translator.demo.scenario import Scenario, add, holds, remove, rewrite, scenarios, without_lines

ALL = scenarios(manifests.demo)


def test_every_shipped_demo_has_a_scenario() -> None:
    assert sorted(scenario.name for scenario in ALL) == list(manifests.demos())


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_all_edits_of_a_demo_leave_manifests_without_problems(scenario: Scenario, tmp_path: Path) -> None:
    shutil.copytree(manifests.demo(scenario.name), tmp_path, dirs_exist_ok=True)

    for edit, enforced_by in [(scenario.prepare, "all"), *((step.edit, step.enforced_by) for step in scenario.steps)]:
        if edit is not None:
            edit(tmp_path)
            assert enforced_by
        problems = [
            problem for file in tmp_path.iterdir() for problem in decode_text(file.read_text(), file.name).problems
        ]
        assert problems == []


def test_the_canary_s_weights_are_its_promises(tmp_path: Path) -> None:
    scenario = next(scenario for scenario in ALL if scenario.name == "canary")
    shutil.copytree(manifests.demo("canary"), tmp_path, dirs_exist_ok=True)

    for step in scenario.steps:
        if step.edit is not None:
            step.edit(tmp_path)
        text = (tmp_path / "traffic-split.yaml").read_text()
        (split,) = decode_text(text, "traffic-split.yaml").objects
        assert isinstance(split, TrafficSplit)
        weights = {f"Version {backend.service[-1]}": backend.weight for backend in split.backends}
        total = sum(weights.values())
        assert {kind: weight * step.requests / total for kind, weight in weights.items()} == dict(step.due)


def test_numbers_hold_within_one_but_nothing_may_come_where_nothing_is_due() -> None:
    due = {"v1": 90, "v2": 10, "v3": 0}

    assert holds(due, {"v1": 90, "v2": 10})
    assert holds(due, {"v1": 91, "v2": 9})
    assert not holds(due, {"v1": 92, "v2": 8})
    assert not holds(due, {"v1": 89, "v2": 10, "v3": 1})
    assert not holds(due, {"v1": 90, "v2": 10, "503 no-endpoint": 1})
    assert not holds(due, {})


def test_where_dice_are_thrown_the_kinds_that_are_named_may_be_off_by_chance() -> None:
    due = {"answered": 100, "503": 100, "502": 0}

    assert holds(due, {"answered": 80, "503": 118, "502": 2}, chance=20)
    assert not holds(due, {"answered": 79, "503": 121}, chance=20)
    assert not holds(due, {"answered": 99, "503": 99, "502": 1})
    assert not holds(due, {"answered": 99, "503": 99, "504": 2}, chance=20)


def test_the_retry_policy_is_away_at_first_and_then_as_shipped(tmp_path: Path) -> None:
    scenario = next(scenario for scenario in ALL if scenario.name == "retries")
    shutil.copytree(manifests.demo("retries"), tmp_path, dirs_exist_ok=True)
    shipped = (tmp_path / "retry-service.yaml").read_text()
    assert scenario.prepare is not None

    scenario.prepare(tmp_path)
    (service,) = decode_text((tmp_path / "retry-service.yaml").read_text(), "retry-service.yaml").objects
    assert service.meta.annotations == {}
    for step in scenario.steps:
        if step.edit is not None:
            step.edit(tmp_path)
    assert (tmp_path / "retry-service.yaml").read_text() == shipped


def test_edits(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("weight: 1\nweight: 1\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "b.yaml").write_text("b")

    rewrite("a.yaml", ("weight: 1", "weight: 2"), ("weight: 1", "weight: 3"))(tmp_path)
    assert (tmp_path / "a.yaml").read_text() == "weight: 2\nweight: 3\n"

    with pytest.raises(ValueError, match=r"a\.yaml does not say 'weight: 9'"):
        rewrite("a.yaml", ("weight: 9", ""))(tmp_path)

    without_lines("a.yaml", "weight: 2")(tmp_path)
    assert (tmp_path / "a.yaml").read_text() == "weight: 3\n"
    with pytest.raises(ValueError, match=r"a\.yaml does not say 'weight: 2'"):
        without_lines("a.yaml", "weight: 3", "weight: 2")(tmp_path)

    add(tmp_path / "source" / "b.yaml")(tmp_path)
    assert (tmp_path / "b.yaml").read_text() == "b"
    remove("b.yaml")(tmp_path)
    assert not (tmp_path / "b.yaml").exists()
