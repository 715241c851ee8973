"""Requests that must be refused: one row of the table per way to be malformed (DESIGN 3.1)."""

import json

import pytest

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKED_HEAD = b"POST /command HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
H = b"Host: localhost\r\n"
HEAD = b"GET /ping HTTP/1.1\r\n" + H
POST = b"POST /command HTTP/1.1\r\n" + H
E = b"\r\n"

REFUSED = {
    # line ends
    "bare LF everywhere": (b"GET /ping HTTP/1.1\nHost: localhost\n\n", 400),
    "bare LF after the request line": (b"GET /ping HTTP/1.1\n" + H + E, 400),
    "bare LF after a field": (HEAD + b"A: b\nC: d\r\n\r\n", 400),
    "bare LF as the end of the head": (HEAD + b"A: b\r\n\n", 400),
    "bare CR in a value": (HEAD + b"A: b\rc\r\n\r\n", 400),
    "bare CR in the target": (b"GET /pi\rng HTTP/1.1\r\n" + H + E, 400),
    # fields
    "folded field": (HEAD + b"A: b\r\n c\r\n\r\n", 400),
    "folded first field": (b"GET /ping HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    "space before the colon": (HEAD + b"A : b\r\n\r\n", 400),
    "tab before the colon": (HEAD + b"A\t: b\r\n\r\n", 400),
    "no colon": (HEAD + b"A b\r\n\r\n", 400),
    "no name": (HEAD + b": b\r\n\r\n", 400),
    "name with a parenthesis": (HEAD + b"A(b: c\r\n\r\n", 400),
    "name with a byte above 127": (HEAD + b"\xc3\xa4: c\r\n\r\n", 400),
    "NUL in a value": (HEAD + b"A: b\0c\r\n\r\n", 400),
    "NUL in a name": (HEAD + b"A\0b: c\r\n\r\n", 400),
    "control byte in a value": (HEAD + b"A: b\x01c\r\n\r\n", 400),
    "DEL in a value": (HEAD + b"A: b\x7fc\r\n\r\n", 400),
    # Host
    "no Host": (b"GET /ping HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (HEAD + H + E, 400),
    "Host with a space": (b"GET /ping HTTP/1.1\r\nHost: local host\r\n\r\n", 400),
    "Host with a path": (b"GET /ping HTTP/1.1\r\nHost: localhost/x\r\n\r\n", 400),
    "Host with a user": (b"GET /ping HTTP/1.1\r\nHost: me@localhost\r\n\r\n", 400),
    "Host with a bad port": (b"GET /ping HTTP/1.1\r\nHost: localhost:8o\r\n\r\n", 400),
    # request line
    "no version": (b"GET /ping\r\n" + H + E, 400),
    "only a method": (b"GET\r\n" + H + E, 400),
    "two spaces after the method": (b"GET  /ping HTTP/1.1\r\n" + H + E, 400),
    "two spaces before the version": (b"GET /ping  HTTP/1.1\r\n" + H + E, 400),
    "space at the end of the line": (b"GET /ping HTTP/1.1 \r\n" + H + E, 400),
    "space at the start": (b" GET /ping HTTP/1.1\r\n" + H + E, 400),
    "tab as separator": (b"GET\t/ping\tHTTP/1.1\r\n" + H + E, 400),
    "method with a slash": (b"G/T /ping HTTP/1.1\r\n" + H + E, 400),
    "no method": (b"/ping HTTP/1.1\r\n" + H + E, 400),
    "lower-case http": (b"GET /ping http/1.1\r\n" + H + E, 400),
    "version 1.x": (b"GET /ping HTTP/1.x\r\n" + H + E, 400),
    "version 1.10": (b"GET /ping HTTP/1.10\r\n" + H + E, 400),
    "version 2.0": (b"GET /ping HTTP/2.0\r\n" + H + E, 505),
    "version 0.9": (b"GET /ping HTTP/0.9\r\n" + H + E, 505),
    "version 3.1": (b"GET /ping HTTP/3.1\r\n" + H + E, 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 60 + b"\n", 400),
    "binary noise": (bytes(range(128, 256)) + b"\r\n\r\n", 400),
    "five empty lines": (E * 12 + PING, 400),
    # target
    "fragment": (b"GET /ping#x HTTP/1.1\r\n" + H + E, 400),
    "target without a slash": (b"GET ping HTTP/1.1\r\n" + H + E, 400),
    "target with a raw byte above 127": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + H + E, 400),
    "target with a control byte": (b"GET /\x01 HTTP/1.1\r\n" + H + E, 400),
    "asterisk for GET": (b"GET * HTTP/1.1\r\n" + H + E, (400, 404)),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\n" + H + E, (400, 405, 501)),
    # length of the body
    "Content-Length and Transfer-Encoding": (POST + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    "Transfer-Encoding and Content-Length": (POST + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "two equal lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "positive length": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "negative length": (POST + b"Content-Length: -2\r\n\r\n{}", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "empty length": (POST + b"Content-Length: \r\n\r\n{}", 400),
    "fractional length": (POST + b"Content-Length: 2.0\r\n\r\n{}", 400),
    "length with a space": (POST + b"Content-Length: 2 0\r\n\r\n{}", 400),
    "length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", (400, 413)),
    "length that wraps to 2": (POST + b"Content-Length: 18446744073709551618\r\n\r\n{}", (400, 413)),
    # transfer codings
    "gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "gzip, then chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked, then gzip": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked in two fields": (POST + CHUNKED * 2 + b"\r\n0\r\n\r\n", (400, 501)),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", (400, 501)),
    "xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", (400, 501)),
    "chunked in quotes": (POST + b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", (400, 501)),
    "empty coding": (POST + b"Transfer-Encoding:\r\n\r\n", (400, 501)),
    "vertical tab before chunked": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST /command HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    # chunks
    "chunk size 0x3": (CHUNKED_HEAD + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size +3": (CHUNKED_HEAD + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size -3": (CHUNKED_HEAD + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with a leading space": (CHUNKED_HEAD + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    "empty chunk size": (CHUNKED_HEAD + b"\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size g": (CHUNKED_HEAD + b"g\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size beyond 64 bits": (CHUNKED_HEAD + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", (400, 413)),
    "chunk size that wraps to 3": (CHUNKED_HEAD + b"10000000000000003\r\nabc\r\n0\r\n\r\n", (400, 413)),
    "chunk size ended by LF": (CHUNKED_HEAD + b"3\nabc\r\n0\r\n\r\n", 400),
    "chunk data ended by LF": (CHUNKED_HEAD + b"3\r\nabc\n0\r\n\r\n", 400),
    "chunk data too long": (CHUNKED_HEAD + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension with NUL": (CHUNKED_HEAD + b"3;a\0b\r\nabc\r\n0\r\n\r\n", 400),
    "chunk extension with bare CR": (CHUNKED_HEAD + b"3;a\rb\r\nabc\r\n0\r\n\r\n", 400),
    "trailer without colon": (CHUNKED_HEAD + b"0\r\nabc\r\n\r\n", 400),
    "folded trailer": (CHUNKED_HEAD + b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "trailer ended by LF": (CHUNKED_HEAD + b"0\r\nA: b\n\r\n", 400),
    "last chunk ended by LF": (CHUNKED_HEAD + b"0\n\n", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(shared, name):
    raw, want = REFUSED[name]
    want = want if isinstance(want, tuple) else (want,)
    with shared.connect() as c:
        c.send(raw)
        r = c.response()
        assert r.status in want, r
        assert r.will_close, "what follows a malformed request cannot be trusted"
        c.half_close()
        assert c.at_end(), "the rest was read as another request"


def test_an_unknown_transfer_coding_is_not_supported(shared):
    with shared.connect() as c:
        c.send(POST + b"Transfer-Encoding: gzip\r\n\r\n")
        assert c.response().json()["code"] == "NOT_SUPPORTED"


def test_requests_behind_a_malformed_one_are_not_executed(boxd):
    d = boxd()
    victim = d.dir / "owned"
    with d.connect() as c:
        evil = c.head("POST", "/command", body=json.dumps({"command": f"touch {victim}"}))
        c.send(b"POST /command HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"0\r\n\r\n" + evil)
        assert c.response().status == 400
        c.half_close()
        assert c.at_end()
    assert d.get("/command").status == 200 and not victim.exists()


def test_control_bytes_of_a_client_cannot_forge_a_log_line(boxd):
    d = boxd("--log-level", "debug")
    with d.connect() as c:
        c.send(b"GET /%0d%0aforged%1b[31m HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: ab\r\n\r\n")
        assert c.response().status == 404
    with d.connect() as c:
        c.send(b"GET /a\r\nforged: \x1b[31m HTTP/1.1\r\n\r\n")
        assert c.response().status == 400
    d.stop()
    assert not [x for x in d.log if x.startswith("forged") or "\x1b" in x]
