"""What other programs print is read to the letter, and a run that failed is no run."""

import pytest

from benchmarks.gauges import SYSCALLS, read_perf, read_strace
from benchmarks.instructions import read_callgrind
from benchmarks.latency import schedule, whole
from benchmarks.saturation import read_h2load, read_wrk

WRK = """\
Running 2s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  41873 requests in 2.10s, 6.11MB read
Requests/sec:  19939.5
"""
H2LOAD = """\
finished in 1.01s, 4904.00 req/s, 240.32KB/s
requests: 4904 total, 4936 started, 4904 done, 4904 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 4904 2xx, 0 3xx, 0 4xx, 0 5xx
time for connect:      106us       183us       149us        32us    50.00%
req/s           :    1216.57     1224.48     1218.59        3.93    75.00%
"""


def test_wrk() -> None:
    assert read_wrk(WRK) == (41873, 2.10)
    assert read_wrk(WRK.replace("2.10s", "1.00m")) == (41873, 60.0)
    assert read_wrk(WRK.replace("2.10s", "500.00ms")) == (41873, 0.5)


@pytest.mark.parametrize(
    "printed",
    [
        "",
        WRK.replace("41873 ", "0 "),
        WRK + "  Non-2xx or 3xx responses: 1\n",
        WRK + "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
    ],
)
def test_a_run_of_wrk_that_failed(printed: str) -> None:
    with pytest.raises(SystemExit, match="the run failed"):
        read_wrk(printed)


def test_h2load() -> None:
    assert read_h2load(H2LOAD) == (4904, 1.01)


@pytest.mark.parametrize(
    ("told", "instead"),
    [
        ("0 failed", "1 failed"),
        ("0 errored", "2 errored"),
        ("0 5xx", "1 5xx"),
        ("4904 succeeded", "0 succeeded"),
        ("1216.57  ", "0.00     "),
        ("finished", "aborted"),
    ],
)
def test_a_run_of_h2load_that_failed(told: str, instead: str) -> None:
    assert told in H2LOAD
    with pytest.raises(SystemExit, match="the run failed"):
        read_h2load(H2LOAD.replace(told, instead))


def test_perf_counts_what_it_can() -> None:
    report = (
        "# started on Thu Nov 26\n\n"
        "109;;raw_syscalls:sys_enter;1000;100.00;;\n"
        "<not supported>;;instructions;0;100.00;;\n"
    )

    assert read_perf(report) == {SYSCALLS: 109}
    assert read_perf("2048;;instructions:u;1000;100.00;;\n") == {"instructions": 2048}


def test_strace_has_a_total() -> None:
    head = "% time     seconds  usecs/call     calls    errors syscall\n"
    whole_table = head + " 60.00    0.000119           1       104         3 read\n------ -----\n"

    assert read_strace(whole_table + "100.00    0.000198           1       128         3 total\n") == 128
    assert read_strace(whole_table + "100.00    0.000198           1       128           total\n") == 128
    assert read_strace(whole_table) is None


@pytest.mark.parametrize(
    ("answer", "is_whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
    ],
)
def test_when_an_answer_is_whole(answer: bytes, is_whole: bool) -> None:
    assert whole(answer) is is_whole


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Busy\r\n\r\n", b"nonsense\r\n\r\n"])
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ValueError, match="answered"):
        whole(answer)


def test_requests_are_due_at_the_rate_and_the_same_for_everybody() -> None:
    due = schedule(1000, 10.0)

    assert due == sorted(due)
    assert 9_700 < len(due) < 10_300  # three standard deviations of a Poisson count
    assert due[-1] < 10.0
    assert due == schedule(1000, 10.0)


def test_callgrind_has_a_total() -> None:
    assert read_callgrind("events: Ir\nfn=(1)\n1 5\n\ntotals: 1378132327\n") == 1378132327
    with pytest.raises(ValueError, match="no total"):
        read_callgrind("events: Ir\nfn=(1)\n1 5\n")
