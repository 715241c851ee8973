"""PUT /files/content: one file by its raw bytes, whole or not at all."""

import gzip
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from files import (AS_ROOT, NOBODY, at, calm, check_info, chunks, delete, download, empty, info,
                   listing, names, noise, ok, put, refused, same_as_disk, send_chunked, send_pieces,
                   top, write)
from wire import Closed

SIZES = [0, 1, 4095, 65535, 65536, 65537, 262145, 1 << 20, 20 << 20]


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# ---- what is written ----


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_are_those_that_were_sent(shared, top, size):
    data, target = noise(size), at("/files/content", top / "f")
    with shared.connect() as c:
        ok(put(c, top / "f", data), 201)
        assert (top / "f").read_bytes() == data
        many = [(7, 65536, 1, 300_000)] if size > 1 << 18 else [(1, 2, 3), (8192,)]
        for sizes in [(size or 1,), *many]:
            ok(send_chunked(c, "PUT", target, [], data[::-1] if size else b"", sizes), 200)
            assert (top / "f").read_bytes() == data[::-1]
        packed = gzip.compress(data, 1)
        ok(put(c, top / "f", packed, [("Content-Encoding", "gzip")]))
        assert (top / "f").read_bytes() == data
        ok(send_chunked(c, "PUT", target, [("Content-Encoding", "GZIP")], packed, (1000, 1, 50_000)))
        assert (top / "f").read_bytes() == data and names(top) == ["f"]
        assert ok(download(c, top / "f")).body == data


def test_a_new_file_is_201_and_another_content_200(shared, top):
    r = ok(put(shared, top / "new/parents/f", b"one"), 201)
    assert r.field("content-type", "").startswith("application/json")
    o = same_as_disk(r.json(), top / "new/parents/f")
    assert r.field("etag") == o["etag"] and o["path"] == str(top / "new/parents/f")
    assert mode(top / "new/parents/f") == 0o666 & ~umask()
    again = ok(put(shared, top / "new/parents/f", b"two!"), 200)
    assert same_as_disk(again.json(), top / "new/parents/f")["size"] == 4
    assert again.field("etag") == download(shared, top / "new/parents/f").field("etag") != r.field("etag")


def test_a_request_without_a_body_makes_an_empty_file(shared, top):
    r = ok(shared.request("PUT", at("/files/content", top / "f")), 201)
    assert check_info(r.json())["size"] == 0 and (top / "f").read_bytes() == b""


def test_modes(shared, top):
    for digits, want in (("600", 0o600), ("0755", 0o755), ("4711", 0o4711), ("0", 0), ("7", 7)):
        ok(put(shared, top / f"m{digits}", b"x", mode=digits), 201)
        assert mode(top / f"m{digits}") == want
    write(top / "kept", "x", 0o4701)
    ok(put(shared, top / "kept", b"y"))
    assert mode(top / "kept") == 0o4701
    ok(put(shared, top / "kept", b"z", mode="640"))
    assert mode(top / "kept") == 0o640


@pytest.mark.parametrize("bad", ["8", "0o7", "rw", "-7", "77777", "6 4", "644.0", "0x1ff",
                                 "99999999999999999999"])
def test_modes_that_cannot_be(shared, top, bad):
    r = put(shared, top / "f", b"x", mode=bad)
    assert r.status == 400 and r.json()["code"] in ("INVALID_QUERY", "INVALID_REQUEST_BODY"), r
    assert names(top) == []


@AS_ROOT
def test_what_a_file_was_it_stays(shared, top):
    path = write(top / "f", "old", 0o6755)
    os.chown(path, 70001, 70002)
    path.chmod(0o6755)
    os.setxattr(path, "user.boxd-test", b"kept")
    inode = path.stat().st_ino
    ok(put(shared, path, b"new", sync=True))
    st = path.stat()
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (70001, 70002, 0o6755)
    assert os.getxattr(path, "user.boxd-test") == b"kept" and st.st_ino != inode and path.read_bytes() == b"new"


def test_links_are_followed_and_stay(shared, top):
    target = write(top / "real/target", "old")
    os.symlink("real/target", top / "link")
    os.symlink("real/born", top / "dangling")
    ok(put(shared, top / "link", b"new"))
    ok(put(shared, top / "dangling", b"here"), 201)
    assert (top / "link").is_symlink() and target.read_bytes() == b"new"
    assert (top / "dangling").is_symlink() and (top / "real/born").read_bytes() == b"here"


def test_another_name_of_the_file_keeps_the_old_content(shared, top):
    path = write(top / "one", "old")
    os.link(path, top / "two")
    ok(put(shared, path, b"new"))
    assert (path.read_bytes(), (top / "two").read_bytes()) == (b"new", b"old")


@AS_ROOT
def test_files_belong_to_whom_was_asked_for(shared, top):
    refused(put(shared, top / "f", b"x", uid=NOBODY), 403, "PERMISSION_DENIED")
    top.chmod(0o777)
    ok(put(shared, top / "sub/f", b"x", uid=NOBODY), 201)
    ok(put(shared, top / "g", b"x", uid=1234, gid=5678), 201)
    owners = {n: (os.stat(top / n).st_uid, os.stat(top / n).st_gid) for n in names(top)}
    assert owners == {"sub": (NOBODY, NOBODY), "sub/f": (NOBODY, NOBODY), "g": (1234, 5678)}
    (top / "g").chmod(0o644)
    (top / "sub").chmod(0o755)
    refused(put(shared, top / "sub/other", b"x", uid=1234), 403, "PERMISSION_DENIED")


# ---- refusals ----


def test_places_that_cannot_be_written(shared, top):
    write(top / "file", "x")
    (top / "dir").mkdir()
    os.symlink("loop", top / "loop")
    os.mkfifo(top / "fifo")
    os.symlink("dir", top / "to-dir")
    before = names(top)
    for name, code in (("dir", "INVALID_REQUEST_BODY"), ("to-dir", "INVALID_REQUEST_BODY"),
                       ("fifo", "INVALID_REQUEST_BODY"),
                       ("loop", "INVALID_PATH")):
        refused(put(shared, top / name, b"x"), 400, code)
    r = put(shared, top / "file/below", b"x")
    assert r.status in (400, 404, 409), r
    for target in ("/files/content", "/files/content?path="):
        r = shared.request("PUT", target, body=b"x")
        assert r.status == 400 and r.json()["code"] in ("MISSING_QUERY", "INVALID_REQUEST_BODY"), r
    assert names(top) == before and (top / "file").read_text() == "x"
    refused(shared.request("POST", at("/files/content", top / "f"), body=b"x"), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "gzip, br", "nonsense"])
def test_other_codings_are_415(shared, top, coding):
    refused(put(shared, top / "f", b"x", [("Content-Encoding", coding)]), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert names(top) == []


def test_identity_is_no_coding(shared, top):
    ok(put(shared, top / "f", b"plain", [("Content-Encoding", "identity")]), 201)
    assert (top / "f").read_bytes() == b"plain"


PACKED = gzip.compress(noise(5000))
BROKEN = {
    "no gzip": b"plain text", "nothing": b"", "half a head": PACKED[:5], "a head": PACKED[:10],
    "half": PACKED[:3000],
    "no checksum": PACKED[:-8], "half a checksum": PACKED[:-3], "a wrong checksum": PACKED[:-8] + b"\0" * 8,
    "a wrong length": PACKED[:-1] + b"\1",
    "a flipped bit": PACKED[:2000] + bytes([PACKED[2000] ^ 1]) + PACKED[2001:],
    "something behind it": PACKED + b"trailing garbage",
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_gzip_leaves_the_old_file(shared, top, name):
    write(top / "f", "old")
    with shared.connect() as c:
        r = put(c, top / "f", BROKEN[name], [("Content-Encoding", "gzip")])
        assert r.status == 400, r
        if not r.will_close:
            assert c.request("GET", "/ping").status == 200
    assert (top / "f").read_text() == "old" and names(top) == ["f"]


def test_several_gzip_members_are_one_content(shared, top):
    data = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    ok(put(shared, top / "f", data, [("Content-Encoding", "gzip")]), 201)
    assert (top / "f").read_bytes() == b"one two"


def test_a_body_cut_short_leaves_nothing(shared, top):
    write(top / "old", "old")
    held = len(shared.fds())
    for name in ("old", "new/dir/f"):
        head = b"PUT " + at("/files/content", top / name).encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
        for raw in (head + b"Content-Length: 1000000\r\n\r\n" + b"x" * 70_000,
                    head + b"Transfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" + b"x" * 70_000,
                    head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n",
                    head + b"Content-Length: 10\r\nContent-Encoding: gzip\r\n\r\n" + PACKED[:5]):
            for end in ("close", "half", "reset"):
                c = shared.connect()
                c.send(raw)
                if end == "half":
                    c.half_close()
                    try:
                        assert c.response().status >= 400
                    except Closed:
                        pass
                (c.reset if end == "reset" else c.close)()
    with shared.connect() as c:
        c.send(c.head("PUT", at("/files/content", top / "bad"),
                      [("Transfer-Encoding", "chunked")]) + b"5\r\nhellooops\r\n")
        assert c.response().status == 400
    calm(shared, held)
    assert (top / "old").read_text() == "old"
    assert [n for n in names(top) if not (top / n).is_dir()] == ["old"]


# ---- the way there ----


def test_expect_is_answered_before_the_body(shared, top):
    with shared.connect() as c:
        c.send(c.head("PUT", at("/files/content", top / "f"),
                      [("Expect", "100-continue"), ("Content-Length", "5")]))
        assert c.response_head().status == 100
        c.send(b"hello")
        ok(c.response(), 201)
        # What is refused at once need not be sent, although the daemon may have asked for it.
        c.send(c.head("PUT", at("/files/content", top / "f"),
                      [("Expect", "100-continue"), ("Content-Length", "5"), ("If-Match", '"no"')]))
        r = c.response()
        refused(c.response() if r.status == 100 else r, 412, "PRECONDITION_FAILED")
    assert (top / "f").read_bytes() == b"hello"


def test_a_slow_body_is_one_body(shared, top):
    data = noise(500)
    with shared.connect() as c:
        ok(send_pieces(c, "PUT", at("/files/content", top / "f"), [("Content-Length", "500")],
                       (data[i:i + 1] for i in range(500))), 201)
        framed = b"".join(chunks(data, (3, 1, 7)))
        ok(send_pieces(c, "PUT", at("/files/content", top / "g"), [("Transfer-Encoding", "chunked")],
                       (framed[i:i + 1] for i in range(len(framed)))), 201)
    assert (top / "f").read_bytes() == (top / "g").read_bytes() == data


def test_requests_behind_an_upload_are_answered(shared, top):
    with shared.connect() as c:
        bodies = [noise(n, n) for n in (0, 1, 100_000, 3, 70_000)]
        c.send(b"".join(c.head("PUT", at("/files/content", top / f"{i}"), (), b) + c.head("GET", "/ping")
                        for i, b in enumerate(bodies)))
        for _ in bodies:
            ok(c.response(), 201)
            ok(c.response())
    assert [(top / f"{i}").read_bytes() for i in range(5)] == bodies


# ---- conditions ----


def test_conditions_on_what_is_there(shared, top):
    path = write(top / "f", "one")
    old = ok(info(shared, path)).json()[str(path)]["etag"]

    def refuses(name, value, at_path=path):
        refused(put(shared, at_path, b"no", [(name, value)]), 412, "PRECONDITION_FAILED")

    refuses("If-None-Match", "*")
    refuses("If-None-Match", old)
    refuses("If-None-Match", f"W/{old}")
    refuses("If-Match", '"no"')
    refuses("If-Match", f"W/{old}")
    refuses("If-Match", "*", top / "gone")
    refuses("If-Match", old, top / "gone")
    refuses("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")
    assert names(top) == ["f"] and path.read_text() == "one"
    tag = ok(put(shared, path, b"two", [("If-Match", f'"x", {old}')])).field("etag")
    refuses("If-Match", old)
    tag = ok(put(shared, path, b"3", [("If-None-Match", old), ("If-Match", tag)])).field("etag")
    tag = ok(put(shared, path, b"4", [("If-Match", "*")])).field("etag")
    ok(put(shared, path, b"5", [("If-Unmodified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"), ("If-Match", tag)]))
    ok(put(shared, top / "new", b"x", [("If-None-Match", "*")]), 201)
    assert path.read_text() == "5"


def test_of_two_conditional_writers_one_wins(shared, top):
    path = write(top / "f", "start")
    with ThreadPoolExecutor(2) as pool:
        for i in range(40):
            tag = ok(info(shared, path)).json()[str(path)]["etag"]
            size = 200_000 if i % 2 else 10
            answers = list(pool.map(lambda c: put(shared, path, c * size, [("If-Match", tag)]), (b"a", b"b")))
            assert sorted(r.status for r in answers) == [200, 412]
            assert path.read_bytes() == (b"a" if answers[0].status == 200 else b"b") * size
    assert names(top) == ["f"]


def test_of_many_creators_one_wins(shared, top):
    only_new = [("If-None-Match", "*")]
    with ThreadPoolExecutor(6) as pool:
        for i in range(15):
            answers = list(pool.map(lambda k: put(shared, top / f"d{i}/f", b"%d" % k, only_new), range(6)))
            assert sorted(r.status for r in answers) == [201] + [412] * 5
            assert (top / f"d{i}/f").read_bytes() == b"%d" % [r.status for r in answers].index(201)
    assert len(names(top)) == 30


# ---- whole or not at all ----


def test_readers_see_the_old_or_the_new_file(shared, top):
    path, stop, seen, problems = top / "f", threading.Event(), set(), []
    versions = [b"A" * 1_000_000, b"B" * 300_000]
    ok(put(shared, path, versions[0]), 201)

    def watch(read):
        try:
            while not stop.is_set():
                data = read()
                seen.add((len(data), data[:1]) if data in versions else (len(data), "a mix"))
        except BaseException as e:
            problems.append(e)

    def by_listing():
        # For a moment the new file has a name of its own, too.
        (o,) = [x for x in ok(listing(shared, top)).json() if x["path"] == str(path)]
        return versions[0] if o["size"] == 1_000_000 else versions[1] if o["size"] == 300_000 else b""

    threads = [threading.Thread(target=watch, args=(f,)) for f in (
        path.read_bytes, lambda: ok(download(shared, path)).body, by_listing)]
    for t in threads:
        t.start()
    for i in range(40):
        ok(put(shared, path, versions[(i + 1) % 2]))
    stop.set()
    for t in threads:
        t.join()
    assert not problems, problems
    assert seen <= {(1_000_000, b"A"), (300_000, b"B")} and names(top) == ["f"]


def test_a_file_deleted_while_it_is_written_is_written(shared, top):
    path = write(top / "f", "old")
    with shared.connect() as c:
        c.send(c.head("PUT", at("/files/content", path), [("Content-Length", "200000")]) + b"x" * 100_000)
        empty(delete(shared, path))
        c.send(b"x" * 100_000)
        assert c.response().status in (200, 201)
    assert path.read_bytes() == b"x" * 200_000
