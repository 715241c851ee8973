"""The port proxy when much goes through, when one side breaks, and what it keeps."""

import hashlib
import socket
import threading
import time

import pytest

import procfs
from upstream import (MIB, Upstream, dead_port, echo, pump, receive, refused, roomy,
                      scripted, serving, simple, through)
from wire import Closed


# ---- volume ----


def test_50_mb_each_way_in_little_memory(boxd):
    d, block = boxd(), bytes(range(256)) * 256
    total = 50 * MIB
    digest = hashlib.sha256()

    def serve(peer):
        r = peer.request_head()
        h = hashlib.sha256()
        for piece in peer.pieces(r):
            h.update(piece)
        peer.send(b"HTTP/1.1 200 OK\r\nX-Digest: %b\r\n\r\n" % h.hexdigest().encode())
        for _ in range(total // len(block)):
            peer.send(block)
    for _ in range(total // len(block)):
        digest.update(block)
    with Upstream(serve) as up, d.connect(deadline=60) as c:
        c.deadline = 60
        through(d, dead_port())  # what is made once is there
        before = d.rss_kib()
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", str(total))]))
        for _ in range(total // len(block)):
            c.send(block)
        r = c.response_head()
        assert r.field("x-digest") == digest.hexdigest()
        got, peak = hashlib.sha256(), 0
        for i, piece in enumerate(c.pieces(r)):
            got.update(piece)
            if i % 100 == 0:
                peak = max(peak, d.rss_kib())
        assert got.hexdigest() == digest.hexdigest()
        assert peak - before < roomy(), f"{before} KiB before, {peak} KiB at the peak"


def test_a_reader_that_stops_stops_the_server(boxd):
    d, sent, go = boxd(), [], threading.Event()

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.sock.settimeout(1)
        sent.append(pump(peer.sock.send))
        go.set()
        peer.sock.settimeout(20)
        peer.send(b"the end")
    with Upstream(serve) as up, d.connect(rcvbuf=65536) as c:
        c.send(c.head("GET", f"/proxy/{up.port}/"))
        before = d.rss_kib()
        assert go.wait(30)
        assert sent[0] < 30 * MIB and d.rss_kib() - before < roomy()
        r = receive(c)
        assert len(r.body) == sent[0] + 7 and r.body.endswith(b"the end")
        assert d.get("/ping").status == 200


def test_a_server_that_does_not_read_stops_the_client(boxd):
    d, go = boxd(), threading.Event()

    def serve(peer):
        r = peer.request_head()
        assert go.wait(30)
        n = sum(len(x) for x in peer.pieces(r))
        peer.answer(str(n).encode())
    with Upstream(serve) as up, d.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Transfer-Encoding", "chunked")]))
        before = d.rss_kib()
        c.sock.settimeout(1)
        block = b"%x\r\n%b\r\n" % (65536, b"y" * 65536)
        total, rest = 0, b""
        while total < 400 * MIB:
            try:
                n = c.sock.send(rest or block)
            except socket.timeout:
                break
            rest = (rest or block)[n:]
            total += n
        assert total < 30 * MIB and d.rss_kib() - before < roomy()
        assert d.get("/ping").status == 200
        go.set()
        c.send(rest + b"0\r\n\r\n")
        assert int(receive(c).body) > total - 2 * 65536 - total // 65536 * 16


# ---- failures ----


def test_a_dead_port(shared):
    assert "refused" in refused(through(shared, dead_port()), 502, "BAD_GATEWAY").lower()
    assert through(shared, dead_port(), "/", "HEAD").status == 502


def test_a_server_on_ipv6_alone_is_found(shared):
    def serve(peer):
        peer.read()
        peer.answer(b"six", fields=[("Connection", "close")])
    with Upstream(serve, host="::1") as up:
        assert through(shared, up.port).body == b"six"
        assert through(shared, up.port, "/", "POST", body=b"b").body == b"six"


GARBAGE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\n\r\n",
    "http 2": b"HTTP/2.0 200 OK\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nabc\r\n\r\n",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
    "switching unasked": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "endless interim": b"HTTP/1.1 102 X\r\n\r\n" * 40,
    "Connection names too much": b"HTTP/1.1 200 OK\r\nConnection: %b\r\n\r\n" % b",".join(b"a%d" % i for i in range(33)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_a_bad_gateway(shared, name):
    with scripted(GARBAGE[name]) as up, shared.connect() as c:
        r = through(shared, up.port, conn=c)
        assert refused(r, 502, "BAD_GATEWAY").startswith(f"port {up.port}: ")
        assert c.request("GET", "/ping").status == 200


@pytest.mark.parametrize("name,answer", [
    ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
    ("no body at all", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
    ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ("in a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"),
    ("bad chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n"),
    ("large trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 20000 + b"\r\n\r\n"),
])
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(shared, name, answer):
    with scripted(answer) as up, pytest.raises(Closed):
        through(shared, up.port)


def test_a_reset_in_a_body_until_close_is_no_end(shared):
    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        assert arrived.wait(10)
        peer.reset()
    arrived = threading.Event()
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("GET", f"/proxy/{up.port}/"))
        r = c.response_head()
        pieces = c.chunks(response=r)
        assert next(pieces) == b"hello"
        arrived.set()
        with pytest.raises(Closed):
            next(pieces)


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("when", ["before the head", "in the body", "in the request"])
def test_a_client_that_leaves_ends_the_connection_to_the_server(shared, leave, when):
    gone, began = threading.Event(), threading.Event()

    def serve(peer):
        r = peer.request_head()
        if when == "in the body":
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        began.set()
        try:
            peer.exactly(1000)
        except Closed:
            gone.set()
        assert r.method == "POST"
    with Upstream(serve) as up:
        c = shared.connect()
        if when == "in the request":
            c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", "2000")]) + b"abc")
        else:
            c.send(c.head("POST", f"/proxy/{up.port}/"))
        assert began.wait(10)
        if when == "in the body":
            c.until(b"hello\r\n")
        c.close() if leave == "close" else c.reset()
        assert gone.wait(10), "the server still waits"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_has_ended_its_side_gets_its_answer(shared, version):
    half = threading.Event()

    def serve(peer):
        peer.read()
        assert half.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        peer.send(b"second")
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("GET", f"/proxy/{up.port}/", version=version))
        c.half_close()
        half.set()
        r = c.response_head()
        if r.status == 100:  # the daemon looks whether there is still somebody
            r = c.response_head()
        assert b"".join(c.pieces(r)) == b"firstsecond"


def test_a_client_that_ends_its_side_in_the_middle_gets_the_rest(shared):
    half = threading.Event()

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        assert half.wait(10)
        peer.send(b"second")
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("GET", f"/proxy/{up.port}/"))
        r = c.response_head()
        pieces = c.chunks(response=r)
        assert next(pieces) == b"first"
        c.half_close()
        assert procfs.wait_until(lambda: b"0" in c.sock.recv(1, socket.MSG_PEEK)), "the probe"
        half.set()
        assert b"".join(pieces) == b"second"


def test_a_client_that_may_have_gone_is_not_waited_for_while_the_server_is_silent(boxd):
    """Within a body of known length nothing can be written to find out."""
    d, gone = boxd(limits={"http_write_stall_ms": 300}), threading.Event()

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        try:
            peer.exactly(1)
        except Closed:
            gone.set()
    with Upstream(serve) as up, d.connect() as c:
        c.send(c.head("GET", f"/proxy/{up.port}/"))
        c.until(b"first")
        c.half_close()
        assert gone.wait(10)


def test_an_early_answer_is_passed_on_and_ends_the_upload(shared):
    def serve(peer):
        peer.request_head()
        peer.answer(b"no", status=413)
        peer.half_close()
        try:
            while peer.some(65536):
                pass
        except Closed:
            pass
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", str(100 * MIB))]) + b"x" * 10000)
        r = receive(c)
        assert (r.status, r.body, r.field("connection")) == (413, b"no", "close")
    assert shared.get("/ping").status == 200


def test_an_answer_that_a_closing_server_left_behind_is_found(shared):
    """The server answers and closes with input unread: its reset must not hide the answer."""
    def serve(peer):
        peer.sock.recv(10, socket.MSG_PEEK)
        peer.answer(b"no", status=413)
        peer.half_close()
        time.sleep(0.2)
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", str(4 * MIB))]))
        c.sock.settimeout(5)
        r = receive(c)
        assert (r.status, r.body) == (413, b"no")


def test_both_bodies_go_at_once(shared):
    """A server that answers while it reads: each piece comes back before the next is sent."""
    def serve(peer):
        r = peer.request_head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in peer.chunks(response=r):
            peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        peer.send(b"0\r\n\r\n")
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Transfer-Encoding", "chunked")]))
        r = c.response_head()
        pieces = c.chunks(response=r)
        for i in range(20):
            c.send(b"3\r\n%03d\r\n" % i)
            assert next(pieces) == b"%03d" % i
        c.send(b"0\r\n\r\n")
        assert list(pieces) == []


def test_requests_behind_each_other_are_answered_in_order(shared, echo):
    with shared.connect() as c:
        c.send(b"".join(c.head("POST", f"/proxy/{echo.port}/{i}", body=b"b" * i) for i in range(20)) +
               c.head("GET", "/ping"))
        for i in range(20):
            assert receive(c).body == b"/%d" % i
        assert c.response().status == 200


def test_shutdown_with_exchanges_open(boxd):
    d, began = boxd(limits={"shutdown_flush_ms": 100}), threading.Event()

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        began.set()
        peer.rest()
    with Upstream(serve, quiet=True) as up, simple() as kept, d.connect() as c:
        assert through(d, kept.port).body == b"ok"
        c.send(c.head("GET", f"/proxy/{up.port}/"))
        assert began.wait(10)
        d.stop()


# ---- kept connections ----


def test_one_connection_serves_many_requests(boxd):
    d = boxd()
    with serving(lambda peer, r: peer.answer(r.body or b"none")) as up:
        with d.connect() as c:
            for i in range(10):
                assert through(d, up.port, f"/{i}", conn=c).body == b"none"
        assert through(d, up.port, "/", "POST", body=b"from another client").body == b"from another client"
        assert through(d, up.port, "/", "HEAD").status == 200
        assert up.accepted == 1


def test_connections_to_one_port_do_not_serve_another(boxd):
    d = boxd()
    with simple(b"a") as a, simple(b"b") as b:
        for _ in range(3):
            assert through(d, a.port).body == b"a"
            assert through(d, b.port).body == b"b"
        assert (a.accepted, b.accepted) == (1, 1)


NOT_KEPT = {
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    "surplus": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    "204 with a body": b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_cannot_be_kept_is_not(boxd, name):
    d = boxd()

    def serve(peer):
        peer.read()
        peer.send(NOT_KEPT[name])
        try:
            assert peer.rest() == b""
        except AssertionError as e:
            assert "lost" in str(e), e
    with Upstream(serve) as up:
        for _ in range(2):
            r = through(d, up.port)
            assert r.body in (b"x", b"")
        assert up.accepted == 2


def test_bytes_between_two_exchanges_end_the_connection(boxd):
    d, poison, closed = boxd(), threading.Event(), threading.Event()

    def serve(peer):
        peer.read()
        peer.answer(b"1")
        assert poison.wait(10)
        poison.clear()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        try:
            peer.exactly(1)
        except Closed:
            closed.set()
    with Upstream(serve, quiet=True) as up:
        assert through(d, up.port).body == b"1"
        poison.set()
        assert closed.wait(10)
        assert through(d, up.port).body == b"1"
        poison.set()


def test_a_connection_that_the_server_closed_is_not_used(boxd):
    d, go = boxd(), threading.Event()

    def serve(peer):
        peer.read()
        peer.answer(b"x")
        go.wait(10)
        go.clear()
    with Upstream(serve) as up:
        for i in range(4):
            method = ["GET", "POST", "GET", "PATCH"][i]
            assert through(d, up.port, "/", method, body=b"b" if method == "POST" else None).body == b"x"
            assert up.accepted == i + 1
            n = d.fds()
            go.set()
            procfs.wait_until(lambda: len(d.fds()) < len(n))


def test_a_connection_that_closes_under_a_request_is_tried_anew(boxd):
    """The server closes when it has the second request: whoever may be repeated is, the others are not."""
    for method, body, expected in [("GET", None, 200), ("DELETE", None, 200), ("PUT", b"x", 502), ("POST", None, 502)]:
        d, n = boxd(), []

        def serve(peer):
            peer.read()
            n.append(1)
            peer.answer(b"x")
            peer.request_head()
            n.append(2)
            peer.exactly(len(body or b""))
        with Upstream(serve, quiet=True) as up:
            assert through(d, up.port).status == 200
            r = through(d, up.port, "/", method, body=body)
            assert r.status == expected, (method, r)
            assert n == ([1, 2, 1] if expected == 200 else [1, 2]), method
            assert up.accepted == (2 if expected == 200 else 1), method
            d.stop()


def test_a_new_connection_is_not_tried_twice(shared):
    with scripted(b"") as up:
        refused(through(shared, up.port), 502, "BAD_GATEWAY")
        assert up.accepted == 1


def test_descriptors_come_back(boxd, echo):
    d = boxd(limits={"proxy_idle_count": 0})
    before = len(d.fds())
    for _ in range(50):
        assert through(d, echo.port).status == 200
        refused(through(d, dead_port()), 502, "BAD_GATEWAY")
    procfs.wait_until(lambda: len(d.fds()) == before)
