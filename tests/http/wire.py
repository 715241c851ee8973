"""HTTP/1.1 and event streams, read the strict way.

A test client that forgives hides bugs, so nothing here forgives: a reply is checked against
RFC 9112 byte by byte, a chunked body must end with its final chunk, an event must be framed exactly
as the request asked, and every wait ends at a deadline.
"""

import json
import os
import re
import socket
import time
from email.utils import parsedate_to_datetime

DEADLINE = float(os.environ.get("BOXD_TEST_DEADLINE", "20"))

SINGLE = {
    "accept-ranges", "allow", "connection", "content-disposition", "content-encoding",
    "content-length", "content-range", "content-type", "date", "etag", "last-modified", "trailer",
    "transfer-encoding", "x-request-id", "x-skipped-directories", "execd-commands-tail-cursor",
    "execd-commands-gap-bytes",
}
# What may stand behind a chunked body, when the head announced it.
TRAILERS = {"x-skipped-directories"}
TOKEN = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
DATE = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$")


class Closed(AssertionError):
    """The peer closed (or reset) the connection where a byte was due."""


class Late(AssertionError):
    """The deadline passed."""


class Response:
    """Status, fields and, once read, the body of one reply."""

    def __init__(self, status, reason, fields, version):
        self.status, self.reason, self.fields, self.version = status, reason, fields, version
        self.body = b""
        self.trailers = {}

    def all(self, name):
        return [v for n, v in self.fields if n == name.lower()]

    def field(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def chunked(self):
        return self.field("transfer-encoding") == "chunked"

    @property
    def will_close(self):
        connection = (self.field("connection") or "").lower()
        return connection == "close" or (self.version == "1.0" and connection != "keep-alive")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.reason} {dict(self.fields)} {self.body[:300]!r}>"


class Conn:
    """One connection: a buffer, a deadline for every read, and no forgiveness."""

    def __init__(self, address, rcvbuf=None, deadline=DEADLINE):
        family = socket.AF_UNIX if isinstance(address, str) else (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(deadline)
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = "localhost" if family == socket.AF_UNIX else (
            f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6
            else f"{address[0]}:{address[1]}")
        self.deadline = deadline
        self.buf = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends with RST: what a crashed client or a cut network looks like."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    # ---- sending ----

    def send(self, data):
        self.sock.settimeout(self.deadline)
        self.sock.sendall(data)

    def head(self, method, target, fields=(), body=None, host=None, version="1.1"):
        """The bytes of a request; `body` adds Content-Length and itself."""
        lines = [f"{method} {target} HTTP/{version}"]
        fields = list(fields.items() if isinstance(fields, dict) else fields)
        if host is None and not any(n.lower() == "host" for n, _ in fields):
            lines.append(f"Host: {self.host}")
        elif host:
            lines.append(f"Host: {host}")
        lines += [f"{n}: {v}" for n, v in fields]
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")

    def request(self, method, target, fields=(), body=None, **kw):
        """Sends a request and reads the whole reply."""
        self.send(self.head(method, target, fields, body, **kw))
        return self.response(method)

    # ---- receiving ----

    def _fill(self, until):
        left = until - time.monotonic()
        if left <= 0:
            raise Late(f"nothing within the deadline; buffered {bytes(self.buf[:200])!r}")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except socket.timeout:
            raise Late(f"nothing within the deadline; buffered {bytes(self.buf[:200])!r}") from None
        except ConnectionError as e:
            raise Closed(f"connection lost: {e}; buffered {bytes(self.buf[:200])!r}") from None
        if not data:
            raise Closed(f"closed; buffered {bytes(self.buf[:200])!r}")
        self.buf += data

    def until(self, mark, deadline=None, limit=1 << 22):
        """Reads up to and including mark; returns what is before it."""
        end = time.monotonic() + (deadline or self.deadline)
        seen = 0
        while (at := self.buf.find(mark, max(0, seen - len(mark)))) < 0:
            seen = len(self.buf)
            assert seen < limit, f"no {mark!r} within {limit} bytes"
            self._fill(end)
        out = bytes(self.buf[:at])
        del self.buf[:at + len(mark)]
        return out

    def some(self, most, deadline=None):
        """At least one byte, at most that many."""
        if not self.buf:
            self._fill(time.monotonic() + (deadline or self.deadline))
        out = bytes(self.buf[:most])
        del self.buf[:most]
        return out

    def exactly(self, n, deadline=None):
        end = time.monotonic() + (deadline or self.deadline)
        while len(self.buf) < n:
            self._fill(end)
        out = bytes(self.buf[:n])
        del self.buf[:n]
        return out

    def rest(self, deadline=None):
        """Everything up to the end of the connection, which must be an orderly one."""
        end = time.monotonic() + (deadline or self.deadline)
        try:
            while True:
                self._fill(end)
        except Closed as e:
            assert "lost" not in str(e), f"reset instead of an orderly end: {e}"
        out = bytes(self.buf)
        self.buf.clear()
        return out

    def at_end(self, deadline=None):
        """The peer has closed, or does so before the deadline, without sending anything more."""
        left = self.rest(deadline)
        assert left == b"", f"bytes after the reply: {left[:200]!r}"
        return True

    def response_head(self, deadline=None):
        lines = self.until(b"\r\n\r\n", deadline).split(b"\r\n")
        m = re.match(rb"^HTTP/(1\.[01]) ([1-5]\d\d) ([ -~]*)$", lines[0])
        assert m, f"status line {lines[0]!r}"
        fields = []
        for line in lines[1:]:
            fields.append(parse_field(line))
        r = Response(int(m[2]), m[3].decode(), fields, m[1].decode())
        for name in SINGLE:
            assert len(r.all(name)) <= 1, f"{name} repeated: {fields}"
        if r.status >= 200:
            check_fields(r)
        return r

    def response(self, method="GET", deadline=None):
        """Head and body of a reply, the body framed as the head says."""
        r = self.response_head(deadline)
        if method == "HEAD" or r.status in (204, 304) or r.status < 200:
            return r
        r.body = b"".join(self.pieces(r, deadline))
        check_error(r)
        return r

    def pieces(self, r, deadline=None):
        """The body of a reply, bit by bit: one that is too large to be held."""
        if r.chunked:
            yield from self.chunks(deadline, r)
        elif r.field("content-length") is not None:
            left = int(r.field("content-length"))
            while left > 0:
                piece = self.some(left, deadline)
                left -= len(piece)
                yield piece
        else:
            assert r.will_close, f"no length, not chunked and not closing: {r}"
            yield self.rest(deadline)

    def chunks(self, deadline=None, response=None):
        """
        The data of each chunk; the last one read is the final, empty chunk. Trailer fields go to
        the response that announced them; there may be no others.
        """
        while True:
            size = self.until(b"\r\n", deadline)
            assert re.match(rb"^[0-9a-fA-F]{1,8}$", size), f"chunk size {size[:80]!r}"
            n = int(size, 16)
            if n == 0:
                self._trailers(response, deadline)
                return
            yield self.exactly(n, deadline)
            assert self.exactly(2, deadline) == b"\r\n", "CRLF after chunk data"

    def _trailers(self, response, deadline):
        announced = response.field("trailer", "") if response else ""
        expected = {n.strip().lower() for n in announced.split(",")} & TRAILERS
        while line := self.until(b"\r\n", deadline):
            name, value = parse_field(line)
            assert name in expected, f"a trailer that nobody announced: {line!r}"
            assert name not in response.trailers and response.field(name) is None, f"twice: {line!r}"
            response.trailers[name] = value

    def stream(self, method, target, fields=(), body=None, deadline=None, **kw):
        """Sends a request whose reply must be an event stream."""
        fields = list(fields.items() if isinstance(fields, dict) else fields)
        if isinstance(body, dict):
            body = json.dumps(body)
        self.send(self.head(method, target, fields, body, **kw))
        accept = next((v for n, v in fields if n.lower() == "accept"), "")
        return self.stream_response("text/event-stream" in accept, deadline)

    def stream_response(self, standard=False, deadline=None):
        """Reads the head of a reply that must be an event stream."""
        r = self.response_head(deadline)
        if r.status != 200:
            if r.field("content-length") is not None:
                r.body = self.exactly(int(r.field("content-length")), deadline)
        assert r.status == 200, f"no stream: {r}"
        assert r.field("content-type") == "text/event-stream", r
        assert r.field("cache-control") == "no-cache", r
        assert r.field("x-accel-buffering") == "no", r
        assert r.field("content-encoding") is None, r
        return Stream(self, r, standard)


def parse_field(line):
    """Name, in lower case, and value of a header or trailer field."""
    name, colon, value = line.partition(b":")
    assert colon and TOKEN.match(name), f"field {line!r}"
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value), f"field {line!r}"
    return name.decode().lower(), value.strip(b" \t").decode("latin-1")


def check_fields(r):
    """What every final reply carries."""
    assert DATE.match(r.field("date", "")), f"Date: {r}"
    age = abs(parsedate_to_datetime(r.field("date")).timestamp() - time.time())
    assert age < 5, f"Date is {age} s off"
    assert r.field("x-request-id"), f"no X-Request-ID: {r}"
    framings = [r.field("content-length"), r.field("transfer-encoding")]
    assert None in framings, f"two framings: {r}"
    if r.field("content-length") is not None:
        assert re.match(r"^\d+$", r.field("content-length")), r
    if r.field("transfer-encoding") is not None:
        assert r.field("transfer-encoding") == "chunked" and r.version == "1.1", r


def check_error(r):
    """An error is always {"code","message"}, never empty (contract 0.3, 1.3)."""
    if r.status < 400:
        return
    assert r.field("content-type", "").startswith("application/json"), r
    if r.field("content-encoding"):
        return
    body = r.json()
    for key in ("code", "message"):
        assert isinstance(body.get(key), str) and body[key], f"{key}: {r}"
    assert re.match(r"^[A-Z][A-Z0-9_]+$", body["code"]), r


class Event(dict):
    """One event: its JSON object, its id (None in the bare form) and the bytes it was."""

    def __init__(self, obj, ident, raw):
        super().__init__(obj)
        self.id, self.raw = ident, raw

    @property
    def type(self):
        return self["type"]

    @property
    def text(self):
        return self.get("text")


# What the line iterator of some client takes for the end of a line (contract 2.2).
RAW_BREAKS = ("\u0085".encode(), "\u2028".encode(), "\u2029".encode())
TERMINAL = ("error", "execution_complete")


class Stream:
    """The events of one reply. next() gives one at a time, None after the final chunk."""

    def __init__(self, conn, response, standard):
        self.conn, self.response, self.standard = conn, response, standard
        self.buf, self.seen, self.over = bytearray(), 0, False
        self.pieces = conn.chunks() if response.chunked else self._to_close()

    def _to_close(self):
        assert self.response.will_close, "neither chunked nor closing"
        yield self.conn.rest()

    def __iter__(self):
        while (e := self.next()) is not None:
            yield e

    def next(self, deadline=None):
        if deadline:
            self.conn.deadline = deadline
        while (at := self.buf.find(b"\n\n", max(0, self.seen - 1))) < 0:
            self.seen = len(self.buf)
            if self.over:
                assert not self.buf, f"unterminated event at the end: {bytes(self.buf[:200])!r}"
                return None
            try:
                self.buf += next(self.pieces)
            except StopIteration:
                self.over = True
        raw = bytes(self.buf[:at])
        del self.buf[:at + 2]
        self.seen = 0
        return self.parse(raw)

    def parse(self, raw):
        ident, text = None, raw
        if self.standard:
            m = re.match(rb"^(?:id: (\d+)\n)?data: (\{[^\n]*\})$", raw)
            assert m, f"not `id:`, `data:`: {raw[:200]!r}"
            ident, text = (None if m[1] is None else int(m[1])), m[2]
        assert text.startswith(b"{") and b"\n" not in text and b"\r" not in text, raw[:200]
        for mark in RAW_BREAKS:
            assert mark not in text, f"{mark!r} is not escaped in {raw[:200]!r}"
        assert len(raw) < 4 << 20, "an event of 4 MiB breaks the Go client"
        obj = json.loads(text.decode("utf-8"))
        assert isinstance(obj.get("type"), str), raw[:200]
        stamp = obj.get("timestamp")
        assert type(stamp) is int, f"timestamp is no integer: {raw[:200]!r}"
        assert abs(stamp / 1000 - time.time()) < 300, f"timestamp {stamp}"
        if obj["type"] in ("stdout", "stderr"):
            assert obj.get("text"), f"{obj['type']} without text"
        if obj["type"] == "ping":
            assert obj.get("text") == "pong", raw[:200]
        return Event(obj, ident, raw)

    def wait_for(self, kind, deadline=None):
        """Reads on to the first event of this type."""
        while (e := self.next(deadline)) is not None:
            if e.type == kind:
                return e
        raise Closed(f"the stream ended without {kind}")

    def collect(self):
        return Run(list(self))


class Run:
    """A whole execution as a client sees it, after the promises of contract 2.7 were checked."""

    ident = re.compile(r"^[0-9a-f]{32}$")  # what its id looks like

    def __init__(self, events):
        self.events = events
        kinds = [e.type for e in events]
        assert kinds, "a stream without events"
        assert kinds[0] == "init" and kinds.count("init") == 1, kinds[:10]
        ends = [k for k in kinds if k in TERMINAL]
        assert len(ends) == 1, f"{len(ends)} terminal events: {kinds[-10:]}"
        assert kinds[-1] == ends[0], f"something follows the terminal event: {kinds[-10:]}"
        self.id = events[0].text
        assert self.ident.match(self.id), self.id
        self.last = events[-1]

    def texts(self, kind):
        return [e.text for e in self.events if e.type == kind]

    @property
    def stdout(self):
        return self.texts("stdout")

    @property
    def stderr(self):
        return self.texts("stderr")

    @property
    def error(self):
        return self.last["error"] if self.last.type == "error" else None

    @property
    def ok(self):
        return self.last.type == "execution_complete"

    @property
    def exit_code(self):
        """As every SDK computes it."""
        if self.ok:
            return 0
        value = self.error["evalue"]
        return int(value) if re.match(r"^-?\d+$", value) else None

    @property
    def gaps(self):
        return [e["dropped_bytes"] for e in self.events if e.type == "gap"]


def text_bytes(texts):
    """How many bytes of output the events stand for, terminators (one byte each) included."""
    return sum(1 if t == "\n" else len(t.encode()) + 1 for t in texts)
