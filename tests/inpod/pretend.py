"""Asks a URL as somebody whom only headers name, without a look at certificates. Prints the status and the body.

Any Python 3 runs it, inside a pod.
"""

import ssl
import sys
import urllib.error
import urllib.request

headers = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    with urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers), context=context) as answer:
        sys.stdout.write(f"{answer.status} {answer.read().decode()}")
except urllib.error.HTTPError as error:
    sys.stdout.write(f"{error.code} {error.read().decode()}")
