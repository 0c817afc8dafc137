"""``pods.json``: read when it was replaced; a broken file changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eventually import eventually

from smi.meta import Meta
from smi.workloads import Pod
from translator.local.records import PodRecord, encode_pods
from translator.local.state import write_atomically
from translator.runtime import PodsFile


def pod(name: str) -> Pod:
    meta = Meta(name=name, labels={"app": "web"}, annotations={"a": "b"})
    return Pod(meta=meta, ip="127.80.0.2", ports={"http": 8080}, ready=True, mesh_port=4143, listen_ports={80: 20080})


def write(path: Path, *pods: Pod) -> None:
    write_atomically(path, encode_pods(tuple(PodRecord(pod=one, uid="u", app_address="127.81.0.2") for one in pods)))


def test_what_the_supervisor_wrote_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    file = PodsFile(path)
    assert file.read() is None
    write(path, pod("web-0"))
    assert file.read() == (pod("web-0"),)
    assert file.read() is None
    write(path)
    assert file.read() == ()


def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    file = PodsFile(path)
    for content in (b"", b"{", b"[]", b'{"pods": [{}]}', b"\xff"):
        path.write_bytes(content)
        assert file.read() is None
    write(path, pod("web-0"))
    assert file.read() == (pod("web-0"),)


def test_watching_gives_what_is_there_and_each_change(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    seen: list[tuple[Pod, ...]] = []

    async def watch() -> None:
        async for pods in PodsFile(path).watch():
            seen[len(seen) :] = [pods]

    async def main() -> None:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.05)
        write(path, pod("web-0"))
        await eventually(lambda: seen == [(pod("web-0"),)])
        path.write_bytes(b"half")
        (tmp_path / "other.json").write_bytes(b"{}")
        write(path, pod("web-0"), pod("web-1"))
        await eventually(lambda: seen[-1] == (pod("web-0"), pod("web-1")))
        assert len(seen) == 2
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())
