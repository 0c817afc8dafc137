"""The webhooks' HTTP: AdmissionReview (admission.k8s.io/v1) in and out.

A mistake of ours must not keep a pod from starting: it starts without a sidecar then, and the answer says so.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from translator.kube.admission.decide import decide
from translator.kube.admission.inject import injected
from translator.kube.admission.settings import Injected
from translator.kube.admission.validate import faults

MAX_REVIEW: Final = 8 << 20
"""Bytes: the API server takes objects of 3 MiB, and sends an old one beside a new one."""

MAX_WARNING: Final = 200
"""Characters of a warning; kubectl prints them, the API server cuts longer ones."""

Annotations = Callable[[str], Awaitable[Mapping[str, str]]]
Answer = dict[str, Any]

log = logging.getLogger("translator.admission")


def application(
    settings: Injected, namespaces: Annotations, bundle: Callable[[], str], linkerd: Callable[[], bool] = lambda: False
) -> web.Application:
    """``POST /inject`` and ``POST /validate``.

    ``namespaces`` gives a namespace's annotations, ``bundle`` the roots; ``linkerd``: is Linkerd's own injector here?
    """

    async def inject(review: Mapping[str, Any]) -> Answer:
        pod, namespace = review["object"], review.get("namespace") or "default"
        inherited = await namespaces(namespace)
        decision = decide(pod, namespace, inherited, replace(settings, linkerd_alias=not linkerd()))
        if decision.refused:
            return {"allowed": False, "status": {"code": 403, "message": f"smi-mesh: {decision.why}"}}
        if not decision.inject:
            return {"allowed": True}
        new = injected(pod, inherited, settings, bundle())
        patch = [
            {"op": "replace" if part in pod else "add", "path": f"/{part}", "value": new[part]}
            for part in ("metadata", "spec")
        ]
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}

    async def validate(review: Mapping[str, Any]) -> Answer:
        wrong = list(faults(review.get("object") or {}))
        if wrong:
            return {"allowed": False, "status": {"code": 422, "message": "smi-mesh: " + "; ".join(wrong)}}
        return {"allowed": True}

    app = web.Application(client_max_size=MAX_REVIEW)
    app.router.add_post("/inject", _reviewed(inject))
    app.router.add_post("/validate", _reviewed(validate))
    return app


def _reviewed(
    answer: Callable[[Mapping[str, Any]], Awaitable[Answer]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            review = json.loads(await request.read())
            asked = review["request"]
            uid = asked["uid"]
        except (ValueError, KeyError, TypeError, UnicodeDecodeError):
            return web.Response(status=400, text="not an AdmissionReview\n")
        try:
            said = await answer(asked)
        except Exception as error:
            log.exception("admission failed uid=%s", uid)
            said = {"allowed": True, "warnings": [f"smi-mesh: not looked at ({type(error).__name__})"[:MAX_WARNING]]}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, **said}}
        return web.json_response(body)

    return handle
