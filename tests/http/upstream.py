"""A server in the box, as the port proxy sees it: bytes in, bytes out, nothing done by a library."""

import contextlib
import socket
import threading

import pytest

from boxd import sanitized
from wire import DEADLINE, Conn, Response, parse_field

MIB = 1 << 20


class Peer(Conn):
    """One accepted connection: the daemon is the client."""

    def __init__(self, sock):
        self.sock, self.deadline, self.buf = sock, DEADLINE, bytearray()
        sock.settimeout(DEADLINE)

    def request_head(self):
        """A request without its body: method, target, fields."""
        lines = self.until(b"\r\n\r\n").split(b"\r\n")
        method, target, version = lines[0].split(b" ")
        assert version == b"HTTP/1.1", lines[0]
        r = Request(0, "", [parse_field(x) for x in lines[1:]], "1.1")
        r.method, r.target, r.raw = method.decode(), target.decode("latin-1"), lines
        return r

    def read(self):
        """A whole request."""
        r = self.request_head()
        if r.chunked or r.field("content-length"):
            r.body = b"".join(self.pieces(r))
        return r

    def answer(self, body=b"", status=200, fields=(), length=True):
        lines = [f"HTTP/1.1 {status} X"] + [f"{n}: {v}" for n, v in fields]
        if length:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


class Request(Response):
    """What a server received."""

    def values(self, *names):
        return [v for n, v in self.fields if n in names]


class Upstream:
    """
    Runs serve(peer) in a thread for each connection. What goes wrong in there is raised by close(),
    but for a connection that the daemon ended with `quiet`.
    """

    def __init__(self, serve, host="127.0.0.1", quiet=False):
        self.serve, self.quiet = serve, quiet
        self.accepted, self.requests, self.errors = 0, [], []
        self.threads, self.idle = [], set()
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.bind((host, 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.over = False
        self.start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(kind is None)

    def start(self, fn, *args):
        t = threading.Thread(target=fn, args=args, daemon=True)
        self.threads.append(t)
        t.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.over:
                sock.close()
                return
            self.accepted += 1
            self.start(self._run, Peer(sock))

    def _run(self, peer):
        try:
            with peer:
                self.serve(peer)
        except Exception as e:  # told to the test's own thread
            if not self.quiet:
                self.errors.append(e)

    def wait(self, peer):
        """Waits for the next request on a kept connection. False: there is none."""
        self.idle.add(peer.sock)
        data = b"" if self.over and not peer.buf else peer.buf or peer.sock.recv(65536, socket.MSG_PEEK)
        self.idle.discard(peer.sock)
        return bool(data)

    def close(self, check=True):
        self.over = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.idle):  # kept connections: their other end is the daemon's
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for t in list(self.threads):
            t.join(DEADLINE if check else 1)
            assert not check or not t.is_alive(), "a server of the test hangs"
        if check and self.errors:
            raise self.errors[0]


def serving(handle):
    """A server that keeps connections: handle(peer, request) for each request of each."""
    def serve(peer):
        while True:
            if not server.wait(peer):
                return
            r = peer.read()
            server.requests.append(r)
            handle(peer, r)
    server = Upstream(serve)
    return server


def simple(body=b"ok", **kw):
    return serving(lambda peer, _: peer.answer(body, **kw))


@pytest.fixture
def echo():
    """A server that answers with the target it was asked for."""
    with serving(lambda peer, r: peer.answer(r.target.encode("latin-1"))) as up:
        yield up


def scripted(answer):
    """A server that reads one request and sends these bytes."""
    def serve(peer):
        peer.read()
        peer.send(answer)
    return Upstream(serve)


# ---- by way of the daemon ----


def through(d, port, suffix="/", method="GET", fields=(), body=None, conn=None, **kw):
    """One request by way of the proxy; errors of the server are not boxd's errors."""
    own = conn is None
    c = conn or d.connect()
    try:
        c.send(c.head(method, f"/proxy/{port}{suffix}", d.auth(fields), body, **kw))
        return receive(c, method)
    finally:
        if own:
            c.close()


def receive(c, method="GET"):
    r = c.response_head()
    if method != "HEAD" and r.status not in (204, 304):
        r.body = b"".join(c.pieces(r))
    return r


def refused(r, status, code):
    assert (r.status, r.json()["code"]) == (status, code), r
    assert r.field("content-type").startswith("application/json"), r
    return r.json()["message"]


def dead_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def roomy():
    """KiB the daemon may grow by while much goes through; a sanitizer keeps what was freed."""
    return 320000 if sanitized() else 4000


def pump(send):
    """Sends until nothing is taken for a while; how many bytes went."""
    total, block = 0, b"x" * 65536
    while total < 400 * MIB:
        try:
            total += send(block)
        except socket.timeout:
            return total
    raise AssertionError("it takes everything")
