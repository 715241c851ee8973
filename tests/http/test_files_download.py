"""GET /files/download: all of a file, parts of it, or the news that it has not changed (contract 1.15)."""

import email.utils
import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from files import (AS_ROOT, NOBODY, at, download, found, grep, info, listing, noise, ok, put,
                   refused, special, top, write)
from wire import Closed


def both(name):
    """The header of a name beyond ASCII."""
    return f"attachment; filename=\"{quote(name)}\"; filename*=UTF-8''{quote(name)}"


NAMES = {
    "test.txt": 'attachment; filename="test.txt"',
    "my document.pdf": 'attachment; filename="my document.pdf"',
    "测试.txt": both("测试.txt"),
    "テスト.txt": both("テスト.txt"),
    "report_报告_2024.pdf": both("report_报告_2024.pdf"),
    'quo"te.txt': 'attachment; filename="quo\\"te.txt"',
    "back\\slash": 'attachment; filename="back\\\\slash"',
    "semi;colon, comma": 'attachment; filename="semi;colon, comma"',
}


# ---- all of it ----


@pytest.mark.parametrize("size", [0, 1, 4096, 65535, 65536, 65537, 1 << 20, 20 << 20])
def test_the_bytes_are_those_of_the_file(shared, top, size):
    data = noise(size)
    path = write(top / "f", data)
    with shared.connect() as c:
        for _ in range(2):
            r = ok(download(c, path))
            assert r.body == data and r.field("content-length") == str(size)
        head = ok(download(c, path, method="HEAD"))
        assert head.body == b"" and c.request("GET", "/ping").status == 200
        for name in ("content-type", "content-length", "content-disposition", "last-modified", "etag",
                     "accept-ranges"):
            assert head.field(name) == r.field(name) and r.field(name), name
    assert (r.field("content-type"), r.field("accept-ranges")) == ("application/octet-stream", "bytes")
    assert email.utils.parsedate_to_datetime(r.field("last-modified")).timestamp() == int(path.stat().st_mtime)
    assert r.field("etag") == ok(info(shared, path)).json()[str(path)]["etag"]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_told(shared, top, name):
    r = ok(download(shared, write(top / name, "x")))
    assert r.field("content-disposition") == NAMES[name]


@pytest.mark.parametrize("name", [b"a\nb", b"a\r\nX-Evil: 1", b"\x01\x7f", b"bad\xff",
                                  b"\xe4\xb8\xad\"\n", b"\xc2\x85"])
def test_odd_names_cannot_break_the_head(shared, top, name):
    raw = os.fsencode(top) + b"/" + name
    write(os.fsdecode(raw), "x")
    r = ok(download(shared, raw))
    assert r.body == b"x" and r.field("x-evil") is None
    assert re.match(r"""^attachment; filename="(?:[^"\\\x00-\x1f\x7f-\xff]|\\.)*"(; filename\*=UTF-8''[!-~]+)?$""",
                    r.field("content-disposition")), r


def test_links_are_followed(shared, top):
    write(top / "real/f", "data")
    os.symlink("real/f", top / "link")
    os.symlink("link", top / "again")
    r = ok(download(shared, top / "again"))
    assert r.body == b"data" and 'filename="again"' in r.field("content-disposition")


def test_what_is_no_file_is_refused_at_once(shared, top):
    for target in ("/files/download", "/files/download?path=", "/files/download?offset=1",
                   "/files/download?x=path"):
        refused(shared.get(target), 400, "MISSING_QUERY")
    refused(download(shared, top / "gone"), 404, "FILE_NOT_FOUND")
    refused(download(shared, write(top / "f") / "below"), 404, "FILE_NOT_FOUND")
    os.symlink("nowhere", top / "dangling")
    refused(download(shared, top / "dangling"), 404, "FILE_NOT_FOUND")
    os.symlink("loop", top / "loop")
    refused(download(shared, top / "loop"), 400, "INVALID_PATH")
    for kind in ["fifo", "socket"] + ["device"] * (os.geteuid() == 0):
        special(top / kind, kind)
        refused(download(shared, top / kind), 400, "INVALID_REQUEST_BODY")
        assert download(shared, top / kind, method="HEAD").status == 400
    refused(download(shared, top), 400, "INVALID_REQUEST_BODY")
    refused(download(shared, str(top) + "/", [("Range", "bytes=0-1")]), 400, "INVALID_REQUEST_BODY")


@AS_ROOT
def test_what_may_not_be_read_is_not_sent(shared, top):
    path = write(top / "f", "secret", 0o600)
    refused(download(shared, path, uid=NOBODY), 403, "PERMISSION_DENIED")
    os.chown(path, NOBODY, 0)
    assert ok(download(shared, path, uid=NOBODY)).body == b"secret"


def test_content_is_never_packed(shared, top):
    data = b"x" * 100_000
    r = ok(download(shared, write(top / "f", data), [("Accept-Encoding", "gzip")]))
    assert r.field("content-encoding") is None and r.body == data


def test_old_clients_are_served(shared, top):
    path = write(top / "f", noise(100_000))
    with shared.connect() as c:
        r = ok(c.request("GET", at("/files/download", path), version="1.0"))
        assert r.body == noise(100_000) and c.at_end()


def test_many_downloads_in_a_row_share_their_connection(shared, top):
    paths = [write(top / f"{i}", noise(i * 777, i)) for i in range(20)]
    with shared.connect() as c:
        c.send(b"".join(c.head("GET", at("/files/download", p)) for p in paths))
        for i in range(20):
            assert ok(c.response()).body == noise(i * 777, i)


# ---- ranges ----

DATA = bytes(range(256)) * 4  # 1024 bytes
SINGLE = {
    "0-9": (0, 9), "0-0": (0, 0), "1023-1023": (1023, 1023), "10-": (10, 1023),
    "1000-5000": (1000, 1023), "-1": (1023, 1023),
    "-24": (1000, 1023), "-5000": (0, 1023), "0-": (0, 1023), "0-1023": (0, 1023), " 5-6": (5, 6),
    "5-6 ": (5, 6), "5-6,": (5, 6),
    "2000-,7-8": (7, 8), "0-9999999999999999999": (0, 1023), "007-009": (7, 9),
}
PIECES = {
    "0-1,4-5": [(0, 1), (4, 5)], "4-5,0-1": [(4, 5), (0, 1)], "0-0 , -1": [(0, 0), (1023, 1023)],
    "0-1,5000-,8-9": [(0, 1), (8, 9)], "0-5,3-8": [(0, 5), (3, 8)], ",0-1,,2-3": [(0, 1), (2, 3)],
}


@pytest.fixture(scope="module")
def ranged(shared):
    path = write(shared.root / "ranged.bin", DATA)
    return lambda value, fields=(), who=shared: download(who, path, [("Range", value), *fields])


@pytest.mark.parametrize("spec", SINGLE)
def test_one_range(ranged, spec):
    first, last = SINGLE[spec]
    r = ok(ranged("bytes=" + spec), 206)
    assert r.body == DATA[first:last + 1] and r.field("content-range") == f"bytes {first}-{last}/1024"
    assert r.field("content-type") == "application/octet-stream"
    assert r.field("etag") and r.field("last-modified")


@pytest.mark.parametrize("spec", PIECES)
def test_several_ranges(ranged, spec):
    r = ok(ranged("bytes=" + spec), 206)
    m = re.match(r'^multipart/byteranges; boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?$',
                 r.field("content-type"))
    assert m and r.field("content-range") is None and int(r.field("content-length")) == len(r.body), r
    edge = b"--" + m[1].encode()
    pieces = (b"\r\n" + r.body).split(b"\r\n" + edge)
    assert pieces[0] == b"" and pieces[-1].strip(b"\r\n") == b"--"
    got = []
    for piece in pieces[1:-1]:
        head, data = piece.split(b"\r\n\r\n", 1)
        fields = dict(x.split(b": ", 1) for x in head.lower().split(b"\r\n")[1:])
        assert fields[b"content-type"] == b"application/octet-stream"
        first, last = map(int, re.match(rb"^bytes (\d+)-(\d+)/1024$", fields[b"content-range"]).groups())
        assert data == DATA[first:last + 1]
        got.append((first, last))
    assert got == PIECES[spec]


@pytest.mark.parametrize("value", ["bytes=", "bytes=a-b", "bytes=5-2", "bytes=-", "bytes=1",
                                   "bytes=1-2,x", "bytes=--5", "bytes=1--2",
                                   "bytes=+1-2", "bytes=1-2-3", "bytes=0x1-2", "bytes=1.0-2", "bytes=,",
                                   "bytes=1 -2", "bytes=1-2;3-4"])
def test_malformed_ranges(ranged, value):
    refused(ranged(value), 416, "UNKNOWN")


@pytest.mark.parametrize("value", ["bytes=1024-", "bytes=5000-6000", "bytes=-0", "bytes=1024-,2000-3000",
                                   "bytes=9999999999999999999-"])
def test_ranges_outside_the_file(ranged, value):
    r = ranged(value)
    refused(r, 416, "RANGE_NOT_SATISFIABLE")
    assert r.field("content-range") == "bytes */1024" and r.field("content-disposition") is None


@pytest.mark.parametrize("value", ["items=0-1", "lines=1-2", "0-1", "bytes 0-1", "",
                                   "bytes=" + ",".join(["0-1"] * 33), "bytes=0-,0-",
                                   "bytes=0-600,0-600", "bytes=" + "0-" + ",0-" * 1000])
def test_ranges_that_do_not_count(ranged, value):
    assert ok(ranged(value)).body == DATA


def test_an_empty_file_has_no_ranges(shared, top):
    path = write(top / "empty")
    for value in ("bytes=0-", "bytes=0-0", "bytes=-5"):
        r = download(shared, path, [("Range", value)])
        assert (r.status, r.body) == (200, b""), r


def test_ranges_of_a_file_larger_than_memory(shared, top):
    path = write(top / "sparse")
    with open(path, "r+b") as f:
        for where in (0, 2**31 - 2, 2**32 - 2, 2**40 - 4):
            f.seek(where)
            f.write(b"MARK")
    for where in (0, 2**31 - 2, 2**32 - 2, 2**40 - 4):
        r = ok(download(shared, path, [("Range", f"bytes={where}-{where + 3}")]), 206)
        assert r.body == b"MARK" and r.field("content-range") == f"bytes {where}-{where + 3}/{2**40}"
    assert ok(download(shared, path, [("Range", "bytes=-4")]), 206).body == b"MARK"
    assert download(shared, path, method="HEAD").field("content-length") == str(2**40)


# ---- conditions ----

PAST, FUTURE = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.fixture(scope="module")
def tagged(shared):
    """A file with its tag and date: a function that asks under conditions."""
    path = write(shared.root / "tagged.txt", DATA)
    os.utime(path, ns=(10**18, 10**18 + 5))
    r = ok(download(shared, path))
    words = {"TAG": r.field("etag"), "DATE": r.field("last-modified"), "PAST": PAST, "FUTURE": FUTURE}

    def ask(conditions, **kw):
        fields = [(n, re.sub("TAG|DATE|PAST|FUTURE", lambda m: words[m[0]], v)) for n, v in conditions]
        return download(shared, path, fields, **kw)
    return ask


CONDITIONS = [
    ([("If-None-Match", "TAG")], 304), ([("If-None-Match", 'W/TAG')], 304),
    ([("If-None-Match", '"x", TAG')], 304),
    ([("If-None-Match", "*")], 304), ([("If-None-Match", '"x"')], 200), ([("If-None-Match", "nonsense")], 200),
    ([("If-Modified-Since", "DATE")], 304), ([("If-Modified-Since", "FUTURE")], 304),
    ([("If-Modified-Since", "PAST")], 200),
    ([("If-Modified-Since", "yesterday")], 200),
    ([("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")], 200),
    ([("If-None-Match", '"x"'), ("If-Modified-Since", "DATE")], 200),
    ([("If-None-Match", "TAG"), ("If-Modified-Since", "PAST")], 304),
    ([("If-Match", "TAG")], 200), ([("If-Match", '"x", TAG')], 200), ([("If-Match", "*")], 200),
    ([("If-Match", '"x"')], 412),
    ([("If-Match", "W/TAG")], 412), ([("If-Match", "nonsense")], 412),
    ([("If-Unmodified-Since", "DATE")], 200), ([("If-Unmodified-Since", "PAST")], 412),
    ([("If-Unmodified-Since", "FUTURE")], 200),
    ([("If-Unmodified-Since", "tomorrow")], 200), ([("If-Match", "TAG"), ("If-Unmodified-Since", "PAST")], 200),
    ([("If-Match", '"x"'), ("If-None-Match", "TAG")], 412),
    ([("If-Match", "TAG"), ("If-None-Match", "TAG")], 304),
    ([("Range", "bytes=0-1"), ("If-Range", "TAG")], 206), ([("Range", "bytes=0-1"), ("If-Range", '"x"')], 200),
    ([("Range", "bytes=0-1"), ("If-Range", "W/TAG")], 200),
    ([("Range", "bytes=0-1"), ("If-Range", "DATE")], 206),
    ([("Range", "bytes=0-1"), ("If-Range", "PAST")], 200),
    ([("Range", "bytes=0-1"), ("If-Range", "nonsense")], 200),
    ([("If-Range", "TAG")], 200), ([("Range", "bytes=5000-"), ("If-Range", '"x"')], 200),
    ([("Range", "bytes=0-1"), ("If-None-Match", "TAG")], 304),
    ([("Range", "bytes=0-1"), ("If-Match", '"x"')], 412),
    ([("Range", "bytes=5000-"), ("If-Match", '"x"')], 412),
]


@pytest.mark.parametrize("conditions, status", CONDITIONS, ids=repr)
def test_conditions(tagged, conditions, status):
    r = tagged(conditions)
    assert r.status == status, r
    if status == 412:
        refused(r, 412, "PRECONDITION_FAILED")
    else:
        assert r.field("etag") and r.body == {200: DATA, 206: DATA[:2], 304: b""}[status]
    if not any(n == "Range" for n, _ in conditions):
        assert tagged(conditions, method="HEAD").status == status


def test_a_connection_lives_on_after_each_answer(shared, top):
    path = write(top / "f", DATA)
    with shared.connect() as c:
        for _ in range(2):
            for fields, status in (((), 200), ([("Range", "bytes=0-1")], 206),
                                   ([("Range", "bytes=0-1,4-5")], 206),
                                   ([("Range", "bytes=x")], 416), ([("Range", "bytes=5000-")], 416),
                                   ([("If-None-Match", "*")], 304), ([("If-Match", '"x"')], 412)):
                r = download(c, path, fields)
                assert r.status == status and not r.will_close, r
            for r, status in ((download(c, path, method="HEAD"), 200), (download(c, top / "gone"), 404),
                              (download(c, top), 400),
                              (download(c, path, offset=2), 200), (download(c, "/etc/passwd"), 403)):
                assert r.status == status and not r.will_close, r


# ---- lines ----

FIVE = "line1\nline2\nline3\nline4\nline5"
LINES = [
    (FIVE, {"offset": 2, "limit": 2}, "line2\nline3"), (FIVE, {"offset": 4}, "line4\nline5"),
    (FIVE, {"limit": 2}, "line1\nline2"),
    (FIVE, {"offset": 2, "limit": 100}, "line2\nline3\nline4\nline5"), (FIVE, {"offset": 1}, FIVE),
    (FIVE, {"offset": 5}, "line5"),
    (FIVE, {"offset": 6}, ""), (FIVE, {"offset": 10**15, "limit": 1}, ""),
    (FIVE + "\n", {"offset": 5}, "line5"), (FIVE + "\n", {"offset": 6}, ""),
    (FIVE, {"limit": 5}, FIVE), (FIVE, {"offset": 1, "limit": 1}, "line1"), ("", {"offset": 1}, ""),
    ("\n", {"offset": 1}, ""),
    ("\n\n\n", {"offset": 1}, "\n\n"), ("a\r\nb\r\n", {"offset": 1}, "a\nb"),
    ("a\r\r\r\nb\r", {"limit": 9}, "a\nb"),
    ("a\rb\r\nc", {"offset": 1}, "a\rb\nc"), ("\r\n\r\nx", {"offset": 2}, "\nx"),
    ("a\n\nb\n", {"offset": 2, "limit": 1}, ""),
    ("\0\xff\n\u2028x\n", {"offset": 2}, "\u2028x"),
]


@pytest.mark.parametrize("text, query, want", LINES, ids=repr)
def test_lines(shared, top, text, query, want):
    r = ok(download(shared, write(top / "f", text), **query))
    assert r.body == want.encode() and r.field("content-type") == "text/plain; charset=utf-8"
    assert r.field("content-disposition") is None
    assert ok(download(shared, top / "f", method="HEAD",
                       **query)).field("content-type") == "text/plain; charset=utf-8"


def test_lines_of_a_large_file(shared, top):
    lines = [f"{i:07d}" + "x" * (i % 97) for i in range(60_000)]
    path = write(top / "f", "\r\n".join(lines))
    for offset, limit in ((1, 60_000), (30_001, 1), (59_999, 10), (2, 25_000), (10_000, 40_000)):
        got = ok(download(shared, path, offset=offset, limit=limit)).body
        assert got == "\n".join(lines[offset - 1:offset - 1 + limit]).encode()


@pytest.mark.parametrize("query", [{"offset": 0}, {"offset": -1}, {"limit": 0}, {"limit": -3},
                                   {"offset": "x"}, {"limit": "1.5"},
                                   {"offset": "1e3"}, {"offset": " 1"},
                                   {"limit": "99999999999999999999999"}, {"offset": 1, "limit": 0}])
def test_line_numbers_that_cannot_be(shared, top, query):
    path = write(top / "f", FIVE)
    refused(download(shared, path, **query), 400, "INVALID_REQUEST_BODY")
    refused(download(shared, top / "gone", **query), 404, "FILE_NOT_FOUND")


def test_lines_and_ranges_exclude_each_other(shared, top):
    path = write(top / "f", FIVE)
    for where in (path, top / "gone"):
        refused(download(shared, where, [("Range", "bytes=0-1")], offset=1), 400, "INVALID_REQUEST_BODY")
    assert ok(download(shared, path, [("Range", "bytes=0-1")], offset="", limit=""), 206).body == b"li"
    assert ok(download(shared, path, offset="", limit="")).field("content-type") == "application/octet-stream"


# ---- files of the kernel ----


def test_files_without_a_size_are_read_to_their_end(boxd):
    d = boxd("--allow", "/proc:ro")
    version = Path("/proc/version").read_bytes()
    assert ok(download(d, "/proc/version")).body == version
    assert ok(download(d, "/proc/filesystems")).body == Path("/proc/filesystems").read_bytes()
    with d.connect() as c:
        r = ok(download(c, "/proc/self/status"))
        assert f"Pid:\t{d.pid}\n".encode() in r.body and r.body.endswith(b"\n")
        assert ok(download(c, "/proc/version", limit=1)).body == version.rstrip(b"\n")
        assert ok(download(c, "/proc/version", method="HEAD")).body == b""
        assert len(ok(download(c, "/proc/kallsyms")).body) > 100_000
        assert [m["line"] for m in found(grep(c, "/proc/version", "Linux"))[0]] == [1]


@pytest.mark.parametrize("path", ["/proc/self/root/etc/passwd", "/proc/self/cwd", "/proc/self/cwd/ws",
                                  "/proc/self/exe",
                                  "/proc/self/fd/0", "/proc/self/fd/2", "/proc/thread-self/root/etc",
                                  "/proc/1/root/etc/passwd"])
def test_magic_links_are_refused(boxd, path):
    d = boxd("--allow", "/proc:ro")
    assert listing(d, path).status in (400, 403)  # it is a link, which is no directory
    for r in (download(d, path), listing(d, path + "/x")):
        # Of other processes the kernel may refuse even to look at the link.
        refused(r, 403, r.json()["code"] if "/1/" in path else "PATH_FORBIDDEN")


# ---- files that change ----


def test_a_file_that_shrinks_meanwhile_is_no_success(shared, top):
    path = write(top / "f", b"x" * 30_000_000)
    with shared.connect(rcvbuf=4096) as c:
        c.send(c.head("GET", at("/files/download", path)))
        r = c.response_head()
        assert r.field("content-length") == "30000000"
        os.truncate(path, 1000)
        with pytest.raises(Closed):
            for _ in c.pieces(r):
                pass
    assert shared.get("/ping").status == 200


def test_a_file_that_grows_meanwhile_is_sent_as_it_was(shared, top):
    path = write(top / "f", b"x" * 8_000_000)
    with shared.connect(rcvbuf=4096) as c:
        c.send(c.head("GET", at("/files/download", path)) + c.head("GET", "/ping"))
        r = c.response_head()
        with open(path, "ab") as f:
            f.write(b"y" * 8_000_000)
        assert sum(map(len, c.pieces(r))) == 8_000_000
        assert c.response().status == 200


def test_a_file_that_is_replaced_meanwhile_is_sent_as_it_was(shared, top):
    path = write(top / "f", b"x" * 8_000_000)
    with shared.connect(rcvbuf=4096) as c:
        c.send(c.head("GET", at("/files/download", path)))
        r = c.response_head()
        ok(put(shared, path, b"new"))
        assert b"".join(c.pieces(r)) == b"x" * 8_000_000
    assert ok(download(shared, path)).body == b"new"
