from __future__ import annotations

import os
from pathlib import Path

import pytest

from translator.local.addresses import SUBNETS, Subnet, listen_port, next_host, used_subnets
from translator.local.errors import NoFreeSubnet
from translator.local.state import try_lock
from translator.local.subnets import take_subnet


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
    table = (
        "  sl  local_address rem_address   st\n"
        "   0: 0105507F:1F90 00000000:0000 0A 0\n"  # 127.80.5.1 listens
        "   1: 0207517F:1F90 00000000:0000 0A 0\n"  # 127.81.7.2 listens
        "   2: 0209507F:1F90 0105507F:1F91 01 0\n"  # 127.80.9.2 is only connected
        "   3: 0100007F:1F90 00000000:0000 0A 0\n"  # 127.0.0.1
    )
    assert used_subnets(table) == {5, 7}


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
