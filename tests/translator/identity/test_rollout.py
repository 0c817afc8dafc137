"""Which step towards new roots may be taken, and whom it waits for."""

from __future__ import annotations

from dataclasses import replace

import forge
from hypothesis import given
from hypothesis import strategies as st

from translator.identity.rollout import Anchors, SidecarTrust, Stage, Step, next_step

OLD, NEW, THIRD = forge.Root(), forge.Root(), forge.Root()
GENERATION = 7


def anchors(issuer: forge.Root, *roots: forge.Root) -> Anchors:
    trusted = tuple(root.certificate for root in roots or (issuer,))
    return Anchors(roots=trusted, issuer=issuer.key_id.hex(), certificate=issuer.certificate)


def sidecar(pod: str = "shop/web-0", *, generation: int = GENERATION, issuer: forge.Root = OLD) -> SidecarTrust:
    return SidecarTrust(pod=pod, generation=generation, issuer=issuer.key_id.hex())


def step(now: Anchors, wanted: Anchors, *sidecars: SidecarTrust) -> Step:
    return next_step(now, wanted, GENERATION, sidecars)


def test_what_is_in_force_already_needs_no_step() -> None:
    assert step(anchors(OLD), anchors(OLD), sidecar(generation=0)) == Step(stage=Stage.SETTLED)


def test_sidecars_are_not_even_walked_while_none_is_waited_for() -> None:
    """It is asked every other second, of clusters with tens of thousands of pods."""

    sidecars = iter([sidecar(generation=0)])
    assert next_step(anchors(OLD), anchors(OLD), GENERATION, sidecars) == Step(stage=Stage.SETTLED)
    assert list(sidecars) == [sidecar(generation=0)], "nobody read it"


def test_a_new_root_is_trusted_beside_the_old_one_at_once() -> None:
    both = (OLD.certificate, NEW.certificate)
    assert step(anchors(OLD), anchors(NEW), sidecar(generation=0)) == Step(stage=Stage.TRUSTING, roots=both)
    assert step(anchors(OLD), anchors(OLD, OLD, NEW)) == Step(stage=Stage.SETTLED, roots=both)


def test_the_new_issuer_signs_when_every_sidecar_trusts_its_root() -> None:
    now, wanted = anchors(OLD, OLD, NEW), anchors(NEW)
    late = sidecar("shop/api-0", generation=GENERATION - 1)
    assert step(now, wanted, sidecar(), late) == Step(stage=Stage.TRUSTING, waiting=("shop/api-0",))
    assert step(now, wanted, sidecar()) == Step(stage=Stage.TRUSTING, switch=True, lasting=True)
    assert step(now, wanted) == Step(stage=Stage.TRUSTING, switch=True, lasting=True)


def test_the_old_root_goes_when_every_sidecar_holds_a_certificate_of_the_new_issuer() -> None:
    now, wanted = anchors(NEW, OLD, NEW), anchors(NEW)
    renewed = sidecar(issuer=NEW)
    assert step(now, wanted, renewed, sidecar("shop/api-0")) == Step(stage=Stage.RENEWING, waiting=("shop/api-0",))
    assert step(now, wanted, renewed) == Step(stage=Stage.RENEWING, roots=(NEW.certificate,), lasting=True)


def test_a_sidecar_of_which_nothing_is_known_is_waited_for() -> None:
    unknown = SidecarTrust(pod="shop/new-0")
    assert step(anchors(OLD, OLD, NEW), anchors(NEW), unknown).waiting == ("shop/new-0",)
    assert step(anchors(NEW, OLD, NEW), anchors(NEW), unknown).waiting == ("shop/new-0",)


def test_an_old_root_removed_by_hand_too_early_waits_as_well() -> None:
    """The issuer is still below the old root in some sidecar's certificate."""
    assert step(anchors(NEW, OLD, NEW), anchors(NEW, NEW), sidecar()).waiting == ("shop/web-0",)


def test_another_root_in_the_middle_of_a_rollout_is_the_new_goal() -> None:
    now = anchors(OLD, OLD, NEW)
    assert step(now, anchors(THIRD), sidecar()).roots == (OLD.certificate, NEW.certificate, THIRD.certificate)
    assert step(anchors(OLD, OLD, NEW), anchors(OLD), sidecar()).roots == (OLD.certificate,)


ROOTS = (OLD, NEW, THIRD)
goals = st.sampled_from(ROOTS).flatmap(
    lambda issuer: st.sets(st.sampled_from(ROOTS)).map(lambda more: anchors(issuer, issuer, *(more - {issuer})))
)


@given(st.lists(goals, min_size=1, max_size=4), st.lists(st.integers(0, 2), max_size=60))
def test_however_goals_change_no_two_sidecars_ever_distrust_each_other(goals: list[Anchors], turns: list[int]) -> None:
    """Sidecars follow at their own pace: first they hear of roots, then they renew."""
    now = anchors(OLD)
    generation = 0
    told: list[Anchors] = [now]
    sidecars = [sidecar(str(number), generation=0) for number in range(3)]

    def check() -> None:
        for one in sidecars:
            for other in sidecars:
                trusted = told[other.generation].roots
                assert any(root.key_id.hex() == one.issuer and root.certificate in trusted for root in ROOTS)

    for turn, who in enumerate([*turns, *[0, 1, 2] * 20]):
        wanted = goals[min(turn * len(goals) // (len(turns) + 1), len(goals) - 1)]
        taken = next_step(now, wanted, generation, sidecars)
        if taken.switch:
            now = Anchors(roots=now.roots, issuer=wanted.issuer, certificate=wanted.certificate)
        elif taken.roots is not None:
            now = Anchors(roots=taken.roots, issuer=now.issuer, certificate=now.certificate)
        if taken.switch or taken.roots is not None:
            generation += 1
            told.append(now)
        if sidecars[who].generation != generation:
            sidecars[who] = replace(sidecars[who], generation=generation)
        else:
            sidecars[who] = replace(sidecars[who], issuer=now.issuer)
        check()
    assert set(now.roots) == set(goals[-1].roots)
    assert now.issuer == goals[-1].issuer
