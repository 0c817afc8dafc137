"""What a node sees of some traffic: an address, a text, seconds. In a pod with the node's network and NET_RAW.

Prints {packets, bytes, seen}: of TCP packets from or to the address, and in how many of them the text stood.
"""

import json
import socket
import sys
import time

ADDRESS, TEXT, SECONDS = socket.inet_aton(sys.argv[1]), sys.argv[2].encode(), float(sys.argv[3])
ETH_P_ALL = 3

raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
raw.settimeout(0.2)
packets = size = seen = 0
end = time.monotonic() + SECONDS
sys.stderr.write("capturing\n")
sys.stderr.flush()
while time.monotonic() < end:
    try:
        frame = raw.recv(65535)
    except TimeoutError:
        continue
    if ADDRESS in frame[:64]:
        packets += 1
        size += len(frame)
        seen += TEXT in frame
sys.stdout.write(json.dumps({"packets": packets, "bytes": size, "seen": seen}))
