"""Asks a URL again and again, each time on a connection of its own: URL, how many, method, headers as JSON.

Prints {kind: count}. A kind is what the answer says before a colon, or its status and the word of ``smi-mesh-reason``.
Any Python 3 runs it, inside a pod.
"""

import collections
import json
import sys
import urllib.error
import urllib.request


def kind(request: urllib.request.Request) -> str:
    """What came back."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode().partition(":")[0].strip())
    except urllib.error.HTTPError as error:
        reason = error.headers.get("smi-mesh-reason", "").partition(";")[0]
        return f"{error.code} {reason}".strip()
    except OSError as error:
        return f"no answer {error}"


url, times, method, headers = sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
kinds = collections.Counter(kind(urllib.request.Request(url, method=method, headers=headers)) for _ in range(times))
sys.stdout.write(json.dumps(kinds))
