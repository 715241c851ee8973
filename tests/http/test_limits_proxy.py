"""The limits of the port proxy, at the limit and one past it; see test_limits.py."""

import socket
import threading
import time

import pytest

import procfs
from upstream import Upstream, receive, refused, serving, simple, through


def full_backlog():
    """A listening socket that accepts nothing more: what connects to it waits."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    waiting = []
    while True:
        c = socket.socket()
        c.settimeout(0.3)
        waiting.append(c)
        try:
            c.connect(s.getsockname())
        except socket.timeout:
            return s, waiting
        assert len(waiting) < 20


def test_proxy_dial_ms(boxd):
    d = boxd(limits={"proxy_dial_ms": 400})
    s, waiting = full_backlog()
    begin = time.monotonic()
    refused(through(d, s.getsockname()[1]), 502, "BAD_GATEWAY")
    assert 0.3 < time.monotonic() - begin < 5
    for c in waiting:
        c.close()
    s.close()


def test_proxy_head_ms(boxd):
    d = boxd(limits={"proxy_head_ms": 400})
    ended = []

    def silent(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        ended.append(peer.rest())
    with Upstream(silent) as up:
        begin = time.monotonic()
        refused(through(d, up.port, "/", "POST", body=b"x"), 504, "GATEWAY_TIMEOUT")
        assert 0.3 < time.monotonic() - begin < 5
    assert ended == [b""]

    def slow(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        time.sleep(1)  # longer than the limit: only the head has one
        peer.send(b"b")
    with Upstream(slow) as up:
        assert through(d, up.port).body == b"ab"


def test_proxy_head_ms_begins_when_the_request_is_sent(boxd):
    d = boxd(limits={"proxy_head_ms": 400})
    with serving(lambda peer, r: peer.answer(r.body)) as up, d.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", "4")]))
        for i in range(2):
            time.sleep(0.6)
            c.send(b"%d%d" % (i, i))
        assert receive(c).body == b"0011"


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_proxy_idle_count(boxd, limit):
    d = boxd(limits={"proxy_idle_count": limit})
    together = threading.Barrier(limit + 1, timeout=20)

    def meet(peer, _):
        together.wait()
        peer.answer(b"x")
    with serving(meet) as up:
        conns = [d.connect() for _ in range(limit + 1)]
        for c in conns:
            c.send(c.head("GET", f"/proxy/{up.port}/"))
        for c in conns:
            assert receive(c).status == 200
        base = len(d.fds()) - len(conns)
        for c in conns:
            c.close()
        procfs.wait_until(lambda: len(d.fds()) == base)
        conns = [d.connect() for _ in range(limit + 1)]
        for c in conns:
            c.send(c.head("GET", f"/proxy/{up.port}/"))
        for c in conns:
            assert receive(c).status == 200
            c.close()
        assert up.accepted == (limit + 1) + 1, "all but one were kept"


def test_proxy_idle_ms(boxd):
    d = boxd(limits={"proxy_idle_ms": 300})
    ended = threading.Event()

    def serve(peer):
        peer.read()
        peer.answer(b"x")
        begin = time.monotonic()
        assert peer.rest() == b""
        assert 0.2 < time.monotonic() - begin < 5
        ended.set()
    with Upstream(serve) as up:
        assert through(d, up.port).body == b"x"
        assert ended.wait(10)
    # Used in time, it stays; the first deadline is not the last.
    with simple() as up:
        for _ in range(8):
            assert through(d, up.port).body == b"ok"
            time.sleep(0.1)
        assert up.accepted == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_proxy_count(boxd, limit):
    d = boxd(limits={"proxy_count": limit})
    go = threading.Event()

    def wait(peer, _):
        assert go.wait(20)
        peer.answer(b"x")
    with serving(wait) as up:
        conns = [d.connect() for _ in range(limit)]
        for c in conns:
            c.send(c.head("GET", f"/proxy/{up.port}/"))
        procfs.wait_until(lambda: up.accepted == limit)
        refused(through(d, up.port), 503, "UNAVAILABLE")
        assert through(d, d.address[1], "/ping").status == 200, "inside it does not count"
        go.set()
        for c in conns:
            assert receive(c).status == 200
            c.close()
        assert through(d, up.port).status == 200


@pytest.mark.parametrize("limit", [1024, 4000])
def test_http_head_bytes_of_an_answer(boxd, limit):
    d = boxd(limits={"http_head_bytes": limit})

    def answer(n):
        empty = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nA: \r\n\r\n"
        return empty.replace(b"A: ", b"A: " + b"x" * (n - len(empty))) + b"y"
    for n, status in [(limit, 200), (limit + 1, 502)]:
        def serve(peer, raw=answer(n)):
            peer.read()
            peer.send(raw)
        with Upstream(serve, quiet=True) as up:
            assert through(d, up.port).status == status, n


def test_http_fields_of_an_answer(boxd):
    d = boxd(limits={"http_fields": 20})
    for n, status in [(20, 200), (21, 502)]:
        with simple(fields=[("A", "b")] * (n - 1)) as up:
            assert through(d, up.port).status == status, n


def test_an_endless_head_is_cut(boxd):
    d = boxd()

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nA: ")
        while True:
            peer.send(b"x" * 65536)
    with Upstream(serve, quiet=True) as up:
        refused(through(d, up.port), 502, "BAD_GATEWAY")
