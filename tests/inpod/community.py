"""The community suite's runner, in a pod without a sidecar: it has app-a make calls and reads what all apps counted.

One argument, JSON: {"services": {app: address}, "orders": [{"url", "method", "times"}]}. Counters are cleared first.
Prints {"counts": {app: its /metrics}, "unanswered": how many calls got no answer at all}. Any Python 3 runs it.
"""

import http.client
import json
import sys
from typing import Any

PORT = 9091


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: str = "") -> tuple[int, bytes]:
    """Status and body of one answer."""
    connection.request(method, path, body or None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def main(plan: Any) -> dict[str, Any]:
    """Plays the plan."""
    apps = {app: http.client.HTTPConnection(address, PORT, timeout=30) for app, address in plan["services"].items()}
    for connection in apps.values():
        ask(connection, "DELETE", "/metrics")
    unanswered = 0
    for order in plan["orders"]:
        call = json.dumps({"url": order["url"], "method": order["method"], "body": "", "headers": {}})
        for _ in range(order["times"]):
            status, _ = ask(apps["app-a"], "POST", "/call", call)
            unanswered += status != 200
    counts = {app: json.loads(ask(connection, "GET", "/metrics")[1]) for app, connection in apps.items()}
    return {"counts": counts, "unanswered": unanswered}


sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
