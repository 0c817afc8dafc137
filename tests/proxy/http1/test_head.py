"""Message heads: every line of the security cases about request heads, and what goes out of what came in."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest
from proxy.http1.head import CHUNKED, MAX_TARGET, RequestHead, parse_request


def read(block: bytes, *, trusted: bool = False) -> RequestHead:
    return parse_request(block, trusted=trusted)


def get(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: web") -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


def refused(block: bytes) -> int:
    with pytest.raises(BadRequest) as refusal:
        read(block)
    return refusal.value.status


# -- length ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"content-length: 5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: 5,5"],
        [b"Content-Length: +5"],
        [b"Content-Length: -1"],
        [b"Content-Length: -0"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 1_0"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: 5;"],
        [b"Content-Length: 5.0"],
        [b"Content-Length: 1e3"],
        [b"Content-Length:"],
        [b"Content-Length: "],
        [b"Content-Length: 18446744073709551616"],
        [b"Content-Length: 99999999999999999999999999"],
        [b"Content-Length: " + b"9" * 5000],
        ["Content-Length: ٥".encode()],
        [b"Content-Length: \xb2"],
        [b"Content-Length: 5\x0b"],
        [b"Content-Length: \x0c5"],
        [b"Content-Length : 5"],
        [b"Content-Length\t: 5"],
        [b"Content-Length: 5", b" 6"],
        [b"Content-Length: identity"],
    ],
    ids=repr,
)
def test_a_length_that_could_be_read_in_two_ways_is_refused(lines: list[bytes]) -> None:
    assert refused(get(*lines)) == 400


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"5", 5), (b"05", 5), (b"000", 0), (b"9223372036854775807", 2**63 - 1)]
)
def test_a_plain_length(value: bytes, length: int) -> None:
    head = read(get(b"Content-Length: " + value))
    assert head.length == length
    assert head.lines == []  # it is written anew


# -- transfer-encoding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"Transfer-Encoding: xchunked"],
        [b"Transfer-Encoding: chunked1"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: identity", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: ,chunked"],
        [b"Transfer-Encoding: chunked,"],
        [b"Transfer-Encoding: , chunked"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding:"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Transfer-Encoding: \x00chunked"],
        [b"Transfer-Encoding: \xa0chunked"],
        [b"Transfer-Encoding: chunked\x0c"],
        [b"Transfer-Encoding : chunked"],
        [b"Transfer-Encoding", b" : chunked"],
        [b"Transfer-Encoding:", b" chunked"],
        [b"Transfer-Encoding: chunked;a=b"],
        [b'Transfer-Encoding: "chunked"'],
        [b"Transfer-Encoding: chunked foo"],
        [b"Transfer-Encoding: chun", b" ked"],
        [b"Transfer-Encoding: chun\xe2\x84\xaaed"],
    ],
    ids=repr,
)
def test_a_transfer_coding_that_is_not_chunked_alone_is_refused(lines: list[bytes]) -> None:
    assert refused(get(*lines)) in (400, 501)


def test_a_transfer_coding_we_cannot_decode_is_501() -> None:
    assert refused(get(b"Transfer-Encoding: gzip, chunked")) == 501


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked"])
def test_chunked(value: bytes) -> None:
    head = read(get(b"Transfer-Encoding:" + value))
    assert head.length == CHUNKED
    assert head.lines == []


def test_transfer_encoding_on_an_old_request_is_refused() -> None:
    assert refused(get(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")) == 400


@pytest.mark.parametrize(
    "name", [b"Transfer_Encoding", b"transfer.encoding", b"Content_Length", b"content.length", b"Ho.st", b"x-_-y"]
)
def test_look_alikes_of_framing_are_dropped(name: bytes) -> None:
    head = read(get(name + b": chunked"))
    assert head.length == 0
    assert head.lines == ([] if name.lower() not in (b"ho.st", b"x-_-y") else [name + b": chunked\r\n"])


# -- lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        b"GET / HTTP/1.1\nHost: web\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web\rX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: web\r\r\n\r\n",
        get(b"X: a\x00b"),
        get(b"X: a\x01b"),
        get(b"X: a\x1fb"),
        get(b"X: a\x7fb"),
        get(b"X\x00: a"),
        get(b"X: a", b" b"),
        get(b"X: a", b"\tb"),
        get(b" X: a"),
        get(b": a"),
        get(b"abc"),
        get(b"X y: a"),
        get(b"X(: a"),
        get(b"X\xe9: a"),
        get(b"X : a"),
        get(b"X\t: a"),
        get(b"X\x0b: a"),
        get(b"X;y: a"),
        get(b'"X": a'),
        get(start=b"GET  / HTTP/1.1"),
        get(start=b"GET /  HTTP/1.1"),
        get(start=b"GET / HTTP/1.1 "),
        get(start=b" GET / HTTP/1.1"),
        get(start=b"GET\t/ HTTP/1.1"),
        get(start=b"GET /\x0b HTTP/1.1"),
        get(start=b"GET / x HTTP/1.1"),
        get(start=b"GET /"),
        get(start=b"GET"),
        get(start=b"GET / HTTP/1."),
        get(start=b"GET / HTTP/11"),
        get(start=b"GET / HTTP/1.10"),
        get(start=b"GET / http/1.1"),
        get(start=b"GET / HTTPS/1.1"),
        get(start=b"GET / RTSP/1.0"),
        get(start=b"get / HTTP/1.1"),
        get(start=b"GE(T / HTTP/1.1"),
        get(start=b"GET\x00 / HTTP/1.1"),
        get(start=b"\xefGET / HTTP/1.1"),
        get(start=b" / HTTP/1.1"),
    ],
    ids=repr,
)
def test_malformed_lines_are_refused(block: bytes) -> None:
    assert refused(block) == 400


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"9.9"])
def test_other_versions_are_505(version: bytes) -> None:
    assert refused(get(start=b"GET / HTTP/" + version)) == 505


def test_the_preface_of_http_2_is_refused() -> None:
    assert refused(b"PRI * HTTP/2.0\r\n\r\n") == 505


# -- target and host ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host:",
        b"Host: ",
        b"Host: web\r\nHost: web",
        b"Host: web\r\nHost: other",
        b"Host: a, b",
        b"Host: user@web",
        b"Host: web/path",
        b"Host: web path",
        b"Host: web?x",
        b"Host: web#x",
        b"Host: web:99999",
        b"Host: web:0",
        b"Host: web:-1",
        b"Host: web:80:80",
        b"Host: web:8o",
        b"Host: :80",
        b"Host: [::1",
        b"Host: [::g]",
        b"Host: []:80",
        b"Host: ::1",
        b"Host: web%2e",
        b"Host: web\\x",
        b"Host: w\xe9b",
        b"Host: web,",
        b"Host: http://web",
        b"Host: 'web'",
    ],
    ids=repr,
)
def test_a_bad_host_is_refused(host: bytes) -> None:
    assert refused(get(host=host)) == 400


@pytest.mark.parametrize(
    "target",
    [
        b"http://",
        b"http:///x",
        b"http://a,b/",
        b"http://user@web/",
        b"http://user:word@web/",
        b"http://web:99999/",
        b"http://web:0/",
        b"http://w eb/",
        b"ftp://web/",
        b"https://web/",
        b"ws://web/",
        b"HTTPS://web/",
        b"//",
        b"web:80",
        b"web",
        b"*",
        b"?x",
        b"http:/web/",
        b"http:web",
        b"/a#frag",
        b"http://web/#frag",
        b"#",
        b"/\x01",
        b"/\x7f",
        b"/a\x00b",
    ],
    ids=repr,
)
def test_a_bad_target_is_refused(target: bytes) -> None:
    if target == b"//":
        assert read(get(start=b"GET // HTTP/1.1")).target == b"//"
    else:
        assert refused(get(start=b"GET " + target + b" HTTP/1.1")) == 400


@pytest.mark.parametrize(
    ("target", "goes_out", "authority"),
    [
        (b"/", b"/", b"web"),
        (b"/a?b=c", b"/a?b=c", b"web"),
        (b"//host/x", b"//host/x", b"web"),
        (b"/%2f%00\xff", b"/%2f%00\xff", b"web"),
        ("/é?ü".encode(), "/é?ü".encode(), b"web"),
        ("http://other/é".encode(), "/é".encode(), b"other"),
        (b"/http://other/", b"/http://other/", b"web"),
        (b"http://other", b"/", b"other"),
        (b"http://other/", b"/", b"other"),
        (b"HTTP://Other:81/x?y", b"/x?y", b"Other:81"),
        (b"http://other?y", b"/?y", b"other"),
        (b"http://[::1]:80/x", b"/x", b"[::1]:80"),
    ],
)
def test_targets_are_brought_to_origin_form_and_the_absolute_one_wins(
    target: bytes, goes_out: bytes, authority: bytes
) -> None:
    head = read(get(start=b"GET " + target + b" HTTP/1.1"))
    assert (head.target, head.authority) == (goes_out, authority)
    assert not any(line.lower().startswith(b"host") for line in head.lines)


def test_asterisk_is_for_options_alone() -> None:
    assert read(get(start=b"OPTIONS * HTTP/1.1")).target == b"*"
    assert refused(get(start=b"GET * HTTP/1.1")) == 400
    assert refused(get(start=b"OPTIONS ** HTTP/1.1")) == 400


def test_without_a_path_options_of_the_absolute_form_speaks_of_the_server() -> None:
    assert read(get(start=b"OPTIONS http://web HTTP/1.1")).target == b"*"
    assert read(get(start=b"OPTIONS http://web/ HTTP/1.1")).target == b"/"
    assert refused(get(start=b"GET http:///x HTTP/1.0")) == 400


def test_an_old_request_needs_no_host() -> None:
    head = read(get(start=b"GET / HTTP/1.0", host=b""))
    assert (head.old, head.authority, head.keep_alive) == (True, b"", False)


# -- limits ------------------------------------------------------------------------------------------


def test_long_targets_are_served_and_longer_ones_are_not() -> None:
    assert len(read(get(start=b"GET /" + b"a" * 8000 + b" HTTP/1.1")).target) == 8001
    assert refused(get(start=b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1")) == 414
    assert refused(get(start=b"GET /" + b"a" * 100_000 + b" HTTP/1.1")) == 414


def test_too_many_and_too_large_headers() -> None:
    assert refused(get(*[b"X: y"] * 10_000)) == 431
    assert refused(get(b"X: " + b"y" * 100_000)) == 431


# -- what goes on ------------------------------------------------------------------------------------


def test_unknown_expectations_are_417() -> None:
    assert refused(get(b"Expect: 200-maybe")) == 417
    assert read(get(b"Expect: 100-Continue")).lines == [b"Expect: 100-Continue\r\n"]


@pytest.mark.parametrize("trusted", [False, True])
def test_only_a_peer_sidecar_may_say_smi_mesh(trusted: bool) -> None:
    head = read(get(b"smi-mesh-retry: spent", b"smi_mesh_retry: spent", b"SMI.mesh-retry: x"), trusted=trusted)
    assert head.lines == ([b"smi-mesh-retry: spent\r\n"] if trusted else [])


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "name",
    [b"smi-mesh-client-id", b"SMI-Mesh-Client-ID", b"smi_mesh_client_id", b"smi.mesh.client.id", b"smi-mesh~client+id"],
)
def test_who_calls_is_not_for_the_caller_to_say(name: bytes, trusted: bool) -> None:
    assert read(get(name + b": bank/admin"), trusted=trusted).lines == []


@pytest.mark.parametrize(
    "upgrade",
    [
        b"h2c",
        b"H2C",
        b"h2",
        b"HTTP/2.0",
        b"HTTP/1.1",
        b"TLS/1.3",
        b"websocket, h2c",
        b"h2c,websocket",
        b"websocket,\thttp/2.0",
        b',\t"h2c"',
        b'"websocket"',
    ],
)
def test_an_upgrade_to_what_nobody_would_judge_is_none(upgrade: bytes) -> None:
    assert read(get(b"Connection: upgrade", b"Upgrade: " + upgrade)).upgrade == b""


REPEATED = [
    [b"User-Agent: a", b"user-agent: b"],
    [b"Content-Type: text/plain", b"Content-Type: text/html"],
    [b"ETag: a", b"Server: b", b"~server: x", b"~~server: x", b"Server: c", b"ETag: d"],
    [b"Max-Forwards: 1", b"Max-Forwards: 1"],
    [b"Content-Location: a", b"Content-Range: b", b"Content-Location: c", b"content-range: d"],
]


@pytest.mark.parametrize("lines", REPEATED, ids=repr)
@pytest.mark.parametrize("target", [b"/", "/é".encode(), b"http://web/x"])
def test_repeated_headers_that_frame_nothing_pass_as_they_are(lines: list[bytes], target: bytes) -> None:
    head = read(get(*lines, start=b"GET " + target + b" HTTP/1.1"))
    assert head.lines == [line + b"\r\n" for line in lines]


@pytest.mark.parametrize("line", [b"Host: web", b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_repeated_headers_that_frame_or_route_are_refused_beside_others_too(line: bytes) -> None:
    assert refused(get(b"Server: a", b"Server: b", line, line)) == 400


def test_connection_cannot_delete_what_frames_or_identifies() -> None:
    head = read(
        get(
            b"Connection: close, host, content-length, cookie, authorization, smi-mesh-client-id, x-a",
            b"Cookie: c",
            b"Authorization: a",
            b"Content-Length: 3",
            b"X-A: 1",
            b"X-B: 2",
        )
    )
    assert head.lines == [b"Cookie: c\r\n", b"Authorization: a\r\n", b"X-B: 2\r\n"]
    assert (head.length, head.authority, head.keep_alive) == (3, b"web", False)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"x, close", False),
        (b"1.0", None, False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"close", False),
    ],
)
def test_keep_alive(version: bytes, connection: bytes | None, kept: bool) -> None:
    lines = [] if connection is None else [b"Connection: " + connection]
    assert read(get(*lines, start=b"GET / HTTP/" + version)).keep_alive is kept


def test_policy_sees_what_the_application_sees() -> None:
    head = read(
        get(
            b"X-Role: admin",
            b"x-role: root",
            b"Connection: x-hop",
            b"X-Hop: yes",
            b"smi-mesh-client-id: a/b",
            b"Accept: \xe9",
            b"X-Empty:",
        )
    )
    assert head.header("x-role") == "admin, root"
    assert head.header("x-hop") is None
    assert head.header("smi-mesh-client-id") is None
    assert head.header("x-none") is None
    assert head.header("host") == "web"
    assert head.header("x-empty") == ""
    assert head.header("upgrade") is None
    websocket = read(get(b"Connection: upgrade", b"Upgrade: websocket"))
    assert websocket.header("upgrade") == "websocket"


@pytest.mark.parametrize("method", [b"PURGE", b"M-SEARCH", b"VERSION-CONTROL", b"X"])
def test_a_method_that_nobody_here_knows_is_the_applications_to_judge(method: bytes) -> None:
    assert read(get(start=method + b" / HTTP/1.1")).method == method.decode()
