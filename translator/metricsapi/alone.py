"""What kubectl asks beside the group where no kube-apiserver is in front of it, as on one machine.

kubectl that is told that something in a namespace is not found looks whether there is that namespace, and tells the
user what this second answer says. So namespaces are answered, and whatever else clients of Kubernetes look for is not
there in their own words. Neighbour: ``server``, whose routes come first.
"""

from __future__ import annotations

from aiohttp import web

from translator.metricsapi.replies import answered, json_reply
from translator.metricsapi.server import Gate, Observe, known, nowhere
from translator.metricsapi.status import Refused
from translator.resources import NAMESPACE, Resource
from translator.views import existing


def routes(gate: Gate, observe: Observe) -> list[web.RouteDef]:
    """``/api/v1/namespaces/NAME``, and all that is below ``/api`` and ``/apis``: 404 as a ``metav1.Status``."""

    async def namespace(request: web.Request, _: object) -> web.StreamResponse:
        name = request.match_info["name"]
        observed = known(await observe(1.0)).observed
        if not existing(observed, Resource(NAMESPACE, "", name)):
            raise Refused(404, f'namespaces "{name}" not found', {"name": name, "kind": "namespaces"})
        return json_reply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})

    elsewhere = answered(gate, nowhere)
    return [
        web.route("*", "/api/v1/namespaces/{name}", answered(gate, namespace)),
        *(web.route("*", path, elsewhere) for path in ("/api", r"/api/{tail:[\s\S]*}", r"/apis/{tail:[\s\S]*}")),
    ]
