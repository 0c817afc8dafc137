"""What is counted, and how Prometheus reads it."""

from __future__ import annotations

import re

import pytest

from proxy.counters import MAX_SERIES, OVERFLOW, Counters, Labels, Series, bucket_value
from proxy.errors import Reason


def test_a_series_counts_by_status_and_by_time() -> None:
    series = Series()
    for status, seconds in [(200, 0.001), (200, 0.002), (503, 0.5)]:
        series.add(status, seconds)

    assert series.by_status == {200: 2, 503: 1}
    assert series.requests == 3
    assert series.seconds == pytest.approx(0.503)


@pytest.mark.parametrize("seconds", [1e-5, 0.00123, 0.01, 0.5, 7.0, 3600.0])
def test_a_bucket_is_at_most_one_percent_off(seconds: float) -> None:
    series = Series()
    series.add(200, seconds)
    [bucket] = series.histogram

    assert bucket_value(bucket) == pytest.approx(seconds, rel=0.0101)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-12])
def test_no_time_at_all_is_counted_too(seconds: float) -> None:
    series = Series()
    series.add(200, seconds)

    assert series.requests == 1
    assert sum(series.histogram.values()) == 1


def test_the_number_of_series_is_bounded() -> None:
    counters = Counters()
    for number in range(MAX_SERIES + 500):
        counters.series(Labels("outbound", f"default/web:{number}")).add(200, 0.001)

    assert len(counters.items()) <= MAX_SERIES + 1
    assert counters.series(Labels("outbound", OVERFLOW)).requests == 500


def test_one_series_for_each_set_of_labels() -> None:
    counters = Counters()
    one = counters.series(Labels("outbound", "default/web:80", "default/v1"))

    assert counters.series(Labels("outbound", "default/web:80", "default/v1")) is one
    assert counters.series(Labels("outbound", "default/web:80", "default/v2")) is not one


def test_prometheus_reads_cumulative_buckets() -> None:
    counters = Counters()
    series = counters.series(Labels("inbound", "8080", peer='spiffe://x/"a"\\b'))
    for seconds in (0.0005, 0.0025, 0.0025, 100.0):
        series.add(200, seconds)
    series.add(503, 0.0001)
    counters.refused("inbound", Reason.DENIED)
    counters.refused("inbound", Reason.DENIED)
    text = counters.prometheus()
    labels = r'direction="inbound",destination="8080",backend="",peer="spiffe://x/\"a\"\\b"'

    assert f'response_total{{{labels},status_code="200",classification="success"}} 4' in text
    assert f'response_total{{{labels},status_code="503",classification="failure"}} 1' in text
    assert 'smi_mesh_refused_total{direction="inbound",reason="denied"} 2' in text
    assert f"response_latency_ms_count{{{labels}}} 5" in text
    buckets = [int(count) for count in re.findall(r"response_latency_ms_bucket{.*} (\d+)", text)]
    assert buckets == sorted(buckets)
    assert buckets[:3] == [2, 2, 4]
    assert buckets[-2:] == [4, 5]
    assert text.endswith("\n")
