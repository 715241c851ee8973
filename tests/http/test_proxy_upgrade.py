"""The port proxy and other protocols than HTTP, and the daemon behind its own proxy."""

import asyncio
import json
import threading
import time

import pytest

from upstream import MIB, Upstream, echo, pump, refused, roomy, serving, simple, through
from wire import Closed


# ---- another protocol ----


def test_a_websocket_goes_through(shared):
    websockets = pytest.importorskip("websockets")

    async def run():
        async def handler(ws):
            async for m in ws:
                await ws.send(m)
        async with websockets.serve(handler, "127.0.0.1", 0, max_size=None, subprotocols=["p1"]) as server:
            port = server.sockets[0].getsockname()[1]
            host, own = shared.address
            url = f"ws://{host}:{own}/proxy/{port}/chat?x=%20"
            async with websockets.connect(url, max_size=None, subprotocols=["p1"]) as ws:
                assert ws.subprotocol == "p1"
                for m in ["text", b"\0\1", "x" * 100000, b"y" * 3000000]:
                    await ws.send(m)
                    assert await ws.recv() == m
                await (await ws.ping())
                await ws.close(4001, "bye")
                assert (ws.close_code, ws.close_reason) == (4001, "bye")
    asyncio.run(asyncio.wait_for(run(), 40))


UPGRADE = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "raw/1"), ("Sec-WebSocket-Version", "13")]
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw/1\r\nX-More: y\r\n\r\n"


def upgraded(d, port, early=b""):
    c = d.connect()
    c.send(c.head("GET", f"/proxy/{port}/", UPGRADE) + early)
    r = c.response_head()
    assert r.status == 101, r
    assert (r.all("upgrade"), r.all("connection"), r.all("x-more")) == (["raw/1"], ["Upgrade"], ["y"])
    assert r.field("content-length") is None and r.field("transfer-encoding") is None
    return c


def test_an_upgrade_passes_bytes_both_ways_and_their_ends(shared):
    def serve(peer):
        r = peer.request_head()
        assert r.all("connection") == ["Upgrade"] and r.all("upgrade") == ["raw/1"]
        peer.send(SWITCH + b"greeting")
        assert peer.exactly(5) == b"early"
        assert peer.until(b"\n") == b"line"
        assert peer.rest() == b"last"
        peer.send(b"after your end")
    with Upstream(serve) as up, upgraded(shared, up.port, b"early") as c:
        assert c.exactly(8) == b"greeting"
        c.send(b"line\nlast")
        c.half_close()
        assert c.rest() == b"after your end"


def test_the_end_of_the_server_reaches_the_client_first(shared):
    def serve(peer):
        peer.request_head()
        peer.send(SWITCH + b"bye")
        peer.half_close()
        assert peer.rest() == b"thanks"
    with Upstream(serve) as up, upgraded(shared, up.port) as c:
        assert c.rest() == b"bye"
        c.send(b"thanks")


def test_a_client_that_does_not_notice_the_end_of_the_server_is_dropped(boxd):
    d, gone = boxd(limits={"http_idle_ms": 400}), threading.Event()

    def serve(peer):
        peer.request_head()
        peer.send(SWITCH)
        peer.half_close()
        try:
            peer.exactly(100)
        except Closed:
            gone.set()
    with Upstream(serve) as up, upgraded(d, up.port) as c:
        assert c.rest() == b""
        for _ in range(4):  # longer than the limit, and never silent for so long
            time.sleep(0.2)
            c.send(b"x")
        assert not gone.is_set()
        assert gone.wait(10)


def test_an_upgraded_connection_carries_much_at_the_pace_of_its_reader(boxd):
    d, block = boxd(), b"z" * 65536

    def serve(peer):
        peer.request_head()
        peer.send(SWITCH)
        while data := peer.sock.recv(65536):
            peer.send(data)
    with Upstream(serve) as up, upgraded(d, up.port) as c:
        before = d.rss_kib()
        c.sock.settimeout(1)
        sent = pump(c.sock.send)
        assert sent < 40 * MIB and d.rss_kib() - before < roomy()
        c.sock.settimeout(20)
        got = 0
        while got < sent:
            got += len(c.some(1 << 20))
        c.send(block[:10])
        assert c.exactly(10) == block[:10]


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_on_one_side_ends_the_other(shared, who):
    ended, go = threading.Event(), threading.Event()

    def serve(peer):
        peer.request_head()
        peer.send(SWITCH)
        if who == "server":
            assert go.wait(10)
            peer.reset()
            return
        try:
            peer.exactly(1)
        except Closed:
            ended.set()
    with Upstream(serve) as up:
        c = upgraded(shared, up.port)
        if who == "client":
            c.reset()
            assert ended.wait(10)
        else:
            go.set()
            with pytest.raises(Closed):
                c.exactly(1)
            c.close()


def test_an_upgrade_that_is_refused_is_an_ordinary_answer(shared):
    with simple(b"no", status=400) as up, shared.connect() as c:
        r = through(shared, up.port, fields=UPGRADE, conn=c)
        assert (r.status, r.body) == (400, b"no")
        assert c.request("GET", "/ping").status == 200


@pytest.mark.parametrize("fields,body,version", [
    ([("Connection", "Upgrade")], None, "1.1"), ([("Upgrade", "x")], None, "1.1"),
    (UPGRADE, b"body", "1.1"), (UPGRADE, None, "1.0")])
def test_what_is_no_upgrade_is_not_passed_as_one(shared, echo, fields, body, version):
    assert through(shared, echo.port, "/", "POST", fields, body, version=version).status == 200
    assert echo.requests[-1].values("upgrade", "connection") == []


# ---- the own port ----


@pytest.fixture(scope="module")
def own(shared):
    return shared.address[1]


def test_the_own_port_is_dispatched_inside(shared, own):
    for suffix in ("/ping", "/ping/", "/ping?x"):
        assert through(shared, own, suffix).status == 200
    assert through(shared, own, "/ping", "HEAD").status == 200
    refused(through(shared, own, "/nothing"), 404, "NOT_FOUND")
    refused(through(shared, own), 404, "NOT_FOUND")
    refused(through(shared, own, ""), 404, "NOT_FOUND")
    refused(through(shared, own, "/command", "PATCH"), 405, "METHOD_NOT_ALLOWED")


def test_inside_there_is_no_connection(boxd):
    d = boxd()
    with d.connect() as c:
        assert c.request("GET", "/ping").status == 200
        before = d.fds()
        assert through(d, d.address[1], "/ping", conn=c).status == 200
        assert d.fds() == before


def test_the_own_port_streams_commands(shared, own):
    with shared.connect() as c:
        s = c.stream("POST", f"/proxy/{own}/command", [("Accept", "text/event-stream")],
                     {"command": "echo one; sleep 20"})
        ident = s.wait_for("init").text
        assert s.wait_for("stdout").text == "one"
        assert through(shared, own, f"/command/status/{ident}").json()["running"] is True
        assert through(shared, own, f"/command?id={ident}", "DELETE").status == 200


def test_the_own_port_takes_files_and_gives_them(shared, own):
    data = bytes(range(256)) * 4096
    form = (b"--B\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n"
            b"Content-Type: application/json\r\n\r\n" + json.dumps({"path": str(shared.root / "up.bin")}).encode() +
            b"\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"up.bin\"\r\n\r\n" + data +
            b"\r\n--B--\r\n")
    r = through(shared, own, "/files/upload", "POST", [("Content-Type", "multipart/form-data; boundary=B")], form)
    assert r.status == 200, r
    r = through(shared, own, f"/files/download?path={shared.root}/up.bin")
    assert r.status == 200 and r.body == data
    r = through(shared, own, f"/files/download?path={shared.root}/up.bin", fields=[("Range", "bytes=5-9")])
    assert r.status == 206 and r.body == data[5:10]


def test_the_own_port_answers_upgrades_as_if_asked_directly(shared, own):
    fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
              ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    direct = shared.get("/pty/none/ws", fields)
    inside = through(shared, own, "/pty/none/ws", fields=fields)
    assert (inside.status, inside.json()["code"]) == (direct.status, direct.json()["code"])


def test_the_proxy_does_not_lead_to_itself(shared, own, echo):
    for suffix in (f"/proxy/{own}/ping", f"/proxy/{own}", f"/proxy/{own}/proxy/{own}/ping"):
        refused(through(shared, own, suffix), 508, "LOOP_DETECTED")
    assert through(shared, own, f"/proxy/{echo.port}/x?y").body == b"/x?y", "another port is no loop"


def test_every_own_port_is_known(boxd):
    d = boxd(listen=["127.0.0.1:0", "[::1]:0", "unix:DIR/s"])
    for _, port in [a[:2] for a in d.addresses if not isinstance(a, str)]:
        assert through(d, port, "/ping").status == 200
        refused(through(d, port, f"/proxy/{port}/ping"), 508, "LOOP_DETECTED")


def test_the_own_port_needs_the_token_too(boxd):
    d = boxd(token="s3cret")
    port = d.address[1]
    with d.connect() as c:
        refused(c.request("GET", f"/proxy/{port}/ping"), 401, "UNAUTHORIZED")
        assert c.request("GET", f"/proxy/{port}/ping", d.auth([])).status == 200
        assert d.run("true").ok


def test_refusals_come_before_the_proxy(boxd, echo):
    d = boxd()
    refused(through(d, echo.port, fields=[("Origin", "http://evil.test")]), 403, "FORBIDDEN")
    refused(through(d, echo.port, fields=[("Sec-Fetch-Site", "cross-site")]), 403, "FORBIDDEN")
    assert echo.requests == []
