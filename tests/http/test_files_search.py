"""GET /files/search: names by pattern, in order, whatever lies in the way (contract 1.12)."""

import json
import os
import random
import shutil
import socket
import time

import pytest

from boxd import sanitized, scratch
from files import (AS_ROOT, NOBODY, at, below, calm, check_info, entries, info, listing, ok,
                   raw_path, refused, same_as_disk, search, skipped, small_disk, special, starter,
                   top, write)

# ---- patterns ----

FLAT = ["a", "a.txt", "b.txt", ".hidden", ".a.txt", "ab", "abc", "a b", "A", "readme.md", "README",
        "x.py", "xy.pyc", "日本.txt", "é",
        "a[b]", "{x}", "a*b", "a!b", "back\\slash", "1", "12", "a-b", "[", "]", "!", "a,b", "a\nb", "^"]
TEXT = {"a.txt", "b.txt", ".a.txt", "日本.txt"}
GLOBS = {
    "*": set(FLAT), "**": set(FLAT), "": set(FLAT), "*.txt": TEXT, "**/*.txt": TEXT, "**/**/*.txt": TEXT,
    "a*": {x for x in FLAT if x[0] == "a"},
    ".*": {".hidden", ".a.txt"}, "a": {"a"}, "A": {"A"}, "?": {x for x in FLAT if len(x) == 1},
    "??": {x for x in FLAT if len(x) == 2},
    "??.txt": {"日本.txt", ".a.txt"}, "*.{txt,md}": TEXT | {"readme.md"}, "{a,b}.txt": {"a.txt", "b.txt"},
    "a{,b,bc}": {"a", "ab", "abc"},
    "{a,{b,c}}.txt": {"a.txt", "b.txt"}, "x{,y}.py{,c}": {"x.py", "xy.pyc"},
    "[ab].txt": {"a.txt", "b.txt"}, "[a-c].txt": {"a.txt", "b.txt"},
    "[!a].txt": {"b.txt"}, "[^a].txt": {"b.txt"}, "[0-9]": {"1"}, "[0-9]*": {"1", "12"},
    "a[\\-]b": {"a-b"}, "[日x]本.txt": {"日本.txt"},
    "[あ-龠]*": {"日本.txt"}, "a\\*b": {"a*b"}, "a\\[b\\]": {"a[b]"}, "\\{x\\}": {"{x}"}, "a[[]b]": {"a[b]"},
    "back\\\\slash": {"back\\slash"},
    "a[\\]*]b": {"a*b"}, "[\\]]": {"]"}, "[\\^]": {"^"}, "\\a": {"a"},
    "*b": {"ab", "a b", "a*b", "a!b", "a-b", "a,b", "a\nb"},
    "a**b": {"ab", "a b", "a*b", "a!b", "a-b", "a,b", "a\nb"},
    "a?b": {"a b", "a*b", "a!b", "a-b", "a,b", "a\nb"}, "a\\!b": {"a!b"}, "\\!": {"!"}, "a\\,b": {"a,b"},
    "!(*)": set(), "!(a)": set(FLAT) - {"a"},
    "!(*.txt)": set(FLAT) - TEXT, "nothing": set(), "*.TXT": set(), "/a": set(), "a/": set(),
    "*" * 200 + "z": set(), "[é]": {"é"}, "**a": {"a"},
}


@pytest.fixture(scope="module")
def flat(shared):
    where = shared.root / "flat"
    for name in FLAT:
        write(where / name, "x")
    return where


@pytest.mark.parametrize("pattern", GLOBS, ids=repr)
def test_names_are_matched(shared, flat, pattern):
    got = below(search(shared, flat, pattern), flat)
    assert got == sorted(GLOBS[pattern], key=os.fsencode)


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[]a]", "{", "{a", "{a,b", "a}", "}", "\\", "a\\",
                                     "!", "a!", "!a", "[a-", "{a,[}", "[!]",
                                     "{a,b}}", "!(", "!(a", "x[^]"])
def test_patterns_that_cannot_be(shared, flat, pattern):
    (shared.root / "nothing-here").mkdir(exist_ok=True)
    for where in (flat, shared.root / "nothing-here"):
        refused(search(shared, where, pattern), 400, "INVALID_PATTERN")


def test_patterns_with_a_slash_are_for_paths(shared, top):
    for name in ("src/a.py", "src/deep/b.py", "src/deep/er/c.py", "lib/a.py", "a.py", "src/x.c",
                 ".git/src/a.py", "srcs/a.py"):
        write(top / name, "x")
    for pattern, want in {
        "src/*.py": ["src/a.py"], "src/**/*.py": ["src/a.py", "src/deep/b.py", "src/deep/er/c.py"],
        "*/a.py": ["lib/a.py", "src/a.py", "srcs/a.py"], "**/src/*.py": [".git/src/a.py", "src/a.py"],
        "src/**": ["src/a.py", "src/deep/b.py", "src/deep/er/c.py", "src/x.c"],
        "**/deep/**": ["src/deep/b.py", "src/deep/er/c.py"], "{src,lib}/*.py": ["lib/a.py", "src/a.py"],
        "src?/a.py": ["srcs/a.py"],
        "**/a.py": [".git/src/a.py", "a.py", "lib/a.py", "src/a.py", "srcs/a.py"],
        "src/*/b.py": ["src/deep/b.py"], "src/*": ["src/a.py", "src/x.c"],
        "*/*/*/*": ["src/deep/er/c.py"], "src/[a-z].c": ["src/x.c"], "nope/**": [],
    }.items():
        assert below(search(shared, top, pattern), top) == want, pattern


# ---- what is walked ----


def test_files_links_and_others_in_order_and_no_directories(shared, top):
    for name in ("b/file", "a/z", "a/.hidden/x", "a-b/file", "a.txt", ".config", "c/d/e/f"):
        write(top / name, "x")
    os.symlink("a", top / "to-a")
    os.symlink("/etc", top / "b/out")
    os.symlink("nowhere", top / "dangling")
    os.symlink(".", top / "c/here")
    special(top / "fifo", "fifo")
    (top / "empty").mkdir()
    r = search(shared, top)
    assert below(r, top) == [".config", "a/.hidden/x", "a/z", "a-b/file", "a.txt", "b/file", "b/out",
                             "c/d/e/f", "c/here",
                             "dangling", "fifo", "to-a"]
    for o in r.json():
        same_as_disk(o, o["path"])
    assert {o["type"] for o in r.json()} == {"file", "symlink", "other"} and skipped(r) == 0


def test_the_root_itself(shared, top):
    write(top / "dir/file.txt", "x")
    os.symlink("dir", top / "link")
    os.symlink("nowhere", top / "dangling.txt")
    (top / "empty").mkdir()
    assert below(search(shared, top / "dir/file.txt", "*.txt"), top / "dir/file.txt") == [""]
    assert entries(search(shared, top / "dir/file.txt", "*.c")) == []
    for name, kind in (("link", "symlink"), ("dangling.txt", "symlink")):
        (o,) = entries(search(shared, top / name))
        assert (o["type"], o["path"]) == (kind, str(top / name))
    assert entries(search(shared, top / "link", "*.txt")) == []
    assert entries(search(shared, top / "empty")) == [] and search(shared, top / "empty").body.strip() == b"[]"
    refused(search(shared, top / "gone"), 404, "FILE_NOT_FOUND")
    for target in ("/files/search", "/files/search?path=", "/files/search?pattern=*",
                   "/files/search?path=&pattern=*"):
        refused(shared.get(target), 400, "MISSING_QUERY")


def test_links_on_the_way_to_the_root_are_followed(shared, top):
    write(top / "real/sub/f", "x")
    os.symlink("real", top / "link")
    assert below(search(shared, top / "link/sub"), top / "link/sub") == ["f"]


def test_paths_come_back_as_they_were_asked_for(shared, top):
    write(top / "x/f", "x")
    r = search(shared, f"{top.name}/x/../x/./")
    assert [o["path"] for o in r.json()] == [str(top / "x/f")]


def test_names_of_every_kind_are_told(shared, top):
    odd = [b'"quoted"', b"back\\slash", b"new\nline", b"tab\t", b"\x01\x1f\x7f", b"<script>&",
           "\u2028\u2029\u0085".encode(), b"bad\xff\xfe",
           b"\xe2\x82", "😀".encode(), b"n" * 255, b" ", b"..."]
    for name in odd:
        write(os.fsdecode(os.fsencode(top) + b"/" + name), "x")
    r = search(shared, top)
    assert sorted(map(os.fsencode, below(r, top))) == sorted(odd)
    assert [os.fsencode(n) for n in below(r, top)] == sorted(odd), "bytewise"
    for o in r.json():
        assert ("path_encoded" in o) == (raw_path(o).split(b"/")[-1] in (b"bad\xff\xfe", b"\xe2\x82"))


@AS_ROOT
def test_unreadable_directories_are_counted_and_passed_over(shared, top):
    for name in ("a/f", "b/locked/f", "c/f", "d/listed/f", "z"):
        write(top / name, "x")
    (top / "b/locked").chmod(0o711)
    (top / "c").chmod(0)
    (top / "d/listed").chmod(0o744)
    r = search(shared, top, uid=NOBODY)
    got = below(r, top)
    assert [n for n in got if n != "d/listed/f"] == ["a/f", "z"] and skipped(r) in (2, 3)
    assert skipped(search(shared, top)) == 0
    assert below(listing(shared, top, 1, uid=NOBODY), top) == ["a", "b", "c", "d", "z"]
    r = listing(shared, top, 9, uid=NOBODY)
    assert skipped(r) in (2, 3) and set(below(r, top)) >= {"a/f", "b/locked", "c", "d/listed", "z"}
    refused(search(shared, top / "c", uid=NOBODY), 403, "PERMISSION_DENIED")
    refused(listing(shared, top / "c", uid=NOBODY), 403, "PERMISSION_DENIED")
    with shared.connect() as c:
        # An old client sees no trailers; it is served all the same.
        assert c.request("GET", at("/files/search", top, uid=NOBODY), version="1.0").status == 200


def test_a_random_tree_agrees_with_a_plain_walk(shared, top):
    rng = random.Random(3)
    dirs = [top]
    for i in range(1500):
        where = rng.choice(dirs)
        if rng.random() < 0.25:
            where = where / f"{rng.choice('abcXYZ.-')}{i}"
            where.mkdir()
            dirs.append(where)
        else:
            write(where / f"{rng.choice('abcXYZ.-')}{i}{rng.choice(['', '.py', '.txt'])}")
    want, found_dirs = [], []

    def walk(path):
        for name in sorted(os.listdir(path), key=os.fsencode):
            full = path / name
            found_dirs.append(str(full.relative_to(top)))
            if full.is_dir():
                walk(full)
            else:
                want.append(str(full.relative_to(top)))
    walk(top)
    assert below(search(shared, top), top) == want
    assert below(search(shared, top, "*.py"), top) == [n for n in want if n.endswith(".py")]
    assert below(listing(shared, top, 1000), top) == found_dirs
    for depth in (1, 2, 3):
        assert below(listing(shared, top, depth), top) == [n for n in found_dirs if n.count("/") < depth]


def test_a_tree_deeper_than_a_path_may_be_is_walked_as_far_as_it_goes(shared, top):
    here = os.open(top, os.O_RDONLY)
    for i in range(40):
        os.mkdir("n" * 200, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        deeper = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    r = search(shared, top)
    assert 15 <= len(entries(r)) <= 20 and skipped(r) >= 1
    assert shared.request("DELETE", at("/directories", top / ("n" * 200))).status == 200


def test_HEAD_has_the_fields_of_GET(shared, flat):
    with shared.connect() as c:
        for target in (at("/files/search", flat), at("/directories/list", flat),
                       at("/files/search", flat, pattern="["),
                       at("/files/search", flat / "gone")):
            get, head = c.request("GET", target), c.request("HEAD", target)
            assert (head.status, head.body) == (get.status, b"")
            assert head.field("content-type") == get.field("content-type")
            assert c.request("GET", "/ping").status == 200


# ---- size, and clients ----

MANY = 200_000 if not os.environ.get("BOXD_LONG") else 1_000_000


@pytest.fixture(scope="module")
def crowd(starter):
    """A directory with very many files, and a daemon that may read it."""
    where = scratch()
    with small_disk(where / "crowd", "1g") as crowded:
        here = os.open(crowded, os.O_RDONLY)
        for i in range(MANY):
            os.mknod(f"{i:07d}", dir_fd=here)
        os.close(here)
        d = starter("--allow", crowded)
        d.crowd = crowded
        yield d
    shutil.rmtree(where)


@pytest.mark.seconds(600)
def test_a_directory_of_very_many_files(crowd):
    d, deadline = crowd, 120
    begin = d.rss_kib()
    with d.connect(deadline=deadline) as c:
        r = ok(c.request("GET", at("/files/search", d.crowd, pattern="*99")))
        assert [o["path"][-7:] for o in r.json()] == [f"{i:07d}" for i in range(99, MANY, 100)]
        r = ok(c.request("GET", at("/directories/list", d.crowd)))
    assert [o["path"][-7:] for o in r.json()] == [f"{i:07d}" for i in range(MANY)] and skipped(r) == 0
    check_info(r.json()[-1])
    if not sanitized():
        # Their names are held for sorting, their descriptions are not.
        assert d.rss_kib() - begin < len(r.body) / 1024 / 2, "a listing is held in memory"


def test_a_slow_reader_of_a_listing_delays_nobody(crowd):
    d = crowd
    slow = [d.connect(rcvbuf=4096) for _ in range(5)]
    for c in slow:
        c.send(c.head("GET", at("/directories/list", d.crowd)))
        c.response_head()
    begin = d.rss_kib()
    with d.connect() as c:
        worst = 0
        for _ in range(100):
            start = time.monotonic()
            assert c.request("GET", "/ping").status == 200
            worst = max(worst, time.monotonic() - start)
        assert worst < (1 if sanitized() else 0.25), f"/ping took {worst} s"
        start = time.monotonic()
        ok(info(c, "."))
        assert time.monotonic() - start < 5, "disk work waits for a client that does not read"
    assert d.rss_kib() - begin < (200_000 if sanitized() else 60_000)
    for c in slow:
        c.close()


def test_a_client_that_leaves_ends_its_search(crowd):
    d = crowd
    calm(d, len(d.fds()))
    held = len(d.fds())
    for i in range(12):
        c = d.connect()
        target = (at("/files/search", d.crowd), at("/directories/list", d.crowd),
                  at("/files/search", d.crowd, pattern="x"))[i % 3]
        c.send(c.head("GET", target))
        if i % 2 and i % 3 != 2:
            c.response_head()
        (c.reset if i % 4 < 2 else c.close)()
    with d.connect() as c:
        c.send(c.head("POST", "/files/grep", body=json.dumps({"path": str(d.crowd), "pattern": "x"})))
        c.sock.shutdown(socket.SHUT_RDWR)
    calm(d, held)
    assert d.get("/ping").status == 200
