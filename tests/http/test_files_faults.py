"""Files when something is missing or too much: disk, memory, time, patience; and what is left afterwards."""

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import signal
import threading
import time
import zlib

import pytest

import procfs
from boxd import sanitized
from files import (ENDPOINTS, at, batch, below, calm, chunks, content, delete, download, empty,
                   form, form_field, found, grep, info, listing, meta, mkdir, move, names, noise,
                   ok, post_form, put, refused, replace, rmdir, search, send_pieces, small_disk,
                   swap_text, top, tree, upload, write)
from wire import Closed

MB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    """A file system of 256 KiB."""
    with small_disk(tmp_path / "tiny", "256k") as where:
        yield where


# ---- a full disk ----


def sent(c, method, target, fields, pieces):
    """A request that may be answered before all of it was sent."""
    return send_pieces(c, method, target, fields, pieces, 20)


def test_a_full_disk_leaves_the_old_file(boxd, disk):
    d = boxd("--allow", disk)
    old = noise(50_000)
    write(disk / "f", old)
    before = tree(disk)
    big = noise(MB)
    form_body = form([meta(disk / "f"), content(big)])
    requests = {
        "put": ("PUT", at("/files/content", disk / "f"), [("Content-Length", str(MB))], [big]),
        "put chunked": ("PUT", at("/files/content", disk / "f"), [("Transfer-Encoding", "chunked")],
                        chunks(big, (70_000,))),
        "put gzip": ("PUT", at("/files/content", disk / "g"),
                     [("Content-Encoding", "gzip"), ("Content-Length", str(len(gzip.compress(big, 0))))],
                     [gzip.compress(big, 0)]),
        "upload": ("POST", "/files/upload", [form_field(), ("Content-Length", str(len(form_body)))],
                   [form_body]),
        "upload of a new file": ("POST", "/files/upload", [form_field(), ("Transfer-Encoding", "chunked")],
                                 chunks(form([meta(disk / "new/f"), content(big)]))),
    }
    for name, request in requests.items():
        refused(sent(d, *request), 507, "INSUFFICIENT_STORAGE")
        assert {k: v for k, v in tree(disk).items() if k == "f"} == {"f": before["f"]}, name
        assert set(names(disk)) <= {"f", "new"}, name
    for edit in ({"old": "\0", "new": "x" * 1000},
                 {"old": "(.)", "new": "$1$1$1$1$1$1$1$1$1$1", "regex": True}):
        r = replace(d, {str(disk / "f"): edit})
        assert r.status in (507, 400), r
        assert tree(disk)["f"] == before["f"]
    ok(put(d, disk / "small", b"x" * 1000), 201)
    assert ok(download(d, disk / "f")).body == old


def test_an_upload_that_fits_once_the_disk_has_room(boxd, disk):
    d = boxd("--allow", disk)
    write(disk / "ballast", b"x" * 200_000)
    r = upload(d, (disk / "a", b"a" * 10_000), (disk / "b", b"b" * 100_000), (disk / "c", b"c"))
    batch(r, 507, "INSUFFICIENT_STORAGE", [str(disk / "a")], str(disk / "b"))
    assert names(disk) == ["a", "ballast"]
    empty(delete(d, disk / "ballast"))
    empty(upload(d, (disk / "b", b"b" * 100_000)))
    assert (disk / "b").read_bytes() == b"b" * 100_000


def test_a_limit_on_the_size_of_files_is_no_death(boxd):
    """The kernel sends SIGXFSZ, which would end a daemon that does not expect it."""
    d = boxd(prefix=("prlimit", "--fsize=100000"))
    ok(put(d, "f", b"old"), 201)
    for r in (sent(d, "PUT", at("/files/content", "f"), [("Content-Length", str(MB))], [b"x" * MB]),
              sent(d, "POST", "/files/upload", [form_field(), ("Transfer-Encoding", "chunked")],
                   chunks(form([meta("f"), content(b"x" * MB)])))):
        refused(r, 507, "INSUFFICIENT_STORAGE")
    assert names(d.root) == ["f"] and (d.root / "f").read_bytes() == b"old"


def test_out_of_descriptors_files_still_work(boxd):
    d = boxd(prefix=("prlimit", "--nofile=192:192"), limits={"http_accept_pause_ms": 10})
    write(d.root / "d/f", "x")
    with d.connect() as c:
        assert c.request("GET", "/ping").status == 200
        many = [d.connect() for _ in range(300)]
        for _ in range(5):
            assert ok(download(c, "d/f")).body == b"x"
            assert put(c, "d/g", b"y").status in (200, 201)
            assert below(listing(c, "d"), d.root / "d") == ["f", "g"]
        for other in many:
            other.close()
    assert info(d, "d/f").status == 200


# ---- memory ----

BIG = 200 * MB if not sanitized() else 40 * MB


def growth(d, work):
    """How much the daemon's memory grew at its largest while work() ran, in KiB."""
    before, peak, stop = d.rss_kib(), [0], threading.Event()

    def watch():
        while not stop.wait(0.005):
            peak[0] = max(peak[0], d.rss_kib())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        stop.set()
        thread.join()
    return peak[0] - before


def pattern(total):
    block = noise(MB)
    for i in range(total // MB):
        yield block[i:] + block[:i]


def digest(pieces):
    h, n = hashlib.sha256(), 0
    for piece in pieces:
        h.update(piece)
        n += len(piece)
    return n, h.hexdigest()


def flat(d, work):
    grown = growth(d, work)
    assert sanitized() or grown < 4096, f"grew by {grown} KiB"


def test_large_files_pass_through_with_flat_memory(boxd):
    d = boxd()
    want = digest(pattern(BIG))
    with d.connect() as c:
        download(c, write(d.root / "warm", "x"))
        ok(put(c, "warm", b"x" * 100_000))
        empty(upload(c, ("warm", b"x" * 100_000)))

        def on_disk():
            with open(d.root / "f", "rb") as f:
                got = digest(iter(lambda: f.read(MB), b""))
            os.unlink(d.root / "f")
            return got

        def loads():
            c.send(c.head("GET", at("/files/download", "f")))
            r = ok(c.response_head())
            assert digest(c.pieces(r)) == want

        target = at("/files/content", "f")
        flat(d, lambda: ok(send_pieces(c, "PUT", target, [("Content-Length", str(BIG))], pattern(BIG)), 201))
        flat(d, loads)
        assert on_disk() == want
        edges = form([meta("f"), content(b"@@@")]).split(b"@@@")
        length = len(edges[0]) + BIG + len(edges[1])
        flat(d, lambda: empty(send_pieces(c, "POST", "/files/upload",
                                          [form_field(), ("Content-Length", str(length))],
                                          itertools.chain(edges[:1], pattern(BIG), edges[1:]))))
        assert on_disk() == want
        frames = (b"%x\r\n%s\r\n" % (len(p), p) for p in itertools.chain(edges[:1], pattern(BIG), edges[1:]))
        flat(d, lambda: empty(send_pieces(c, "POST", "/files/upload",
                                          [form_field(), ("Transfer-Encoding", "chunked")],
                                          itertools.chain(frames, [b"0\r\n\r\n"]))))
        assert on_disk() == want


def test_a_gzip_bomb_goes_to_disk_with_flat_memory(boxd):
    d = boxd()
    ok(put(d, "warm", gzip.compress(b"x"), [("Content-Encoding", "gzip")]), 201)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MB)) for _ in range(BIG // MB)) + packer.flush()
    assert len(bomb) < BIG / 500
    flat(d, lambda: ok(put(d, "bomb", bomb, [("Content-Encoding", "gzip")]), 201))
    assert (d.root / "bomb").stat().st_size == BIG
    d2 = boxd(limits={"fs_upload_bytes": 5_000_000})
    refused(put(d2, "bomb", bomb, [("Content-Encoding", "gzip")]), 413, "TOO_LARGE")
    assert names(d2.root) == []


def test_a_search_of_a_large_file_has_flat_memory(boxd):
    d = boxd()
    write(d.root / "warm", "needle\n")
    grep(d, "warm", "needle")
    with open(d.root / "f", "wb") as f:
        for _ in range(BIG // MB):
            f.write((b"x" * 127 + b"\n") * 8192)
        f.write(b"needle\n")
    grown = growth(d, lambda: found(grep(d, "f", "needle$")))
    assert sanitized() or grown < 8192, f"grew by {grown} KiB"
    grown = growth(d, lambda: swap_text(d, "f", "needle", "pin"))
    assert sanitized() or grown < 8192, f"grew by {grown} KiB"


# ---- nothing is left ----


def half(d, method, target, fields, data, end="reset"):
    c = d.connect()
    c.send(c.head(method, target, fields) + data)
    (c.reset if end == "reset" else c.close)()


def begun(d, target, method="GET", body=None):
    c = d.connect(rcvbuf=4096)
    c.send(c.head(method, target, (), body))
    c.response_head()
    c.reset()


HALF_FORM = form([meta("f"), content(b"x" * 300_000)])[:200_000]
LENGTH = [("Content-Length", "1000000")]
USES = {
    "info": lambda d: info(d, "d", "gone"),
    "a batch that fails": lambda d: delete(d, "gone", "d"),
    "move": lambda d: move(d, ("d/big", "d/moved"), ("d/moved", "d/big")),
    "mkdir and rmdir": lambda d: (mkdir(d, {"new/a/b": {}}), rmdir(d, "new")),
    "replace": lambda d: (replace(d, {"d/f": {"old": "x", "new": "xy"}}),
                          replace(d, {"d/f": {"old": "xy", "new": "x"}})),
    "put": lambda d: put(d, "d/f", b"x" * 70_000),
    "put that is refused": lambda d: put(d, "d", b"x" * 70_000),
    "put under a condition": lambda d: put(d, "d/f", b"y" * 70_000, [("If-Match", '"no"')]),
    "half a put": lambda d: half(d, "PUT", at("/files/content", "d/f"), LENGTH, b"y" * 100_000),
    "half a gzip": lambda d: half(d, "PUT", at("/files/content", "d/f"),
                                  [*LENGTH, ("Content-Encoding", "gzip")],
                                  gzip.compress(noise(10_000))[:5000], "close"),
    "upload": lambda d: upload(d, ("d/f", b"x" * 70_000), ("d/f", b"x" * 70_000), order="ffmm"),
    "half an upload": lambda d: half(d, "POST", "/files/upload", [form_field(), *LENGTH], HALF_FORM),
    "half an upload, files first": lambda d: half(d, "POST", "/files/upload", [form_field(), *LENGTH],
                                                  form([content(b"x" * 100_000)] * 3)[:250_000], "close"),
    "a form that is none": lambda d: post_form(d, b"nonsense"),
    "download": lambda d: download(d, "d/big"),
    "half a download": lambda d: begun(d, at("/files/download", "d/big")),
    "ranges": lambda d: download(d, "d/big", [("Range", "bytes=0-1,5-9")]),
    "lines": lambda d: download(d, "d/big", offset=2),
    "half the lines": lambda d: begun(d, at("/files/download", "d/big", offset=1)),
    "search": lambda d: search(d, "."),
    "half a search": lambda d: begun(d, at("/files/search", "many")),
    "half a listing": lambda d: begun(d, at("/directories/list", "many")),
    "grep": lambda d: grep(d, ".", "x"),
    "half a grep": lambda d: begun(d, "/files/grep", "POST", json.dumps({"path": "d", "pattern": "x"})),
    "paths outside": lambda d: [call(d, "/nowhere/f") for call in ENDPOINTS.values()],
}


@pytest.fixture(scope="module")
def used(shared):
    write(shared.root / "d/f", b"x" * 70_000)
    write(shared.root / "d/big", b"x\n" * 2_000_000)
    for i in range(5000):
        write(shared.root / f"many/{i:04d}")
    for use in USES.values():
        use(shared)
    return shared


@pytest.mark.parametrize("name", USES)
def test_uses_leave_nothing_behind(used, name):
    calm(used, len(used.fds()))
    before, held = names(used.root), sorted(v.split(":")[0] for v in used.fds().values())
    for _ in range(8):
        USES[name](used)

    def same():
        """the descriptors of before"""
        return sorted(v.split(":")[0] for v in used.fds().values()) == held
    procfs.wait_until(same)
    assert names(used.root) == before and names(used.state) == []


# ---- nobody waits ----


def test_slow_transfers_delay_nobody(boxd):
    d = boxd()
    write(d.root / "big", noise(4 * MB))
    with contextlib.ExitStack() as stack:
        for i in range(20):
            c = stack.enter_context(d.connect(rcvbuf=4096))
            if i % 2:
                c.send(c.head("GET", at("/files/download", "big", **({"offset": 1} if i % 4 == 1 else {}))))
                c.response_head()
            else:
                c.send(c.head("PUT", at("/files/content", f"slow{i}"), LENGTH) + b"x" * 100)
        with d.connect() as c:
            for i in range(50):
                begin = time.monotonic()
                assert c.request("GET", "/ping").status == 200
                ok(put(c, "quick", b"x"), 201 if i == 0 else 200)
                assert ok(download(c, "quick")).body == b"x"
                assert below(listing(c, ".", 1), d.root)
                assert time.monotonic() - begin < 2
    calm(d, 30)
    assert names(d.root) == ["big", "quick"]


def test_pings_stay_fast_while_the_disk_is_busy(boxd):
    d = boxd()
    for i in range(3000):
        write(d.root / f"{i % 50}/{i}", "x" * 500)
    stop, problems = threading.Event(), []

    def busy(use):
        try:
            with d.connect() as c:
                while not stop.is_set():
                    assert use(c).status == 200
        except BaseException as e:
            problems.append(e)

    uses = [lambda c: search(c, "."), lambda c: grep(c, ".", "y"), lambda c: listing(c, ".", 9),
            lambda c: upload(c, ("up", b"x" * MB))]
    threads = [threading.Thread(target=busy, args=(u,)) for u in uses]
    for t in threads:
        t.start()
    took = []
    try:
        with d.connect() as c:
            for _ in range(200):
                begin = time.monotonic()
                assert c.request("GET", "/ping").status == 200
                took.append(time.monotonic() - begin)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not problems, problems
    # Python's own threads compete with the one that measures, so this is about the order of magnitude.
    assert sorted(took)[len(took) // 2] < 0.1 and max(took) < 2, sorted(took)[-5:]


# ---- the end ----


def test_TERM_ends_transfers_and_leaves_no_litter(boxd):
    d = boxd(limits={"shutdown_flush_ms": 300})
    write(d.root / "big", noise(8 * MB))
    for i in range(3000):
        write(d.root / f"many/{i}")
    conns = []
    for i in range(12):
        c = d.connect(rcvbuf=4096)
        if i % 4 == 0:
            c.send(c.head("GET", at("/files/download", "big")))
        elif i % 4 == 1:
            c.send(c.head("PUT", at("/files/content", "half"), LENGTH) + b"x" * 500_000)
        elif i % 4 == 2:
            c.send(c.head("POST", "/files/upload", [form_field(), *LENGTH]) + HALF_FORM)
        else:
            c.send(c.head("POST", "/files/grep", body=json.dumps({"path": ".", "pattern": "."})))
        conns.append(c)
    procfs.wait_until(lambda: conns[0].sock.recv(1))
    begin = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait(15) == 0 and time.monotonic() - begin < 10
    d.check_log()
    assert [n for n in names(d.root) if not n.startswith("many")] == ["big"] and names(d.state) == []
    for c in conns:
        c.close()


def test_a_stalled_client_is_dropped(boxd):
    d = boxd(limits={"http_write_stall_ms": 200, "http_body_ms": 200})
    write(d.root / "big", noise(8 * MB))
    held = len(d.fds())
    with d.connect(rcvbuf=4096) as slow, d.connect() as silent:
        slow.send(slow.head("GET", at("/files/download", "big")))
        r = slow.response_head()
        silent.send(silent.head("PUT", at("/files/content", "half"), LENGTH) + b"x" * 1000)
        assert silent.response().status == 408
        calm(d, held + 1)
        with pytest.raises(Closed):
            for _ in slow.pieces(r):
                pass
    calm(d, held)
    assert names(d.root) == ["big"]


def test_uploads_from_many_clients_at_once(shared, top):
    problems = []

    def send_some(k):
        try:
            with shared.connect() as c:
                for i in range(6):
                    data = noise(50_000 + k, i)
                    empty(upload(c, (top / f"{k}-{i}", data), (top / "contested", data)))
                    assert ok(download(c, top / f"{k}-{i}")).body == data
        except BaseException as e:
            problems.append(e)

    threads = [threading.Thread(target=send_some, args=(k,)) for k in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems, problems
    assert len(names(top)) == 61
    assert (top / "contested").read_bytes() in [noise(50_000 + k, 5) for k in range(10)]
