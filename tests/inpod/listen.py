"""Reads all packets of the node's network: seconds, texts. Needs a pod with hostNetwork and NET_RAW.

Prints {"packets": n, "found": {text: packets that had it in them}}.
"""

import json
import socket
import sys
import time

ALL_PROTOCOLS = 3  # ETH_P_ALL

end, texts = time.monotonic() + float(sys.argv[1]), sys.argv[2:]
found, packets = dict.fromkeys(texts, 0), 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ALL_PROTOCOLS)) as tap:
    tap.settimeout(0.2)
    while time.monotonic() < end:
        try:
            packet = tap.recv(65536)
        except TimeoutError:
            continue
        packets += 1
        for text in texts:
            found[text] += text.encode() in packet
sys.stdout.write(json.dumps({"packets": packets, "found": found}))
