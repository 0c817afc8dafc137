"""The start of a pod: nothing is opened before the kernel's rules are there, all others wait for the sidecar."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from enrolling import Clock, Pod, controller, run
from eventually import eventually
from ports import free_port
from wire import HOST

from proxy import awaiting
from proxy.contract.config import File, Listeners
from proxy.redirected import NOTE, is_redirected, leave_note
from proxy.sidecar import Sidecar
from translator.identity.authority import Authority


def test_a_note_is_of_this_network_namespace_alone(tmp_path: Path) -> None:
    assert not is_redirected(tmp_path)
    leave_note(tmp_path)
    assert is_redirected(tmp_path)
    for other in ("", "1", "\xff"):
        (tmp_path / NOTE).write_text(other, "latin-1")
        assert not is_redirected(tmp_path)


def test_a_sidecar_calls_nobody_before_the_rules_are_there(tmp_path: Path) -> None:
    authority, admin = Authority.create(tmp_path / "mesh"), free_port()

    async def scene() -> None:
        async with controller(authority, Clock()) as running:
            settings = msgspec.structs.replace(
                Pod(tmp_path / "pod", authority).sidecar(running.control),
                listeners=Listeners(
                    address=HOST, outbound=free_port(), mesh=0, admin=admin, redirected=free_port(), transparent=True
                ),
            )
            stop = asyncio.Event()
            sidecar = asyncio.create_task(Sidecar(File(sidecar=settings), asyncio.get_running_loop()).run(stop))
            for _ in range(3):
                assert await asyncio.to_thread(awaiting.ask, admin)
            assert running.asked == []
            leave_note(tmp_path / "pod")
            await eventually(lambda: running.asked == [("token", 200)])
            stop.set()
            await sidecar

    run(scene)


def test_waiting_ends_when_it_is_ready_and_says_what_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(awaiting, "PATIENCE", -1.0)
    answers = ["503 Service Unavailable\r\nContent-Length: 14\r\n\r\nno certificate"] * 2
    answers.append("200 OK\r\nContent-Length: 0\r\n\r\n")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {answers.pop(0)}".encode())
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            await asyncio.to_thread(awaiting.until_ready, server.sockets[0].getsockname()[1])

    run(scene)
    assert answers == []
    assert capsys.readouterr().err.splitlines() == ["waiting for the sidecar: no certificate"]
