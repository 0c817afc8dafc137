"""How Prometheus reads what was counted: names, labels, cumulative buckets, and a text it can parse."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proxy.budget import Retried
from proxy.contract.report import Labels
from proxy.counters import Counters
from proxy.prometheus import BOUNDS, EXPIRY, FAMILIES, VERSION, Own, Snapshot, exposition
from proxy.transports import Connections, Kind

OWN = Own("shop", "web-0", "Deployment", "web")
BASE = 'namespace="shop",pod="web-0",deployment="web"'
A = "spiffe://cluster.local/ns/shop/sa/a"

INBOUND = Labels(
    direction="inbound",
    destination="8080",
    peer=A,
    tls="true",
    target="shop/a-to-web",
    match="api/read",
    verdict="allow",
)
OUTBOUND = Labels(
    direction="outbound",
    destination="shop/web:80",
    backend="shop/web-v1",
    split="shop/canary",
    match="routes/beta",
    pod="shop/web-v1-abc",
    workload="Deployment/web-v1",
    peer="spiffe://cluster.local/ns/shop/sa/web",
    tls="true",
)
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+]+|\+Inf)')


def text(*series: tuple[Labels, int, float], **more: Any) -> str:
    """The exposition of some requests, each (labels, status, seconds)."""
    counters = Counters()
    for labels, status, seconds in series:
        counters.series(labels).add(status, seconds)
    snapshot = Snapshot(series=list(counters.items()), transports=[], refusals={}, retried={}, gauges={})
    return "".join(exposition(OWN, snapshot._replace(**more)))


def test_a_caller_and_what_let_it_in() -> None:
    said = text((INBOUND, 200, 0.0005), (INBOUND, 200, 0.0025), (INBOUND, 503, 0.0001)).splitlines()
    labels = f'{BASE},direction="inbound",tls="true",client_id="{A}",target_port="8080"'

    assert f"request_total{{{labels}}} 3" in said
    assert f'response_total{{{labels},classification="success",status_code="200"}} 2' in said
    assert f'response_total{{{labels},classification="failure",status_code="503"}} 1' in said
    assert f'response_latency_ms_bucket{{{labels},le="1"}} 2' in said
    assert f"response_latency_ms_count{{{labels}}} 3" in said
    assert f"response_latency_ms_sum{{{labels}}} 3.100" in said
    assert f'route_request_total{{{labels},rt_route="api/read"}} 3' in said
    authz = f'{BASE},target_port="8080",tls="true",client_id="{A}",authz_kind="traffictarget",authz_name="a-to-web"'
    assert f"inbound_http_authz_allow_total{{{authz}}} 3" in said


def test_a_server_and_the_split_that_chose_it() -> None:
    labels = (
        f'{BASE},direction="outbound",tls="true",server_id="{OUTBOUND.peer}",dst_namespace="shop",'
        'dst_service="web-v1",dst_port="80",dst_pod="web-v1-abc",dst_deployment="web-v1",dst_serviceaccount="web",'
        'apex="web",split="canary"'
    )
    assert f"request_total{{{labels}}} 1" in text((OUTBOUND, 200, 0.001)).splitlines()


def test_what_looks_the_same_is_one_line() -> None:
    """A target and a match tell series apart, and have no label of request_total."""
    denied = Labels(direction="inbound", destination="8080", peer=A, tls="true", verdict="deny")
    said = text((INBOUND, 200, 0.001), (denied, 403, 0.001)).splitlines()
    labels = f'{BASE},direction="inbound",tls="true",client_id="{A}",target_port="8080"'

    assert [line for line in said if line.startswith("request_total")] == [f"request_total{{{labels}}} 2"]
    authz = f'{BASE},target_port="8080",tls="true",client_id="{A}"'
    assert f"inbound_http_authz_deny_total{{{authz}}} 1" in said


@pytest.mark.parametrize(("verdict", "kind"), [("allow", 'authz_kind="default"'), ("audit", "")])
def test_other_verdicts(verdict: str, kind: str) -> None:
    labels = Labels(direction="inbound", destination="1", tls="no_identity", verdict=verdict)  # type: ignore[arg-type]
    name = {"allow": "inbound_http_authz_allow_total", "audit": "smi_mesh_audit_total"}[verdict]
    [line] = [one for one in text((labels, 200, 0.001)).splitlines() if one.startswith(name)]

    assert line.endswith(f'target_port="1",tls="no_identity"{"," if kind else ""}{kind}}} 1')


def test_requests_that_led_nowhere() -> None:
    said = text(
        (Labels(direction="outbound"), 502, 0.001), (Labels(direction="outbound", destination="egress"), 200, 1.0)
    )

    assert f'request_total{{{BASE},direction="outbound"}} 1' in said
    assert f'request_total{{{BASE},direction="outbound",dst_service="egress"}} 1' in said


def test_a_pod_by_its_address() -> None:
    labels = Labels(direction="outbound", destination="10.0.0.7:8080", pod="shop/web-7", tls="no_identity")
    said = 'direction="outbound",tls="no_identity",dst_namespace="shop",dst_port="8080",dst_pod="web-7"'

    assert f"request_total{{{BASE},{said}}} 1" in text((labels, 200, 0.001)).splitlines()


def test_buckets_are_cumulative_and_end_with_all() -> None:
    said = text(*((INBOUND, 200, seconds) for seconds in (0.0005, 0.0025, 0.0025, 100.0)))
    buckets = [int(count) for count in re.findall(r"^response_latency_ms_bucket{.*} (\d+)$", said, re.MULTILINE)]

    assert len(buckets) == len(BOUNDS) + 1
    assert buckets == sorted(buckets)
    assert buckets[:3] == [1, 1, 3]
    assert buckets[-2:] == [3, 4]


def test_connections() -> None:
    counts = Connections(opened=3, open=1, read=10, written=20, closes={"": 1, "ECONNRESET": 1})
    said = text(transports=[(Kind("inbound", "src", "true"), counts)]).splitlines()
    labels = f'{BASE},direction="inbound",peer="src",tls="true"'

    assert f"tcp_open_total{{{labels}}} 3" in said
    assert f"tcp_open_connections{{{labels}}} 1" in said
    assert f"tcp_read_bytes_total{{{labels}}} 10" in said
    assert f"tcp_write_bytes_total{{{labels}}} 20" in said
    assert f'tcp_close_total{{{labels},errno=""}} 1' in said
    assert f'tcp_close_total{{{labels},errno="ECONNRESET"}} 1' in said


def test_refusals_and_gauges() -> None:
    said = text(refusals={("inbound", "denied"): 2}, gauges={VERSION: 7.0, EXPIRY: 1_900_000_000.5})

    assert f'smi_mesh_refused_total{{{BASE},direction="inbound",reason="denied"}} 2\n' in said
    assert f"smi_mesh_config_version{{{BASE}}} 7\n" in said
    assert f"identity_cert_expiration_timestamp_seconds{{{BASE}}} 1900000000.5\n" in said


def test_retries() -> None:
    counts = Retried()
    counts.requests, counts.successes, counts.limit_exceeded, counts.overflow = 4, 3, 2, 1
    said = text(retried={"shop/web": counts}).splitlines()
    labels = f'{BASE},parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="web"'

    assert f"outbound_http_route_retry_requests_total{{{labels}}} 4" in said
    assert f"outbound_http_route_retry_successes_total{{{labels}}} 3" in said
    assert f"outbound_http_route_retry_limit_exceeded_total{{{labels}}} 2" in said
    assert f"outbound_http_route_retry_overflow_total{{{labels}}} 1" in said


def test_the_whole_text_can_be_parsed() -> None:
    odd = Labels(direction="inbound", destination="1", peer='spiffe://x/"a"\\b\nc', tls="true", verdict="allow")
    said = text((INBOUND, 200, 0.1), (OUTBOUND, 500, 0.2), (odd, 200, 0.3), gauges={VERSION: 1.0})
    kinds: dict[str, str] = {}
    seen: set[str] = set()
    for line in said.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            assert word in ("HELP", "TYPE")
            kinds |= {name: rest} if word == "TYPE" else {}
            continue
        found = SAMPLE.fullmatch(line)
        assert found is not None, line
        assert line.rpartition(" ")[0] not in seen, f"twice: {line}"
        seen.add(line.rpartition(" ")[0])
        family = re.sub(r"_(bucket|sum|count)$", "", found[1])
        assert kinds.get(family, kinds.get(found[1])) == next(f.kind for f in FAMILIES if f.name in (family, found[1]))


def test_every_label_is_announced() -> None:
    """FAMILIES is what the documents say."""
    said = text(
        (INBOUND, 200, 0.1), (OUTBOUND, 500, 0.2), refusals={("inbound", "denied"): 1}, retried={"a/b": Retried()}
    )
    for family in FAMILIES:
        for line in said.splitlines():
            if re.match(rf"{family.name}(_bucket|_sum|_count)?{{", line):
                names = re.findall(r'([a-z_]+)="', line)
                assert set(names) <= {"namespace", "pod", "deployment", "le", *family.labels}, line
