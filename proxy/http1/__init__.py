"""HTTP/1.1 on plain asyncio protocols: heads, bodies, both kinds of connection.

Belongs here: bytes to messages and back, flow control, connection life.
Does not belong: where a request goes (``proxy.forward`` and the routers).
Next: ``head`` and ``response`` parse and check, ``body`` frames, ``server`` and ``client`` hold connections.
"""
