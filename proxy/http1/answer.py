"""One answer on its way to the client: how it is framed there, and where it ends. Pure.

The framing of the upstream and that of the client are independent: an answer
without length becomes a chunked one for an HTTP/1.1 client and ends with
the connection for an older one (RFC 9112 §6.3). What HEAD, 204 and 304 announce is
passed on, but has no body.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import BadResponse
from proxy.http1.body import Body, body_of, encode_chunk, encode_last_chunk
from proxy.http1.head import CHUNKED, UNTIL_CLOSE, RequestHead
from proxy.http1.response import ResponseHead

_BODYLESS: Final = frozenset({204, 304})


class Answer:
    """The final answer to ``request``. ``keep`` may turn false: then the client's connection ends with it."""

    __slots__ = ("_body", "_chunked", "_excess", "_left", "done", "keep", "request", "response")

    def __init__(self, request: RequestHead, response: ResponseHead, *, keep: bool) -> None:
        self.request = request
        self.response = response
        self.keep = keep
        self.done = False
        self._excess = False
        self._chunked = False
        self._left = 0  # bytes of a body with length that have not come
        self._body: Body | None = None  # a body of any other kind
        length = response.length
        if response.status in _BODYLESS or request.method == "HEAD":
            self.done = True
        elif length >= 0:
            self._left = length
            self.done = length == 0
        else:
            self._body = body_of(length)
            self._chunked = not request.old
            self.keep = keep and self._chunked

    def head(self, mesh: dict[bytes, bytes] | None) -> bytes:
        """The head as the client gets it; ``mesh`` are headers of a peer sidecar's to pass on."""
        response = self.response
        framing = b""
        if self._chunked:
            framing = b"transfer-encoding: chunked\r\n"
        elif response.length >= 0 and response.status != 204:
            framing = response.framing
        if not self.keep:
            framing += b"connection: close\r\n"
        elif self.request.old:
            framing += b"connection: keep-alive\r\n"
        if mesh:
            framing = b"".join(b"%b: %b\r\n" % item for item in mesh.items()) + framing
        return b"".join((response.start, *response.lines, framing, b"\r\n"))

    def feed(self, data: bytes) -> bytes:
        """Bytes from the upstream → bytes for the client. Raises ``BadResponse`` when the framing is broken."""
        if self.done:
            self._excess = True
            return b""
        body = self._body
        if body is None:
            left = self._left = self._left - len(data)
            if left > 0:
                return data
            self.done = True
            if left == 0:
                return data
            self._excess = True
            return data[:left]
        try:
            payload = body.feed(data)
        except ValueError as error:
            raise BadResponse(str(error)) from None
        if self._chunked:
            payload = encode_chunk(payload) if payload else b""
            if body.done:
                payload += encode_last_chunk(body.trailers)
        self.done = body.done
        self._excess = bool(body.rest)
        return payload

    def feed_eof(self) -> bytes | None:
        """The upstream closed: the last bytes for the client, or None when the answer is cut short."""
        body = self._body
        if body is None or not body.feed_eof():
            return None
        self.done = True
        return encode_last_chunk([]) if self._chunked else b""

    @property
    def reusable(self) -> bool:
        """Whether the upstream's connection may carry another request once the answer is done."""
        response = self.response
        if self._excess or self.request.alone or not response.keep_alive:
            return False
        if response.status == 204 and (response.length > 0 or response.length == CHUNKED):
            return False  # RFC 9110 §8.6 forbids it: who is so careless may send that body after all
        return response.length != UNTIL_CLOSE or bodyless(self.request, response)


def bodyless(request: RequestHead, response: ResponseHead) -> bool:
    """Whether an answer has no body whatever its headers say (RFC 9112 §6.3)."""
    return response.status in _BODYLESS or request.method == "HEAD"
