"""The limits of WebSocket connections, at the limit and one past it, against tests/http/ws_echo.c."""

import struct
import time

import pytest

import wsecho
from wire import Late
from wsraw import (BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, deflated, fragments, frame)

pytestmark = wsecho.needs_echo


@pytest.fixture
def echo(request):
    start, finish = wsecho.starter(request)
    yield start
    finish()


OFFER = "permessage-deflate"
NOISE = bytes((i * i * 31 + i // 7) & 0xff for i in range(4096))


@pytest.mark.parametrize("limit", [125, 1000, 70000])
def test_ws_message_bytes(echo, limit):
    d = echo(limits={"ws_message_bytes": limit})
    fits, over = b"x" * limit, b"x" * (limit + 1)
    for send in ([frame(TEXT, fits)], fragments(TEXT, fits, limit // 3), fragments(TEXT, fits, limit)):
        with d.ws() as ws:
            ws.put(*send)
            ws.expect((TEXT, fits))
            ws.good_bye()
    for send in ([frame(TEXT, over)], fragments(TEXT, over, limit // 3), fragments(TEXT, over, limit)):
        with d.ws() as ws:
            ws.put(*send)
            ws.expect_close(1009)


@pytest.mark.parametrize("length", [1001, 65535, 65536, 1 << 40, (1 << 63) - 1])
def test_ws_message_bytes_is_refused_when_it_is_announced(echo, length):
    """Not one byte of the payload is waited for."""
    d = echo(limits={"ws_message_bytes": 1000})
    with d.ws() as ws:
        ws.put(frame(TEXT, b"", form=64 if length > 65535 else 16, announce=length))
        ws.expect_close(1009)
    with d.ws() as ws:
        ws.put(frame(TEXT, b"x" * 1000, fin=False), frame(CONT, b"", announce=1))
        ws.expect_close(1009)


def test_ws_message_bytes_bounds_what_is_decompressed(echo):
    d = echo(limits={"ws_message_bytes": 100000})
    with d.ws(offer=OFFER) as ws:
        ws.put(frame(BINARY, deflated(bytes(100000)), rsv=4))
        ws.expect((BINARY, bytes(100000)))
        ws.put(frame(BINARY, deflated(bytes(100001)), rsv=4))
        ws.expect_close(1009)
    bomb = deflated(bytes(64 << 20), level=9)
    assert len(bomb) < 100000
    with d.ws(offer=OFFER) as ws:
        before = d.rss_kib()
        ws.put(*fragments(BINARY, bomb, 30000, rsv=4))
        ws.expect_close(1009)
        assert d.rss_kib() - before < 8192 or wsecho.helper.sanitized()


def test_ws_message_bytes_counts_what_is_said_not_how(echo):
    """A message at the limit may be longer when it is compressed, because it does not shrink."""
    d = echo(limits={"ws_message_bytes": 4096})
    packed = deflated(NOISE, level=0)
    assert len(packed) > 4096
    with d.ws(offer=OFFER) as ws:
        ws.put(frame(BINARY, packed, rsv=4))
        ws.expect((BINARY, NOISE))
        # But not without end.
        ws.put(frame(BINARY, b"", rsv=4, form=16, announce=4096 + 4096 // 8 + 65))
        ws.expect_close(1009)


@pytest.mark.parametrize("limit", [1, 5, 300])
def test_ws_fragments(echo, limit):
    d = echo(limits={"ws_fragments": limit})

    def pieces(n):
        return [frame(TEXT if i == 0 else CONT, b"x" if i % 2 else b"", fin=i == n - 1) for i in range(n)]
    with d.ws() as ws:
        for _ in range(3):  # each message has the whole allowance; control frames cost nothing
            ws.put(*[f + frame(PONG) for f in pieces(limit)])
            ws.expect((TEXT, b"x" * (limit // 2)))
        ws.put(*pieces(limit + 1))
        ws.expect_close(1009)


def test_ws_ping_ms(echo):
    d = echo(limits={"ws_ping_ms": 100})
    with d.ws() as ws:
        begin = time.monotonic()
        for _ in range(6):
            ws.expect((PING, b""))
        assert 0.3 < time.monotonic() - begin < 5
        ws.good_bye()


def test_ws_idle_ms(echo):
    d = echo(limits={"ws_idle_ms": 400, "ws_ping_ms": 100})
    with d.ws() as ws:
        begin = time.monotonic()
        while time.monotonic() - begin < 1.2:  # a pong is a sign of life
            ws.expect((PING, b""))
            ws.put(frame(PONG))
        heard = time.monotonic()
        pings = 0
        with pytest.raises(AssertionError, match="closed"):
            while True:
                ws.expect((PING, b""))
                pings += 1
        assert 0.2 < time.monotonic() - heard < 3 and 1 <= pings <= 5
    assert d.wait_log("peer dropped reason=silent") and d.wait_log("closed code=1006")


def test_ws_idle_ms_counts_from_the_last_byte(echo):
    """Half a frame is a sign of life too, and any byte of it."""
    d = echo(limits={"ws_idle_ms": 800, "ws_ping_ms": 60000})
    with d.ws() as ws:
        data = frame(TEXT, b"slowly")
        for i in range(len(data)):
            ws.send(data[i:i + 1])
            time.sleep(0.1)
        ws.expect((TEXT, b"slowly"))
        begin = time.monotonic()
        ws.at_end()
        assert 0.4 < time.monotonic() - begin < 3


def test_ws_idle_ms_does_not_run_while_we_do_not_listen(echo):
    d = echo(limits={"ws_idle_ms": 400, "ws_ping_ms": 60000})
    with d.ws("/control") as ws:
        ws.put(frame(TEXT, b"pause 1000"))
        ws.expect((TEXT, b"resumed"))
        begin = time.monotonic()
        ws.put(frame(TEXT, b"still there"))
        ws.expect((TEXT, b"still there"))
        ws.at_end()
        assert 0.2 < time.monotonic() - begin < 3


def test_ws_close_ms(echo):
    d = echo(limits={"ws_close_ms": 600, "http_linger_ms": 0})
    with d.ws("/control") as ws:
        ws.put(frame(TEXT, b"close 1000 bye"))
        begin = time.monotonic()
        ws.expect((CLOSE, struct.pack(">H", 1000) + b"bye"))
        ws.put(frame(BINARY, b"means nothing"), frame(PING, b"neither"))
        ws.at_end()
        assert 0.3 < time.monotonic() - begin < 3
    assert d.wait_log("peer dropped reason=no-close") and d.wait_log("closed code=1006")
    with d.ws("/control") as ws:
        ws.put(frame(TEXT, b"close 1000 bye"))
        ws.expect((CLOSE, struct.pack(">H", 1000) + b"bye"))
        with pytest.raises(Late):
            ws.some(1, deadline=0.15)
        ws.put(close_frame(1000))
        ws.at_end()
    assert d.wait_log("closed code=1000")


def test_tunnel_in_bytes(echo):
    """What nobody takes stays in the socket: one that is paused holds little, however much comes."""
    d = echo(limits={"tunnel_in_bytes": 4096})
    with d.ws("/control") as ws:
        ws.put(frame(TEXT, b"pause 500"))
        before = d.rss_kib()
        ws.sock.settimeout(5)
        message = frame(BINARY, bytes(2000))
        ws.send(message * 1000)
        assert d.rss_kib() - before < 1024 or wsecho.helper.sanitized()
        ws.expect((TEXT, b"resumed"), *[(BINARY, bytes(2000))] * 1000)
        ws.good_bye()
