"""The supervisor's control socket: what ``smi local run`` and ``down`` ask of it. HTTP over a Unix socket.

    POST /v1/pods     a ``RunRequest`` as JSON → 200, the pod's record, when it is ready; 409 exists; 504 not ready
    POST /v1/down     202; everything ends
    GET  /v1/problems the problems of the manifests, as the supervisor read them

The other end is ``translator.local.client``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from aiohttp import web

from smi.meta import Meta
from smi.workloads import Container, ContainerPort, Workload
from translator.local.errors import NotReady, PodExists
from translator.local.plan import POD
from translator.local.requests import RunRequest
from translator.local.supervisor import Added, Supervisor
from translator.vocabulary import INJECT

MAX_REQUEST = 8 * 1024 * 1024
"""Bytes of a request: an environment can be as large as Linux lets a command line be."""


def application(supervisor: Supervisor, down: Callable[[], None]) -> web.Application:
    """The API of one supervisor; ``down`` is called when it shall end."""

    async def handle_run(request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=RunRequest)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        try:
            record = await supervisor.add(added_pod(asked), asked.timeout)
        except PodExists as error:
            return web.Response(status=409, text=str(error))
        except NotReady as error:
            return web.Response(status=504, text=str(error))
        return web.Response(body=msgspec.json.encode(record), content_type="application/json")

    async def handle_down(_: web.Request) -> web.Response:
        down()
        return web.Response(status=202)

    async def handle_problems(_: web.Request) -> web.Response:
        problems = supervisor.snapshot.problems if supervisor.snapshot else ()
        return web.Response(body=msgspec.json.encode(problems), content_type="application/json")

    app = web.Application(client_max_size=MAX_REQUEST)
    app.router.add_post("/v1/pods", handle_run)
    app.router.add_post("/v1/down", handle_down)
    app.router.add_get("/v1/problems", handle_problems)
    return app


def added_pod(asked: RunRequest) -> Added:
    """The workload that a ``run`` speaks of."""
    meta = Meta(name=asked.name, namespace=asked.namespace)
    workload = Workload(
        kind=POD,
        meta=meta,
        template=Meta(
            name=asked.name,
            namespace=asked.namespace,
            labels=asked.labels,
            annotations={} if asked.sidecar else {INJECT.name: "disabled"},
        ),
        service_account=asked.service_account,
        containers=(
            Container(
                name=asked.name,
                command=asked.argv,
                ports=tuple(ContainerPort(port=port) for port in asked.ports),
            ),
        ),
        folder=asked.folder,
    )
    return Added(workload=workload, base=asked.environment)


@contextlib.asynccontextmanager
async def serving(app: web.Application, socket: Path) -> AsyncIterator[None]:
    """Serves the socket. It is named by its folder's descriptor: a path may be longer than a socket's may be.

    Who leaves before the answer wants it no more: a ``run`` that is interrupted takes its pod away again.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    folder = os.open(socket.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await web.UnixSite(runner, f"/proc/self/fd/{folder}/{socket.name}").start()
        yield
    finally:
        await runner.cleanup()
        os.close(folder)
