"""The rules of a pod, and what an operator may list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.contract.ports import BadRule, port_list, subnet_list
from proxy.iptables import Redirection, multiport, restore


def test_the_rules_of_a_pod() -> None:
    wanted = Redirection(
        skip_inbound=("25", "8000:8010"), skip_outbound=("3306",), skip_subnets=("10.1.0.0/16", "fd00::/8")
    )
    assert restore(wanted, 4).splitlines() == [
        "*nat",
        ":SMI_INBOUND - [0:0]",
        ":SMI_OUTBOUND - [0:0]",
        "-A SMI_INBOUND -s 10.1.0.0/16 -j RETURN",
        "-A SMI_INBOUND -p tcp -m multiport --dports 4143,4191,25,8000:8010 -j RETURN",
        "-A SMI_INBOUND -p tcp -j REDIRECT --to-ports 4144",
        "-A SMI_OUTBOUND -m owner --uid-owner 2102 -j RETURN",
        "-A SMI_OUTBOUND -o lo -j RETURN",
        "-A SMI_OUTBOUND -d 10.1.0.0/16 -j RETURN",
        "-A SMI_OUTBOUND -p tcp -m multiport --dports 3306 -j RETURN",
        "-A SMI_OUTBOUND -p tcp -j REDIRECT --to-ports 4140",
        "COMMIT",
    ]
    assert "fd00::/8" in restore(wanted, 6)
    assert "10.1.0.0/16" not in restore(wanted, 6)


def test_a_rule_takes_fifteen_ports_and_a_range_is_two() -> None:
    single = list(multiport([str(port) for port in range(1, 32)]))
    assert [condition.count(",") + 1 for condition in single] == [15, 15, 1]
    ranges = list(multiport([f"{port}:{port + 1}" for port in range(1, 17)]))
    assert [condition.count(":") for condition in ranges] == [7, 7, 2]


def test_ports_and_subnets_as_they_are_written() -> None:
    assert port_list(" 25, 8000-8010,") == ("25", "8000:8010")
    assert subnet_list("10.1.2.3/16, fd00::1") == ("10.1.0.0/16", "fd00::1/128")


@pytest.mark.parametrize("text", ["0", "65536", "http", "10-5", "-1", "1-", "²"])
def test_what_is_no_port_is_named(text: str) -> None:
    with pytest.raises(BadRule, match=r"is no port|ends before"):
        port_list(text)


@pytest.mark.parametrize("arguments", [["--skip-inbound-ports", "70000"], ["--skip-subnets", "10.0.0.0/33"]])
def test_wrong_usage_names_the_flag(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "init", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert arguments[0] in done.stderr


ALONE = shutil.which("unshare") is not None and shutil.which("iptables") is not None and os.geteuid() == 0


@pytest.mark.skipif(not ALONE, reason="needs root, unshare and iptables: the kernel's own rules were not tried")
def test_the_kernel_takes_the_rules_twice_and_has_them_once() -> None:
    init = f"{sys.executable} -m proxy init --skip-outbound-ports 3306"
    script = f"ip link set lo up; {init} >&2 && {init} >&2 && iptables -t nat -S"
    done = subprocess.run(["unshare", "-n", "bash", "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rules = done.stdout.splitlines()
    assert rules.count("-A OUTPUT -p tcp -j SMI_OUTBOUND") == 1
    assert rules.count("-A PREROUTING -p tcp -j SMI_INBOUND") == 1
    assert rules.count("-A SMI_OUTBOUND -p tcp -j REDIRECT --to-ports 4140") == 1
    assert rules.index("-A SMI_OUTBOUND -m owner --uid-owner 2102 -j RETURN") < rules.index(
        "-A SMI_OUTBOUND -p tcp -j REDIRECT --to-ports 4140"
    )


@pytest.mark.skipif(not ALONE, reason="needs root, unshare and iptables: the kernel's own rules were not tried")
def test_init_leaves_a_note_and_ends_when_the_sidecar_is_ready(tmp_path: Path) -> None:
    """The sidecar's part is played by a file server: ready is who has a file of that name."""
    served, state = tmp_path / "served", tmp_path / "state"
    served.mkdir()
    state.mkdir()
    script = f"""
        ip link set lo up
        {sys.executable} -m http.server 4191 --bind 127.0.0.1 --protocol HTTP/1.1 -d {served} 2>/dev/null &
        {sys.executable} -m proxy init --state {state} >&2 & init=$!
        until [ -s {state}/redirected ]; do sleep 0.01; done
        iptables -t nat -S OUTPUT
        kill -0 $init && touch {served}/ready && wait $init && stat -Lc %i /proc/self/ns/net
        kill %1
    """
    done = subprocess.run(["unshare", "-n", "bash", "-c", script], capture_output=True, text=True, check=False)

    rules, namespace = done.stdout.strip().rsplit("\n", 1)
    assert "-A OUTPUT -p tcp -j SMI_OUTBOUND" in rules, done.stderr
    assert (state / "redirected").read_text() == namespace
