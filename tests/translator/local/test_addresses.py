from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from translator.local.addresses import SUBNETS, Subnet, listen_port, next_host, used_subnets
from translator.local.errors import NoFreeSubnet, PortTaken
from translator.local.settings import DEFAULT_PORT
from translator.local.state import try_lock
from translator.local.subnets import take_subnet
from translator.local.up import choose_port


def test_a_subnet_and_its_twin() -> None:
    subnet = Subnet(number=5)
    assert subnet.cidr == "127.80.5.0/24"
    assert subnet.controller == "127.80.5.1"
    assert subnet.pod_ip(9) == "127.80.5.9"
    assert subnet.app_address(9) == "127.81.5.9"


def test_hosts_go_round_so_that_a_freed_one_is_used_last() -> None:
    assert next_host(set(), last=1) == 2
    assert next_host({2}, last=2) == 3
    assert next_host({3}, last=3) == 4, "2 was given up, and is not taken again yet"
    assert next_host(set(), last=254) == 2
    assert next_host(set(range(2, 254)), last=7) == 254
    assert next_host(set(range(2, 255)), last=7) is None


@pytest.mark.parametrize(
    ("port", "first", "bound"), [(80, 1024, 20080), (80, 0, 80), (1024, 1024, 1024), (443, 80, 443)]
)
def test_ports_of_root_are_moved_up(port: int, first: int, bound: int) -> None:
    assert listen_port(port, first) == bound


def test_subnets_in_which_somebody_listens() -> None:
    assert used_subnets(["127.80.5.1", "127.81.7.2", "127.0.0.1", "0.0.0.0", "::1", "127.82.9.1"]) == {5, 7}


def test_meshes_take_different_subnets_and_give_them_back(tmp_path: Path) -> None:
    first, lock = take_subnet(tmp_path)
    second, other = take_subnet(tmp_path)
    assert first != second
    os.close(lock)
    third, again = take_subnet(tmp_path)
    assert third == first
    os.close(other)
    os.close(again)


def test_all_subnets_taken(tmp_path: Path) -> None:
    locks = [try_lock(tmp_path / f"{number}.lock") for number in range(SUBNETS)]
    with pytest.raises(NoFreeSubnet):
        take_subnet(tmp_path)
    for lock in locks:
        assert lock is not None
        os.close(lock)


def test_the_api_gets_the_port_asked_for_or_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {taken} of 127.0.0.1 is taken"):
            choose_port(taken)
    assert choose_port(taken) == taken
    assert choose_port(0) > 0


def test_without_a_wish_a_second_mesh_gets_another_port() -> None:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", DEFAULT_PORT)):
        assert choose_port(None) not in (0, DEFAULT_PORT)
