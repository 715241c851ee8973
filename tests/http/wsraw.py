"""A WebSocket client that reads strictly and writes whatever it is told, on wire.Conn.

What it reads is held to RFC 6455 and RFC 7692: no mask, lengths in their shortest form, reserved bits
only as negotiated, control frames whole and short, text that is UTF-8. Nothing stops it from sending
anything else.
"""

import base64
import hashlib
import os
import struct
import zlib

from wire import DEADLINE, Closed, Conn

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TAIL = b"\x00\x00\xff\xff"
KEY = b"\x37\xfa\x21\x3d"


def masked(payload, key=KEY):
    n = len(payload)
    if n == 0:
        return b""
    pad = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, key=KEY, form=None, announce=None):
    """
    The bytes of a client's frame. rsv: 4 is RSV1, 1 is RSV3; key None: not masked; form: 7, 16 or 64
    bits for the length, the shortest by default; announce: a length that need not be true.
    """
    n = len(payload) if announce is None else announce
    form = form or (7 if n < 126 else 16 if n < 65536 else 64)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask = 0x80 if key is not None else 0
    head = {7: lambda: struct.pack(">BB", first, mask | n),
            16: lambda: struct.pack(">BBH", first, mask | 126, n),
            64: lambda: struct.pack(">BBQ", first, mask | 127, n)}[form]()
    return head + (key + masked(payload, key) if key is not None else payload)


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def fragments(opcode, payload, size, rsv=0):
    """A message in frames of at most that many bytes."""
    pieces = [payload[i:i + size] for i in range(0, len(payload), size)] or [b""]
    last = len(pieces) - 1
    return [frame(opcode if i == 0 else CONT, p, fin=i == last, rsv=rsv if i == 0 else 0)
            for i, p in enumerate(pieces)]


def deflated(payload, bits=15, level=6):
    """A message compressed by itself."""
    c = zlib.compressobj(level, zlib.DEFLATED, -bits)
    out = c.compress(payload) + c.flush(zlib.Z_SYNC_FLUSH)
    assert out.endswith(TAIL)
    return out[:-4]


class Ws(Conn):
    """An open WebSocket; `compressed` when permessage-deflate was agreed upon."""

    def __init__(self, address, target="/", offer=None, fields=(), rcvbuf=None, deadline=DEADLINE):
        super().__init__(address, rcvbuf=rcvbuf, deadline=deadline)
        key = base64.b64encode(os.urandom(16))
        head = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", key.decode()), *fields]
        if offer:
            head.append(("Sec-WebSocket-Extensions", offer))
        try:
            self.send(self.head("GET", target, head))
            self.reply = r = self.response_head()
            assert r.status == 101 and r.reason == "Switching Protocols", r
            assert r.field("upgrade") == "websocket" and r.field("connection") == "Upgrade", r
            assert r.field("content-length") is None and r.field("transfer-encoding") is None, r
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            assert r.all("sec-websocket-accept") == [accept], r
            assert r.field("sec-websocket-protocol") is None, r
            self.window = 15
            self.compressed = self._extensions(r, offer)
        except BaseException:
            self.close()
            raise

    def _extensions(self, r, offer):
        answer = r.all("sec-websocket-extensions")
        if not answer:
            return False
        assert offer and len(answer) == 1, r
        name, *params = [p.strip() for p in answer[0].split(";")]
        assert name == "permessage-deflate", r
        assert params[:2] == ["server_no_context_takeover", "client_no_context_takeover"], r
        for p in params[2:]:
            k, _, v = p.partition("=")
            assert k == "server_max_window_bits", r
            self.window = int(v)
        return True

    # ---- sending ----

    def put(self, *frames):
        self.send(b"".join(frames))

    def chopped(self, data, size):
        """In writes of that many bytes, each a packet of its own."""
        for i in range(0, len(data), size):
            self.send(data[i:i + size])

    def say(self, payload, opcode=None):
        text = isinstance(payload, str)
        self.put(frame(opcode or (TEXT if text else BINARY), payload.encode() if text else payload))

    # ---- receiving ----

    def frame(self, deadline=None):
        """(opcode, fin, rsv1, payload)"""
        first, second = self.exactly(2, deadline)
        assert not second & 0x80, "a server's frame has no mask"
        assert not first & 0x30, "reserved bits"
        opcode, fin, rsv1, n = first & 15, bool(first & 0x80), bool(first & 0x40), second & 0x7f
        assert opcode in (CONT, TEXT, BINARY, CLOSE, PING, PONG), f"opcode {opcode}"
        if opcode >= CLOSE:
            assert fin and n < 126 and not rsv1, "a long or fragmented control frame"
        assert not rsv1 or self.compressed
        if n == 126:
            n = int.from_bytes(self.exactly(2, deadline), "big")
            assert n >= 126, "not the shortest length"
        elif n == 127:
            n = int.from_bytes(self.exactly(8, deadline), "big")
            assert n >= 65536, "not the shortest length"
        return opcode, fin, rsv1, self.exactly(n, deadline)

    def next(self, deadline=None):
        """The next message or control frame: (opcode, payload). Our server never fragments."""
        opcode, fin, rsv1, payload = self.frame(deadline)
        assert fin and opcode != CONT, "fragmented"
        if rsv1:
            d = zlib.decompressobj(-max(self.window, 9))
            payload = d.decompress(payload + TAIL)
            assert not d.unconsumed_tail and not d.eof
        if opcode == TEXT:
            payload.decode()
        if opcode == CLOSE and payload:
            assert len(payload) > 1
            payload[2:].decode()
        return opcode, payload

    def expect(self, *wanted):
        for opcode, payload in wanted:
            payload = payload.encode() if isinstance(payload, str) else payload
            got = self.next()
            assert got == (opcode, payload), (
                f"got {got[0]} {got[1][:80]!r} ({len(got[1])} bytes), "
                f"expected {opcode} {payload[:80]!r} ({len(payload)} bytes)")

    def expect_close(self, code):
        """A close frame with this code (None: without one), then the end of the connection."""
        opcode, payload = self.next()
        got = struct.unpack(">H", payload[:2])[0] if payload else None
        assert (opcode, got) == (CLOSE, code), f"got {opcode} {payload!r}, expected a close with {code}"
        self.at_end()
        return payload[2:].decode()

    def expect_cut(self):
        """The end of the connection, orderly or not, and no frame."""
        try:
            left = self.some(1)
        except Closed:
            return
        raise AssertionError(f"a byte was sent: {left!r}")

    def good_bye(self, code=1000):
        """The closing handshake from our side."""
        self.put(close_frame(code))
        self.expect_close(code)
        self.close()
