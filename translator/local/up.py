"""Brings a mesh up and takes it down again: locks, leftovers, ports, signals, the ready line.

``supervise`` is the whole life of ``smi local up``; ``translator.local.detach`` runs it in the background.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from translator.identity.authority import AuthorityError
from translator.identity.rotation import Rotation
from translator.identity.tokens import token_key
from translator.identity.wanted import IdentityOptions
from translator.local import control
from translator.local.addresses import Subnet
from translator.local.console import Console
from translator.local.environment import NO_COMMAND
from translator.local.errors import AlreadyUp, CaUnusable, PortTaken
from translator.local.leftovers import kill_marked
from translator.local.records import MeshRecord, PodRecord, decode_mesh, encode_mesh, encode_pods
from translator.local.recovery import recover
from translator.local.settings import DEFAULT_PORT, Settings
from translator.local.sidecar import TRUST_DOMAIN, Surroundings
from translator.local.state import MeshState, make_root, mesh_state, try_lock, write_atomically
from translator.local.subnets import take_subnet
from translator.local.supervisor import Supervisor

CONTROL_PORT = 4190
CAP_NET_BIND_SERVICE = 10
STATUS = Path("/proc/self/status")
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

LOCK_PATIENCE = 0.5
"""Seconds in which a mesh's lock may be held by a command that only looks whether the mesh is up."""


def supervise(settings: Settings, console: Console) -> int:
    """Runs the mesh until a signal or ``down`` ends it; 0, or 1 when it did not become ready.

    Raises ``LocalError`` when it cannot start at all.
    """
    state = mesh_state(settings.name)
    make_root(state.directory.parent)
    with _name_lock(state), contextlib.ExitStack() as taken:
        recover(state)
        taken.callback(shutil.rmtree, state.directory, ignore_errors=True)
        subnet, lock = take_subnet()
        taken.callback(os.close, lock)
        mesh = _mesh(settings, subnet)
        taken.callback(kill_marked, mesh.instance)
        state.directory.mkdir(mode=0o700)
        _begin_identity(settings, state)
        write_atomically(state.pods, encode_pods(()))
        write_atomically(state.mesh, encode_mesh(mesh))  # the last: with it the mesh is there for other commands
        around = Surroundings(mesh=mesh, state=state, first_unprivileged=first_unprivileged(), egress=settings.egress)
        return asyncio.run(_run(settings, around, subnet, token_key(state.directory), console))


def _begin_identity(settings: Settings, state: MeshState) -> None:
    """The roots that sidecars begin with; from here on the controller goes on. Raises ``CaUnusable``."""
    options = IdentityOptions(
        ca=Path(settings.ca) if settings.ca else None,
        federated={domain: Path(path) for domain, path in settings.federated.items()},
    )
    try:
        rotation = Rotation(state.directory, options, TRUST_DOMAIN)
    except AuthorityError as error:
        raise CaUnusable(str(error)) from error
    if rotation.wrong:
        raise CaUnusable("; ".join(f"{problem.file}: {problem.message}" for problem in rotation.wrong))


async def _run(settings: Settings, around: Surroundings, subnet: Subnet, token_key: bytes, console: Console) -> int:
    stop = asyncio.Event()
    supervisor = Supervisor(settings, around, subnet, token_key, console.say)
    _listen_to_signals(stop, around.mesh.instance)
    outcome = [0]
    serving = control.serving(control.application(supervisor, stop.set), around.state.socket)
    async with serving, asyncio.TaskGroup() as tasks:
        tasks.create_task(supervisor.run(stop), name="supervisor")
        waiting = tasks.create_task(_announce(supervisor, around, stop, console, outcome), name="announce")
        await stop.wait()
        if not waiting.done():
            waiting.cancel()
            outcome[0] = 1
    return outcome[0]


async def _announce(
    supervisor: Supervisor, around: Surroundings, stop: asyncio.Event, console: Console, outcome: list[int]
) -> None:
    timeout = supervisor.settings.timeout
    try:
        async with asyncio.timeout(timeout):
            await supervisor.until_ready()
    except TimeoutError:
        console.say(f"not ready after {timeout:g} s:", *(f"  {line}" for line in supervisor.unready()))
        outcome[0] = 1
        stop.set()
        return
    console.ready(ready_line(around.mesh, supervisor.records), around.state.supervisor_log)


def ready_line(mesh: MeshRecord, records: Sequence[PodRecord]) -> str:
    """What is said when all pods are ready, but for those that are pending for good."""
    pending = [record.key for record in records if record.reason == NO_COMMAND]
    ready = len(records) - len(pending)
    line = f'mesh "{mesh.name}" is ready: {ready} pod{"" if ready == 1 else "s"}, API {mesh.url}'
    if pending:
        return f"{line} (pending, {NO_COMMAND}: {', '.join(pending)})"
    return line if records else f"{line} (no Deployment, StatefulSet or Pod in its manifests yet)"


def _listen_to_signals(stop: asyncio.Event, instance: str) -> None:
    """The first signal ends the mesh in order, the second kills all of it."""

    def received() -> None:
        if stop.is_set():
            kill_marked(instance)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, received)


@contextlib.contextmanager
def _name_lock(state: MeshState) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_PATIENCE
    while (lock := try_lock(state.lock)) is None:
        if time.monotonic() > deadline:
            raise AlreadyUp(state.directory.name, _supervisor_of(state))
        time.sleep(0.02)
    try:
        yield
    finally:
        os.close(lock)


def _supervisor_of(state: MeshState) -> int:
    try:
        return decode_mesh(state.mesh.read_bytes()).pid
    except (OSError, ValueError):
        return 0


def _mesh(settings: Settings, subnet: Subnet) -> MeshRecord:
    return MeshRecord(
        name=settings.name,
        instance=secrets.token_hex(16),
        pid=os.getpid(),
        api_port=choose_port(settings.port),
        directories=settings.directories,
        ca=settings.ca,
        control_address=subnet.controller,
        control_port=CONTROL_PORT,
    )


def choose_port(wanted: int | None) -> int:
    """The API's port: the one asked for (``PortTaken`` if it is), 0 a free one, None 8001 if that is free."""
    for port in (DEFAULT_PORT, 0) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise PortTaken(wanted or DEFAULT_PORT)


def first_unprivileged() -> int:
    """The lowest port that this process may bind."""
    if _may_bind_all(STATUS.read_text()):
        return 0
    try:
        return int(UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 1024


def _may_bind_all(status: str) -> bool:
    """Whether /proc/self/status lists CAP_NET_BIND_SERVICE as effective; root may lack it, in a container."""
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_NET_BIND_SERVICE & 1)
