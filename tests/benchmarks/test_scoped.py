"""Who the real sidecars of the control plane's benchmark are taken for."""

from __future__ import annotations

import pytest

from benchmarks.control import callers_of
from benchmarks.scoped import SIDECARS, reviewed
from translator.identity.tokens import TokenRejected
from translator.kube.tokenreview import identity_of


def test_a_token_is_that_of_its_pod_alone() -> None:
    pods = callers_of(100, 20)[:SIDECARS]
    review = reviewed(pods)
    for pod in pods:
        found = identity_of(review({"spec": {"token": pod.name}})["status"])
        assert (found.namespace, found.service_account, found.pod) == (pod.namespace, pod.account, pod.name)
    with pytest.raises(TokenRejected):
        identity_of(review({"spec": {"token": "somebody"}})["status"])


def test_those_who_are_weighed_call_the_same_services_however_many_there_are() -> None:
    few, many = (callers_of(services, 100)[:SIDECARS] for services in (100, 10_000))
    assert few == many
