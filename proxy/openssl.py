"""What OpenSSL does in each handshake that nobody here asks for, left out. Of a peer nothing is checked less.

* aiofastnet keeps the peer's certificate as a dictionary, as asyncio's transports do (``peercert``). To make one it
  writes the certificate to a temporary file and has OpenSSL read that in again: much CPU, a file that the loop waits
  for, and no connections at all where the disk is full. A name in the certificate that is no text raises then, and
  whoever waits for the handshake waits for ever. Nobody reads that dictionary: who the peer is tells its certificate
  itself, as DER (``proxy.tls.peer_of``), and whether its chain is good has been decided before.
* Where a certificate comes without CAs above it OpenSSL completes the chain, anew for each connection: it verifies our
  own certificate up to the root and sends the root along. A peer has to read that in and has no use for it: it trusts
  its own roots alone, and RFC 8446 (4.4.2) lets a trust anchor be omitted.
* OpenSSL 3 checks a peer's key share on P-256 by a multiplication with the curve's order, as much work as the key
  exchange itself. X25519 takes any share and looks at the result alone, which may not be zero (RFC 8446, 7.4.2; RFC
  7748, 6.1). P-256 remains for peers that know nothing else, such as a sidecar of a release that had only that.

The last two have no word in ``ssl`` (Python 3.15 has one for the groups), so OpenSSL is told itself. Where its library
is not to be had, for it is built into the interpreter, contexts stay as they are: that costs time and nothing else.

Neighbours: ``proxy.tls`` makes the contexts, and has the engine put in place before there is any connection.
"""

from __future__ import annotations

import ctypes
import ssl
from typing import Any, Final

from aiofastnet import ssl_transport  # type: ignore[attr-defined]
from aiofastnet.openssl_compat import OPENSSL_DYN_LIBS

GROUPS: Final = ("X25519", "P-256")
"""Key exchange, preferred first. A client's key share is of the first one."""

# openssl/ssl.h: commands of SSL_CTX_ctrl, and a bit of the first.
_MODE: Final = 33
_NO_AUTO_CHAIN: Final = 0x8
_SET_GROUPS_LIST: Final = 92


def without_dictionaries(engine: Any) -> Any:
    """``engine`` (aiofastnet's ``SSLEngineDirect``), but telling certificates as DER alone."""

    class Engine(engine):  # type: ignore[misc]
        """Between one connection and OpenSSL."""

        __slots__ = ()

        def getpeercert(self, binary_form: bool = False) -> Any:
            """The peer's certificate as DER, None if it showed none; as a dictionary always empty."""
            return super().getpeercert(True) if binary_form else {}

    return Engine


def install() -> None:
    """From now on connections have such an engine.

    Where OpenSSL is built into the interpreter there is none: aiofastnet goes by the ssl module, which needs no file.
    """
    if ssl_transport.SSLEngineDirect is not None:
        ssl_transport.SSLEngineDirect = without_dictionaries(ssl_transport.SSLEngineDirect)


def narrow(context: ssl.SSLContext) -> None:
    """Connections of ``context`` show no certificates but those it was given, and agree on a key by ``GROUPS``."""
    if OPENSSL_DYN_LIBS is None:
        return
    library = ctypes.CDLL(OPENSSL_DYN_LIBS.libssl)
    library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    library.SSL_CTX_ctrl.restype = ctypes.c_long
    pointer = _pointer(context)
    library.SSL_CTX_ctrl(pointer, _MODE, _NO_AUTO_CHAIN, None)
    # An OpenSSL that may not do X25519 (FIPS) refuses and keeps what was set before.
    if not library.SSL_CTX_ctrl(pointer, _SET_GROUPS_LIST, 0, ":".join(GROUPS).encode()):
        library.ERR_clear_error()


def _pointer(context: ssl.SSLContext) -> ctypes.c_void_p:
    """The ``SSL_CTX *`` of ``context``: the first of CPython's ``PySSLContext``, from where aiofastnet takes it too."""
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
