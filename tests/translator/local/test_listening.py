from __future__ import annotations

import socket

from translator.local.listening import is_open, listening_sockets, read_sockets

TCP = """\
  sl  local_address rem_address   st tx_queue
   0: 0703517F:1F90 00000000:0000 0A 00000000
   1: 00000000:0050 00000000:0000 0A 00000000
   2: 0703517F:1F91 0105507F:1F90 01 00000000
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 0000000000000000FFFF00000703517F:2328 00000000000000000000000000000000:0000 0A 00000000
   1: 00000000000000000000000000000000:2329 00000000000000000000000000000000:0000 0A 00000000
   2: 00000000000000000000000001000000:232A 00000000000000000000000000000000:0000 0A 00000000
"""


def test_only_sockets_that_listen_count() -> None:
    assert listening_sockets(TCP, "little") == {("127.81.3.7", 8080), ("0.0.0.0", 80)}


def test_ipv6_sockets_that_take_ipv4() -> None:
    assert listening_sockets(TCP6, "little") == {("127.81.3.7", 9000), ("0.0.0.0", 9001), ("::1", 9002)}


def test_big_endian_machines_print_addresses_as_they_are() -> None:
    assert listening_sockets(TCP.replace("0703517F", "7F510307"), "big") >= {("127.81.3.7", 8080)}


def test_a_wildcard_listens_on_every_address() -> None:
    sockets = frozenset({("127.81.3.7", 8080), ("0.0.0.0", 80)})
    assert is_open(sockets, "127.81.3.7", 8080)
    assert is_open(sockets, "127.81.3.8", 80)
    assert not is_open(sockets, "127.81.3.8", 8080)


def test_this_machines_table() -> None:
    with socket.create_server(("127.81.0.1", 0)) as server:
        assert server.getsockname() in read_sockets()
    assert server.fileno() == -1
