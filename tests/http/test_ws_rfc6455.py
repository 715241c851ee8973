"""RFC 6455 and RFC 7692 case by case, with the numbers the Autobahn testsuite gives them.

A case is what the client sends and what must come back. The client is ours (wsraw.py), because most
cases need one that breaks rules; then the python packages `websockets` and `wsproto` talk to the same
server as peers that nobody of us wrote.
"""

import asyncio
import os
import socket
import struct
import time
import zlib

import pytest

import wsecho
from wsraw import (BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, deflated, fragments, frame)

pytestmark = wsecho.needs_echo

MIB = 1 << 20
STAR = b"*"


@pytest.fixture(scope="module")
def echo(request):
    start, finish = wsecho.starter(request)
    yield start(limits={"ws_message_bytes": 16 * MIB, "ws_fragments": 1000000})
    finish()


# ---- what a case is made of ----


class Fail:
    """The server must fail the connection with this status."""

    def __init__(self, status=1002):
        self.status = status


class Closed:
    """The server must answer the closing handshake with this status; None: without one."""

    def __init__(self, status=1000):
        self.status = status


def text(payload, **kw):
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload, **kw)


def ping(payload=b"", **kw):
    return frame(PING, payload, **kw)


def cont(payload=b"", fin=True, **kw):
    return frame(CONT, payload.encode() if isinstance(payload, str) else payload, fin=fin, **kw)


BYE, END = close_frame(1000), Closed()


def run(echo, send, expect, chop=None, **kw):
    """Sends all, in writes of `chop` bytes (0: one for each frame), and checks all that comes."""
    with echo.ws(**kw) as ws:
        try:
            if chop is None:
                ws.put(*send)
            else:
                for piece in send:
                    ws.chopped(piece, chop or len(piece))
        except ConnectionError:
            pass  # it may be told, and cut, before it has said everything
        for e in expect:
            if isinstance(e, (Fail, Closed)):
                ws.expect_close(e.status)
            else:
                ws.expect(e)


def table(rows):
    """Rows (number, ...) as parameters that carry the number as their name."""
    return pytest.mark.parametrize("case", rows, ids=[r[0] for r in rows])


# ---- 1: framing ----

SIZES = [0, 125, 126, 127, 128, 65535, 65536]
FRAMING = [(f"1.{kind}.{i}", op, n, None) for kind, op in ((1, TEXT), (2, BINARY))
           for i, n in enumerate(SIZES, 1)]
FRAMING += [("1.1.8", TEXT, 65536, 997), ("1.2.8", BINARY, 65536, 997)]


@table(FRAMING)
def test_framing(echo, case):
    _, opcode, n, chop = case
    payload = STAR * n if opcode == TEXT else b"\xfe" * n
    run(echo, [frame(opcode, payload), BYE], [(opcode, payload), END], chop)


# ---- 2: pings and pongs ----

TEN = [b"payload-%d" % i for i in range(10)]
PINGS = [
    ("2.1", [ping()], [(PONG, b"")], None),
    ("2.2", [ping(b"Hello, world!")], [(PONG, b"Hello, world!")], None),
    ("2.3", [ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], None),
    ("2.4", [ping(b"\xfe" * 125)], [(PONG, b"\xfe" * 125)], None),
    ("2.5", [ping(b"\xfe" * 126)], [Fail()], None),
    ("2.6", [ping(b"\xfe" * 125)], [(PONG, b"\xfe" * 125)], 1),
    ("2.7", [frame(PONG)], [], None),
    ("2.8", [frame(PONG, b"unsolicited pong payload")], [], None),
    ("2.9", [frame(PONG, b"unsolicited"), ping(b"ping payload")], [(PONG, b"ping payload")], None),
    ("2.10", [ping(p) for p in TEN], [(PONG, p) for p in TEN], None),
    ("2.11", [ping(p) for p in TEN], [(PONG, p) for p in TEN], 1),
]


@table(PINGS)
def test_pings(echo, case):
    _, send, expect, chop = case
    failed = bool(expect) and isinstance(expect[-1], Fail)
    run(echo, send + [BYE], expect + ([] if failed else [END]), chop)


# ---- 3: reserved bits ----

HELLO = (TEXT, b"Hello, world!")
SAY = text("Hello, world!")
RESERVED = [
    ("3.1", [text("small text", rsv=1)], [Fail()], None),
    ("3.2", [SAY, text("small text", rsv=2), ping()], [HELLO, Fail()], None),
    ("3.3", [SAY, text("small text", rsv=3), ping()], [HELLO, Fail()], 0),
    ("3.4", [SAY, text("small text", rsv=4), ping()], [HELLO, Fail()], 1),
    ("3.5", [frame(BINARY, b"\x00\xff\xfe\xfd", rsv=5)], [Fail()], None),
    ("3.6", [ping(b"ping payload", rsv=6)], [Fail()], None),
    ("3.7", [frame(CLOSE, b"", rsv=7)], [Fail()], None),
]


@table(RESERVED)
def test_reserved_bits(echo, case):
    run(echo, *case[1:])


@table([(f"3 with deflate: {name} {rsv}", op, rsv, fin, first) for name, op, rsv, fin, first in (
    ("text", TEXT, 1, True, None), ("text", TEXT, 2, True, None), ("text", TEXT, 6, True, None),
    ("ping", PING, 4, True, None), ("pong", PONG, 4, True, None), ("close", CLOSE, 4, True, None),
    ("continuation", CONT, 4, True, TEXT), ("continuation", CONT, 4, False, TEXT))])
def test_reserved_bits_with_deflate(echo, case):
    _, opcode, rsv, fin, first = case
    lead = [frame(first, b"", fin=False)] if first else []
    run(echo, lead + [frame(opcode, b"", rsv=rsv, fin=fin)], [Fail()], offer="permessage-deflate")


# ---- 4: opcodes ----

def opcode_cases(group, opcodes):
    a, b, c, d, e = opcodes
    return [
        (f"4.{group}.1", [frame(a)], [Fail()], None),
        (f"4.{group}.2", [frame(b, b"reserved opcode payload")], [Fail()], None),
        (f"4.{group}.3", [SAY, frame(c), ping()], [HELLO, Fail()], None),
        (f"4.{group}.4", [SAY, frame(d, b"reserved opcode payload"), ping()], [HELLO, Fail()], None),
        (f"4.{group}.5", [SAY, frame(e, b"reserved opcode payload"), ping()], [HELLO, Fail()], 1),
    ]


@table(opcode_cases(1, range(3, 8)) + opcode_cases(2, range(11, 16)))
def test_reserved_opcodes(echo, case):
    run(echo, *case[1:])


# ---- 5: fragmentation ----

ONE, TWO = text("fragment1", fin=False), cont("fragment2")
BOTH = (TEXT, b"fragment1fragment2")
STRAY = "non-continuation payload"
FIVE = [text("fragment1", fin=False), cont("fragment2", False), ping(b"pongme 1!"),
        cont("fragment3", False), cont("fragment4", False), ping(b"pongme 2!"), cont("fragment5")]
FIVE_BACK = [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"),
             (TEXT, b"".join(b"fragment%d" % i for i in range(1, 6)))]
FRAGMENTS = [
    ("5.1", [ping(b"fragment1", fin=False), cont("fragment2")], [Fail()], None),
    ("5.2", [frame(PONG, b"fragment1", fin=False), cont("fragment2")], [Fail()], None),
    ("5.3", [ONE, TWO, BYE], [BOTH, END], None),
    ("5.4", [ONE, TWO, BYE], [BOTH, END], 0),
    ("5.5", [ONE, TWO, BYE], [BOTH, END], 1),
    ("5.6", [ONE, ping(b"ping payload"), TWO, BYE], [(PONG, b"ping payload"), BOTH, END], None),
    ("5.7", [ONE, ping(b"ping payload"), TWO, BYE], [(PONG, b"ping payload"), BOTH, END], 0),
    ("5.8", [ONE, ping(b"ping payload"), TWO, BYE], [(PONG, b"ping payload"), BOTH, END], 1),
    ("5.9", [cont(STRAY), SAY], [Fail()], None),
    ("5.10", [cont(STRAY), SAY], [Fail()], 0),
    ("5.11", [cont(STRAY), SAY], [Fail()], 1),
    ("5.12", [cont(STRAY, False), SAY], [Fail()], None),
    ("5.13", [cont(STRAY, False), SAY], [Fail()], 0),
    ("5.14", [cont(STRAY, False), SAY], [Fail()], 1),
    ("5.15", [ONE, TWO, cont("fragment3", False), text("fragment4")], [BOTH, Fail()], None),
    ("5.16", [cont("fragment1", False), text("fragment2", fin=False), cont("fragment3")] * 2, [Fail()], None),
    ("5.17", [cont("fragment1"), text("fragment2", fin=False), cont("fragment3")] * 2, [Fail()], None),
    ("5.18", [ONE, text("fragment2")], [Fail()], None),
    ("5.19", [*FIVE, BYE], [*FIVE_BACK, END], None),
    ("5.20", [*FIVE, BYE], [*FIVE_BACK, END], 0),
]


@table(FRAGMENTS)
def test_fragmentation(echo, case):
    run(echo, *case[1:])


# ---- 6: UTF-8 ----

KOSME = "κόσμε".encode()
UTF8 = {
    "6.5": [b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
            "日本語 テキスト".encode(), "\U0001f600\U0010ffff".encode(), b"\x7f\x00", KOSME],
    "6.6": [KOSME[:i] for i in range(1, len(KOSME) + 1)],
    "6.7": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.9": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"],
    "6.12": [b"\x80", b"\xbf"] + [(b"\x80\xbf" * 4)[:n] for n in range(2, 7)] + [bytes(range(0x80, 0xc0))],
    "6.13": [b"".join(bytes([b]) + b" " for b in r) for r in (
        range(0xc0, 0xe0), range(0xe0, 0xf0), range(0xf0, 0xf8), range(0xf8, 0xfc), range(0xfc, 0xfe))],
    "6.14": [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
             b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"],
    "6.15": [b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf"],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"],
    "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"],
    "6.20": [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"],
    "6.21": [hi + lo for hi in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
             for lo in (b"\xed\xb0\x80", b"\xed\xbf\xbf")],
    "6.22": [chr(plane << 16 | low).encode() for plane in range(17) for low in (0xfffe, 0xffff)],
    "6.23": [chr(c).encode() for c in (0xfff9, 0xfffa, 0xfffb, 0xfffc, 0xfffd, 0xfeff, 0x2028)],
}
UTF8_ROWS = [(f"{group}.{i}", data) for group, rows in UTF8.items() for i, data in enumerate(rows, 1)]


def is_text(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def octets(data):
    return fragments(TEXT, data, 1)


@table(UTF8_ROWS)
def test_utf8(echo, case):
    """Whole, in frames of one byte, and in packets of one byte; python's decoder says what is right."""
    data = case[1]
    good = [(TEXT, data), END]
    for send, chop in (([text(data)], None), (octets(data), None), ([text(data)], 1)):
        run(echo, send + [BYE], good if is_text(data) else [Fail(1007)], chop)


LONG = "Hello-µ@ßöäüàá-UTF-8!!".encode()
BAD = KOSME + b"\xed\xa0\x80edited"
UTF8_FRAMES = [
    ("6.1.1", [text(b"")], (TEXT, b"")),
    ("6.1.2", [text(b"", fin=False), cont(b"", False), cont(b"")], (TEXT, b"")),
    ("6.1.3", [text(b"", fin=False), cont(b"middle", False), cont(b"")], (TEXT, b"middle")),
    ("6.2.1", [text(LONG)], (TEXT, LONG)),
    ("6.2.2", fragments(TEXT, LONG, 8), (TEXT, LONG)),
    ("6.2.3", octets(LONG), (TEXT, LONG)),
    ("6.2.4", octets(KOSME), (TEXT, KOSME)),
    ("6.3.1", [text(BAD)], None),
    ("6.3.2", octets(BAD), None),
    ("6.3 ends in a character", [text(KOSME[:-1])], None),
    ("6.3 ends in a character, fragmented", octets(KOSME[:-1]), None),
    ("6.3 binary may be anything", [frame(BINARY, BAD)], (BINARY, BAD)),
    ("6.3 each message by itself", [text(KOSME[:-1], fin=False), cont(KOSME[-1:]), text(KOSME[-1:])], None),
]


@table(UTF8_FRAMES)
def test_utf8_in_frames(echo, case):
    name, send, expect = case
    if "itself" in name:
        run(echo, send, [(TEXT, KOSME), Fail(1007)])
    else:
        run(echo, send + [BYE], [expect, END] if expect else [Fail(1007)])


EARLY = [
    ("6.4.1", [text(KOSME, fin=False), cont(b"\xf4\x90\x80\x80", False)]),
    ("6.4.2", [text(KOSME + b"\xf4", fin=False), cont(b"\x90", False)]),
    ("6.4.3", [text(KOSME + b"\xf4\x90\x80\x80edited")[:-6]]),
    ("6.4.4", [text(KOSME + b"\xf4\x90\x80\x80edited")[:-8]]),
]


@table(EARLY)
def test_utf8_fails_before_the_rest_comes(echo, case):
    """Nothing more is sent, so only what has come can have told."""
    run(echo, case[1], [Fail(1007)])
    run(echo, case[1], [Fail(1007)], 1)


# ---- 7: closing ----

CLOSING = [
    ("7.1.1", [SAY, BYE], [HELLO, END]),
    ("7.1.2", [BYE, BYE], [END]),
    ("7.1.3", [BYE, ping()], [END]),
    ("7.1.4", [BYE, SAY], [END]),
    ("7.1.5", [ONE, BYE, TWO], [END]),
    ("7.1.6", [frame(TEXT, b"BAsd7&jh23" * 26215), BYE, ping()], [(TEXT, b"BAsd7&jh23" * 26215), END]),
    ("7.3.1", [close_frame()], [Closed(None)]),
    ("7.3.2", [frame(CLOSE, b"a")], [Fail()]),
    ("7.3.3", [close_frame(1000)], [END]),
    ("7.3.4", [close_frame(1000, b"Hello World!")], [END]),
    ("7.3.5", [close_frame(1000, b"*" * 123)], [END]),
    ("7.3.6", [close_frame(1000, b"*" * 124)], [Fail()]),
    ("7.5.1", [close_frame(1000, BAD)], [Fail(1007)]),
    ("7.5 cut in a character", [close_frame(1000, b"\xe2\x82")], [Fail(1007)]),
    ("7.5 euro", [close_frame(1000, "€".encode())], [END]),
]
CLOSING += [(f"7.7.{i}", [close_frame(c)], [Closed(c)]) for i, c in enumerate(
    (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999), 1)]
CLOSING += [(f"7.9.{i}", [close_frame(c)], [Fail()]) for i, c in enumerate(
    (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999), 1)]
CLOSING += [("7.13.1", [close_frame(5000)], [Fail()]), ("7.13.2", [close_frame(65535)], [Fail()])]


@table(CLOSING)
def test_closing(echo, case):
    run(echo, *case[1:])
    run(echo, *case[1:], chop=0)


def test_the_owner_hears_how_it_ended(request):
    """RFC 6455 7.1.5: the code of the peer's frame, 1005 without one, 1006 without a frame."""
    start, finish = wsecho.starter(request)
    for send, code in ((close_frame(4321), 4321), (close_frame(), 1005), (text("x", rsv=1), 1006),
                       (None, 1006)):
        d = start()
        with d.ws() as ws:
            if send:
                ws.put(send)
                ws.some(1)
        assert d.wait_log(rf"closed code={code}$"), f"{send}: not {code}"
    finish()


# ---- masks and lengths ----

LENGTHS = [
    ("5.1 no mask", [text("hello", key=None)]),
    ("5.1 no mask on a ping", [ping(b"hello", key=None)]),
    ("5.1 no mask on a close", [frame(CLOSE, b"\x03\xe8", key=None)]),
    ("5.2 5 in 16 bits", [text("hello", form=16)]),
    ("5.2 125 in 16 bits", [text(STAR * 125, form=16)]),
    ("5.2 5 in 64 bits", [text("hello", form=64)]),
    ("5.2 65535 in 64 bits", [text(STAR * 65535, form=64)]),
    ("5.2 64 bits", [text("", form=64, announce=1 << 63)]),
    ("5.2 all bits", [text("", form=64, announce=(1 << 64) - 1)]),
]


@table(LENGTHS)
def test_masks_and_lengths(echo, case):
    run(echo, case[1], [Fail()])
    run(echo, case[1], [Fail()], 1)


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01", b"abcd"])
def test_any_mask(echo, key):
    for n in (1, 3, 4, 7, 8, 31, 32, 33, 1000, 40001):
        data = os.urandom(n)
        run(echo, [frame(BINARY, data, key=key)], [(BINARY, data)], 997)


# ---- 9: limits and speed ----

BIG = [(f"9.{group}.{i}", op, n) for group, op in ((1, TEXT), (2, BINARY))
       for i, n in enumerate((65536, 262144, MIB, 4 * MIB), 1)]


@table(BIG)
def test_large_messages(echo, case):
    _, opcode, n = case
    data = (b"0123456789abcde\n" * (n // 16))
    run(echo, [frame(opcode, data), BYE], [(opcode, data), END])


FRAGMENTED = [(f"9.{group}.{i}", op, size) for group, op in ((3, TEXT), (4, BINARY))
              for i, size in enumerate((64, 256, 1024, 4096, 16384, 65536, 262144, MIB), 1)]


@table(FRAGMENTED)
def test_large_fragmented_messages(echo, case):
    _, opcode, size = case
    data = STAR * MIB
    run(echo, [b"".join(fragments(opcode, data, size)), BYE], [(opcode, data), END])


CHOPPED = [(f"9.{group}.{i}", op, size) for group, op in ((5, TEXT), (6, BINARY))
           for i, size in enumerate((64, 128, 256, 512, 1024, 2048), 1)]


@table(CHOPPED)
def test_large_chopped_messages(echo, case):
    _, opcode, size = case
    data = "ß".encode() * 65536
    run(echo, [frame(opcode, data), BYE], [(opcode, data), END], size)


ROUND_TRIPS = [(f"9.{group}.{i}", op, n) for group, op in ((7, TEXT), (8, BINARY))
               for i, n in enumerate((0, 16, 64, 256, 1024, 4096), 1)]


@table(ROUND_TRIPS)
def test_round_trips(echo, case):
    _, opcode, n = case
    one = frame(opcode, STAR * n)
    with echo.ws() as ws:
        for _ in range(300):
            ws.put(one)
            ws.expect((opcode, STAR * n))
        ws.put(*[one] * 300)
        ws.expect(*[(opcode, STAR * n)] * 300)
        ws.good_bye()


# ---- 10: messages that the sender cuts ----


@table([("10.1.1", 1300), ("10.1 in odd pieces", 997), ("10.1 in two", 65535)])
def test_automatic_fragmentation(echo, case):
    data = STAR * 65536
    run(echo, [*fragments(TEXT, data, case[1]), BYE], [(TEXT, data), END])


# ---- 12, 13: compression ----

PLAIN = {1: lambda n: (b'{"key": "value", "list": [1, 2, 3]}, ' * (n // 38 + 1))[:n],
         2: lambda n: os.urandom(n).hex().encode()[:n],
         3: lambda n: ("Grüße aus der Kiste, €100\n" * (n // 26 + 1)).encode()[:n].decode("utf-8", "ignore").encode(),
         4: lambda n: os.urandom(n),
         5: lambda n: bytes(n)}
SIZES_12 = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]
COMPRESSED = [(f"12.{group}.{i}", group, n, None) for group in PLAIN for i, n in enumerate(SIZES_12, 1)]
COMPRESSED += [(f"12.{group}.{i}", group, n, cut) for group in PLAIN for i, (n, cut) in enumerate(
    [(8192, 256), (16384, 256), (32768, 256), (65536, 256), (131072, 256), (8192, 1024),
     (131072, 1024), (131072, 32768)], 11)]


def exchange(ws, opcode, data, cut=None, count=5, bits=15):
    """Sends it compressed, and as often plain; what comes back may be either."""
    packed = deflated(data, bits)
    send = fragments(opcode, packed, cut, rsv=4) if cut else [frame(opcode, packed, rsv=4)]
    for _ in range(count):
        ws.put(*send)
        ws.expect((opcode, data))
        ws.put(frame(opcode, data))
        ws.expect((opcode, data))


@table(COMPRESSED)
def test_compression(echo, case):
    _, group, n, cut = case
    opcode = BINARY if group > 3 else TEXT
    with echo.ws(offer="permessage-deflate; client_max_window_bits") as ws:
        assert ws.compressed
        exchange(ws, opcode, PLAIN[group](n), cut)
        ws.good_bye()


def test_compression_is_used(echo):
    with echo.ws(offer="permessage-deflate") as ws:
        for n, packed in ((127, False), (128, True), (262144, True), (262145, False)):
            ws.say("a" * n)
            opcode, fin, rsv1, payload = ws.frame()
            assert (opcode, fin, rsv1) == (TEXT, True, packed), n
            assert len(payload) < n // 2 if packed else len(payload) == n
        ws.good_bye()


PMD = "permessage-deflate"
OFFERS = [
    ("13.1", PMD, True, 15),
    ("13.2", PMD + "; server_no_context_takeover", True, 15),
    ("13.3", PMD + "; server_max_window_bits=9", True, 9),
    ("13.4", PMD + "; server_max_window_bits=15", True, 15),
    ("13.5", PMD + "; server_no_context_takeover; server_max_window_bits=9", True, 9),
    ("13.6", PMD + "; server_no_context_takeover; server_max_window_bits=15", True, 15),
    ("13.7", PMD + "; server_max_window_bits=9; server_no_context_takeover, " + PMD +
     "; server_no_context_takeover, " + PMD, True, 9),
    ("13 the smallest window", PMD + "; server_max_window_bits=8", True, 8),
    ("13 all", PMD + "; client_no_context_takeover; server_no_context_takeover; "
     "client_max_window_bits=\"12\"; server_max_window_bits=\"12\"", True, 12),
    ("13 the second offer", PMD + "; server_max_window_bits=16, " + PMD, True, 15),
    ("13 unknown", PMD + "; x=y", False, 15),
    ("13 repeated", PMD + "; server_max_window_bits=9; server_max_window_bits=9", False, 15),
    ("13 no value", PMD + "; server_max_window_bits", False, 15),
    ("13 too small", PMD + "; client_max_window_bits=7", False, 15),
    ("13 another extension", "x-webkit-deflate-frame", False, 15),
]


@table(OFFERS)
def test_compression_parameters(echo, case):
    _, offer, agreed, window = case
    with echo.ws(offer=offer) as ws:
        assert (ws.compressed, ws.window) == (agreed, window)
        if agreed:
            for n in (16, 200, 256, 257, 1024, 32768, 131072):
                exchange(ws, TEXT, PLAIN[1](n), count=2, bits=max(window, 9))
        else:
            ws.put(text("plain"))
            ws.expect((TEXT, "plain"))
        ws.good_bye()


def test_compression_that_is_off_is_declined(request):
    start, finish = wsecho.starter(request)
    d = start(deflate=False)
    with d.ws(offer=PMD) as ws:
        assert not ws.compressed
        ws.put(frame(TEXT, deflated(b"x" * 200), rsv=4))
        ws.expect_close(1002)
    finish()


DAMAGED = [
    ("not deflate", [frame(BINARY, b"\xff" * 20, rsv=4)], 1007),
    ("cut", [frame(BINARY, deflated(b"some text, some text")[:-5], rsv=4)], 1007),
    ("cut, in fragments", fragments(BINARY, deflated(os.urandom(300))[:-1], 100, rsv=4), 1007),
    ("a window that is not there", [frame(BINARY, b"\x02\x02\x00", rsv=4)], 1007),
    ("the tail was left in", [frame(BINARY, deflated(b"hello") + b"\0\0\xff\xff\xff", rsv=4)], 1007),
    ("text that is not UTF-8", [frame(TEXT, deflated(b"abc\xff"), rsv=4)], 1007),
    ("text that ends in a character", [frame(TEXT, deflated(KOSME[:-1]), rsv=4)], 1007),
]


@table(DAMAGED)
def test_damaged_compression(echo, case):
    with echo.ws(offer=PMD) as ws:
        ws.put(frame(TEXT, deflated(b"good"), rsv=4), *case[1])
        ws.expect((TEXT, "good"))
        ws.expect_close(case[2])


def test_compressed_and_plain_messages_take_turns(echo):
    with echo.ws(offer=PMD) as ws:
        data = PLAIN[1](3000)
        packed = deflated(data)
        ws.put(frame(TEXT, packed[:10], fin=False, rsv=4), ping(b"between"), cont(packed[10:]),
               text("plain"), frame(BINARY, b"", rsv=4), frame(TEXT, b"\0", rsv=4),
               frame(BINARY, zlib.compress(data)[2:-4] + b"\0", rsv=4), ping(b"end"))
        ws.expect((PONG, b"between"), (TEXT, data), (TEXT, "plain"), (BINARY, b""), (TEXT, ""),
                  (BINARY, data), (PONG, b"end"))
        ws.good_bye()


# ---- the opening handshake ----

KEY = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
V13 = ("Sec-WebSocket-Version", "13")
UP, CONN = ("Upgrade", "websocket"), ("Connection", "Upgrade")
HANDSHAKES = [
    ("good", "GET", [UP, CONN, KEY, V13], 101),
    ("lists", "GET", [("Upgrade", "x, WebSocket"), ("Connection", "keep-alive, upgrade"), KEY, V13], 101),
    ("not one at all", "GET", [], 426),
    ("no Connection", "GET", [UP, KEY, V13], 426),
    ("POST", "POST", [UP, CONN, KEY, V13, ("Content-Length", "0")], 400),
    ("a body", "GET", [UP, CONN, KEY, V13, ("Content-Length", "5")], 400),
    ("version 8", "GET", [UP, CONN, KEY, ("Sec-WebSocket-Version", "8")], 400),
    ("no key", "GET", [UP, CONN, V13], 400),
    ("a short key", "GET", [UP, CONN, V13, ("Sec-WebSocket-Key", "c2hvcnQ=")], 400),
    ("bad extensions", "GET", [UP, CONN, KEY, V13, ("Sec-WebSocket-Extensions", "a;;b")], 400),
]


@table(HANDSHAKES)
def test_handshake(echo, case):
    _, method, fields, status = case
    with echo.connect() as c:
        c.send(c.head(method, "/", fields))
        r = c.response_head()
        assert r.status == status, r
        if status == 101:
            assert r.field("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        else:
            assert r.field("sec-websocket-accept") is None


def test_handshake_of_http_1_0(echo):
    with echo.connect() as c:
        c.send(c.head("GET", "/", [UP, CONN, KEY, V13], version="1.0"))
        assert c.response_head().status == 400


def test_frames_sent_with_the_handshake_are_not_lost(echo):
    """A client may not do so before the answer, but in one packet nobody can tell."""
    with echo.connect() as c:
        c.send(c.head("GET", "/", [UP, CONN, KEY, V13]) + text("early") + BYE)
        assert c.response_head().status == 101
        assert c.exactly(7) == b"\x81\x05early" and c.exactly(4) == b"\x88\x02\x03\xe8"
        c.at_end()


# ---- peers ----


def peer_messages():
    return ["", "hello", "Grüße €", "x" * 70000, b"", bytes(range(256)), os.urandom(300000),
            "abc" * 300000]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_websockets(echo, compression):
    import websockets

    async def talk():
        url = "ws://%s:%d/" % echo.address
        async with websockets.connect(url, compression=compression, max_size=None) as ws:
            assert bool(ws.extensions) == bool(compression)
            for m in peer_messages():
                await ws.send(m)
                assert await ws.recv() == m
            await ws.send(iter(["cut ", "in ", "three"]))
            assert await ws.recv() == "cut in three"
            await asyncio.wait_for(await ws.ping(b"are you there?"), 10)
            messages = [f"message {i} " + "y" * (i * 7 % 500) for i in range(500)]
            sender = asyncio.ensure_future(asyncio.gather(*[ws.send(m) for m in messages]))
            for m in messages:
                assert await ws.recv() == m
            await sender
            await ws.close(4000, "done")
            assert ws.close_code == 4000

    asyncio.run(talk())


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_websockets_with_small_windows(echo, bits):
    import websockets
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    async def talk():
        url = "ws://%s:%d/" % echo.address
        factory = ClientPerMessageDeflateFactory(server_max_window_bits=bits, client_max_window_bits=bits)
        async with websockets.connect(url, compression=None, extensions=[factory]) as ws:
            assert len(ws.extensions) == 1
            for _ in range(3):
                for n in (100, 1000, 100000):
                    m = "abcdefghijklmnopqrstuvwxyz" * (n // 26)
                    await ws.send(m)
                    assert await ws.recv() == m

    asyncio.run(talk())


class Wsproto:
    """wsproto on a socket."""

    def __init__(self, address, extensions):
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import AcceptConnection, Request
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.sock = socket.create_connection(address, 20)
        self.events = iter(())
        self.send(Request(host="localhost", target="/", extensions=extensions))
        self.accepted = self.next()
        assert isinstance(self.accepted, AcceptConnection), self.accepted

    def send(self, event):
        self.sock.sendall(self.ws.send(event))

    def next(self):
        while (event := next(self.events, None)) is None:
            data = self.sock.recv(65536)
            self.ws.receive_data(data or None)
            self.events = self.ws.events()
        return event

    def message(self):
        parts = []
        while True:
            event = self.next()
            parts.append(event.data)
            if event.message_finished:
                return parts[0][:0].join(parts)


@pytest.mark.parametrize("compression", [False, True])
def test_wsproto(echo, compression):
    from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
    from wsproto.extensions import PerMessageDeflate
    peer = Wsproto(echo.address, [PerMessageDeflate()] if compression else [])
    assert bool(peer.accepted.extensions) == compression
    for m in peer_messages():
        peer.send((TextMessage if isinstance(m, str) else BytesMessage)(data=m))
        assert peer.message() == m
    peer.send(TextMessage(data="one ", message_finished=False))
    peer.send(Ping(payload=b"now"))
    peer.send(TextMessage(data="message"))
    event = peer.next()
    assert isinstance(event, Pong) and bytes(event.payload) == b"now"
    assert peer.message() == "one message"
    peer.send(CloseConnection(code=1001, reason="leaving"))
    event = peer.next()
    assert isinstance(event, CloseConnection) and event.code == 1001
    assert peer.sock.recv(1) == b""
    peer.sock.close()


# ---- the connection object's own promises ----


@pytest.fixture
def fresh(request):
    """A server of the test's own."""
    start, finish = wsecho.starter(request)
    yield start
    finish()


def test_the_owner_closes(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.say("close 4001 TAKEN_OVER")
        ws.expect((CLOSE, struct.pack(">H", 4001) + b"TAKEN_OVER"))
        # What comes now means nothing, until the peer's close frame does.
        ws.put(text("ignored"), ONE, ping(b"ignored"), TWO, frame(BINARY, bytes(100000)), close_frame(1000))
        ws.at_end()
    assert d.wait_log("closed code=1000$")


def test_a_closing_connection_still_knows_its_protocol(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.say("close 1000 bye")
        ws.next()
        ws.put(text("no mask", key=None))
        ws.at_end()
    assert d.wait_log("closed code=1006$")


def test_nothing_is_judged_after_our_close_frame_but_its_framing(fresh):
    """Neither text nor size: a peer that has not seen the close frame yet did nothing wrong."""
    d = fresh(limits={"ws_message_bytes": 1000})
    with d.ws("/control") as ws:
        ws.put(text("close 1000 bye"), text(b"\xff" * 10), text(b"ab", fin=False), cont(b"\xff"),
               frame(BINARY, bytes(5000)))
        ws.expect((CLOSE, struct.pack(">H", 1000) + b"bye"))
        for b in text(b"\xff" * 100):
            ws.send(bytes([b]))
        ws.put(close_frame(1001))
        ws.at_end()
    assert d.wait_log("closed code=1001$")


def test_the_owner_drops_after_what_is_queued(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.say("flood 300000")
        ws.say("drop last words")
        got = b""
        while len(got) < 300000:
            got += ws.next()[1]
        assert got == bytes(300000)
        ws.expect((TEXT, "last words"))
        ws.at_end()
    assert d.wait_log("closed code=1006$")


def test_the_owner_frees_an_open_connection(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.say("cut")
        ws.expect_cut()


def test_back_pressure_both_ways(fresh):
    """A client that sends and reads nothing is not read either; later everything is there."""
    d = fresh()
    with d.ws(rcvbuf=4096) as ws:
        piece = frame(BINARY, bytes(1000) + b"end", key=b"\0\0\0\0")
        ws.sock.setblocking(False)
        sent, quiet = 0, time.monotonic()
        stream = piece * 20000
        while time.monotonic() - quiet < 0.5 and sent < len(stream):
            try:
                sent += ws.sock.send(stream[sent:sent + 65536])
                quiet = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < len(stream), "everything was taken"
        assert d.rss_kib() < 60000 or wsecho.helper.sanitized()
        whole = sent // len(piece)
        for _ in range(whole):
            ws.expect((BINARY, bytes(1000) + b"end"))


def test_a_source_pauses_when_the_output_is_full(fresh):
    d = fresh()
    n = 20 * MIB
    with d.ws("/control", rcvbuf=4096) as ws:
        ws.say(f"stream {n}")
        ws.sock.settimeout(0.3)
        time.sleep(0.3)
        assert d.rss_kib() < 40000 or wsecho.helper.sanitized()
        while n > 0:
            n -= len(ws.next()[1])
        assert n == 0


def test_a_paused_connection_is_not_read(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.put(text("pause 300"), text("first"), ping(b"second"), text("third"))
        ws.expect((TEXT, "resumed"), (TEXT, "first"), (PONG, "second"), (TEXT, "third"))
        ws.good_bye()


def test_a_paused_connection_can_be_closed(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        ws.put(text("pause ever"), text("never heard"))
        # SIGTERM closes all with 1001, and the peer's answer is read again.
        d.signal(15)
        ws.expect((CLOSE, struct.pack(">H", 1001)))
        ws.put(BYE)
        ws.at_end()
    assert d.wait() == 0
    assert d.wait_log("closed code=1000$")


def test_a_ping_flood_does_not_queue_pongs(fresh):
    """Nobody reads them: the queue fills once, and then only the last ping is remembered."""
    d = fresh(limits={"http_write_stall_ms": 60000})
    with d.ws(rcvbuf=4096) as ws:
        count, flood = 60000, bytearray()
        for i in range(count):
            flood += ping(b"%0125d" % i, key=b"\0\0\0\0")
        before = d.rss_kib()
        ws.send(flood)
        ws.send(text("and then"))
        assert d.rss_kib() - before < 4096 or wsecho.helper.sanitized()
        events = []
        while (TEXT, b"and then") not in events:
            events.append(ws.next())
        ws.put(ping(b"end"))
        while (PONG, b"end") not in events:
            events.append(ws.next())
        seen = [int(p) for op, p in events[:-1] if op == PONG]
        assert seen == sorted(seen) and seen[-1] == count - 1 and len(seen) < count // 2


def costs(ws):
    ws.say("costs")
    opcode, payload = ws.next()
    assert opcode == TEXT
    return [int(x) for x in payload.split()]


def test_a_small_message_costs_one_send_and_no_memory(fresh):
    d = fresh()
    with d.ws("/control") as ws:
        for _ in range(50):
            ws.say("warm")
            ws.next()
        before = costs(ws)
        for _ in range(200):
            ws.say("x")
            ws.expect((TEXT, "x"))
        after = costs(ws)
        assert after[0] - before[0] == 201, "calls of send(2)"
        assert after[1] - before[1] <= 2, "allocations"
        # All messages of one packet are answered in one call.
        before = costs(ws)
        ws.put(*[text("y")] * 100)
        ws.expect(*[(TEXT, "y")] * 100)
        after = costs(ws)
        assert after[0] - before[0] == 2
        ws.good_bye()


def test_memory_of_large_messages_is_given_back(fresh):
    d = fresh()
    peers = [d.ws() for _ in range(24)]
    data = STAR * MIB
    before = d.rss_kib()
    for ws in peers:
        ws.put(*fragments(TEXT, data, 100000))
        ws.expect((TEXT, data))
    assert d.rss_kib() - before < 12288 or wsecho.helper.sanitized()
    for ws in peers:
        ws.good_bye()
