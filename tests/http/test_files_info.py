"""GET /files/info: what a file is, and how paths are written (contract 1.5, 1.6, 1.8)."""

import os
import re
import shutil
import time

import pytest

from boxd import scratch
from files import (AS_ROOT, ENDPOINTS, NOBODY, at, below, delete, download, empty, entries, found,
                   grep, info, listing, mkdir, move, ok, permissions, put, raw_path, refused,
                   replace, rmdir, same_as_disk, search, special, stamp_ns, starter, swap_text,
                   upload, write)

# ---- what a file is ----


def one(d, path, **params):
    """The info of one file, asked for by itself."""
    answer = ok(info(d, path, **params)).json()
    assert list(answer) == [str(path)]
    return answer[str(path)]


def test_a_file_is_told_as_the_disk_has_it(shared):
    path = write(shared.root / "plain.txt", "hello", 0o640)
    o = same_as_disk(one(shared, path), path)
    assert (o["path"], o["type"], o["size"], o["mode"]) == (str(path), "file", 5, 640)


def test_a_fresh_file_was_created_when_it_was_modified(shared):
    ok(put(shared, "fresh.txt", b"x"), 201)
    o = one(shared, "fresh.txt")
    assert abs(stamp_ns(o["created_at"]) - stamp_ns(o["modified_at"])) < 2 * 10**9
    assert abs(stamp_ns(o["modified_at"]) / 1e9 - time.time()) < 5


def test_times_have_nanoseconds(shared):
    path = write(shared.root / "old.txt", "x")
    for ns in (1, 999_999_999, 1_700_000_000_000_000_001, 4_102_444_800_123_456_789, 0):
        os.utime(path, ns=(ns, ns))
        assert stamp_ns(same_as_disk(one(shared, path), path)["modified_at"]) == ns


@pytest.mark.parametrize("mode", [0o644, 0o755, 0o600, 0o777, 0, 0o7, 0o40, 0o4755, 0o2644, 0o1777, 0o7777])
def test_modes_are_digits(shared, mode):
    path = write(shared.root / f"mode{mode}", "x", mode)
    o = same_as_disk(one(shared, path), path)
    assert (o["mode"], o["mode_octal"]) == (int("%o" % (mode & 0o777)), "%04o" % mode)


def test_directories_links_and_others(shared):
    top = shared.root / "kinds"
    (top / "dir").mkdir(parents=True)
    os.symlink("dir", top / "to-dir")
    os.symlink("/nowhere/at/all", top / "dangling")
    os.symlink("loop", top / "loop")
    for kind in ("fifo", "socket") + (("device",) if os.geteuid() == 0 else ()):
        special(top / kind, kind)
        assert same_as_disk(one(shared, top / kind), top / kind)["type"] == "other"
    assert same_as_disk(one(shared, top / "dir"), top / "dir")["type"] == "directory"
    for name, length in (("to-dir", 3), ("dangling", 15), ("loop", 4)):
        o = same_as_disk(one(shared, top / name), top / name)
        assert (o["type"], o["size"]) == ("symlink", length)


@AS_ROOT
def test_owners_have_names_where_there_are_any(shared):
    path = write(shared.root / "owned", "x")
    os.chown(path, NOBODY, NOBODY)
    o = same_as_disk(one(shared, path), path)
    assert (o["owner"], o["group"]) == ("nobody", "nogroup")
    os.chown(path, 3_000_000_001, 3_000_000_002)
    o = same_as_disk(one(shared, path), path)
    assert (o["owner"], o["group"]) == ("3000000001", "3000000002")


def test_a_large_sparse_file_has_its_size(shared):
    path = write(shared.root / "sparse")
    os.truncate(path, 2**40 + 3)
    assert one(shared, path)["size"] == 2**40 + 3


def test_the_etag_changes_with_the_file_and_only_then(shared):
    path = write(shared.root / "tagged", "one")
    tags = {one(shared, path)["etag"] for _ in range(3)}
    assert len(tags) == 1
    for _ in range(5):
        tags.add(ok(put(shared, path, b"one")).json()["etag"])
    assert len(tags) == 6, "a replacement by the same content is another file"
    assert one(shared, path)["etag"] in tags
    write(path, "two")
    assert one(shared, path)["etag"] not in tags


# ---- several ----


def test_the_answer_is_keyed_by_what_was_asked_for(shared):
    write(shared.root / "k/a", "a")
    write(shared.root / "k/b", "bb")
    asked = ["k/a", "./k/a", "k/../k//b", str(shared.root / "k/b") + "/", "k/a", "k/", "k"]
    answer = ok(info(shared, *asked)).json()
    assert list(answer) == list(dict.fromkeys(asked))
    assert [answer[k]["size"] for k in asked[:4]] == [1, 1, 2, 2]
    assert answer["k/../k//b"]["path"] == str(shared.root / "k/b")
    assert answer["k/"]["path"] == str(shared.root / "k")


def test_no_path_is_an_empty_answer_and_an_empty_path_the_workspace(shared):
    assert ok(shared.get("/files/info")).json() == {}
    assert ok(shared.get("/files/info?uid=0")).json() == {}
    answer = ok(shared.get("/files/info?path=")).json()
    assert list(answer) == [""] and answer[""]["path"] == str(shared.root)
    assert answer[""]["type"] == "directory"


def test_the_first_failure_ends_it(shared):
    path = write(shared.root / "there", "x")
    refused(info(shared, path, "gone", "/etc/passwd"), 404, "FILE_NOT_FOUND")
    refused(info(shared, "gone"), 404, "FILE_NOT_FOUND")
    refused(info(shared, path / "below-a-file"), 404, "FILE_NOT_FOUND")
    refused(info(shared, path, "/etc/passwd", "gone"), 403, "PATH_FORBIDDEN")


def test_a_hundred_paths_in_one_request(shared):
    for i in range(100):
        write(shared.root / f"many/{i}", "x" * i)
    answer = ok(info(shared, *[f"many/{i}" for i in range(100)])).json()
    assert [o["size"] for o in answer.values()] == list(range(100))


def test_HEAD_says_what_GET_says(shared):
    path = write(shared.root / "head", "x")
    with shared.connect() as c:
        for target in (at("/files/info", path), at("/files/info", "gone"), "/files/info"):
            get, head = c.request("GET", target), c.request("HEAD", target)
            assert (head.status, head.body) == (get.status, b"")
            assert head.field("content-type") == get.field("content-type")
            assert head.field("content-length") == get.field("content-length")


# ---- how paths are written ----


VARIABLES = {"DIR_A": "a", "LONG_name_1": "deep/er", "EMPTY": "", "TILDE": "~", "DOLLAR": "$DIR_A",
             "A__B": "a", "EXECD_ACCESS_TOKEN": "hidden"}


@pytest.fixture(scope="module")
def home(starter):
    """A daemon with variables and a HOME; d.home is that."""
    where = scratch()
    d = starter("--allow", where, env={**VARIABLES, "HOME": str(where)}, token="hidden-token")
    d.home = where
    for name in ("x", "a/x", "deep/er/x", "$", "a$", "a$.b", "x$ y", "~user/x", "$DIR_A/x", "sub/~"):
        write(d.root / name, name)
    for name in ("x", "a/x"):
        write(where / name, "home " + name)
    yield d
    shutil.rmtree(where)


EXPANDED = {
    "$DIR_A/x": "a/x",
    "${DIR_A}/x": "a/x",
    "$LONG_name_1/x": "deep/er/x",
    "deep/${EMPTY}er/x": "deep/er/x",
    "$EMPTY$DIR_A/x": "a/x",
    "${A__B}/x": "a/x",
    "$1x": "x",
    "$*$#$$$@$!$?$-x": "x",
    "${}x": "x",
    "$": "$",
    "a$": "a$",
    "a$.b": "a$.b",
    "x$ y": "x$ y",
    "~user/x": "~user/x",
    "sub/~": "sub/~",
    "$DOLLAR/x": "$DIR_A/x",
    "./x": "x",
    ".//a/./../x/": "x",
    "": "",
    ".": "",
    "a/..": "",
}


@pytest.mark.parametrize("raw", EXPANDED, ids=repr)
def test_paths_are_expanded_and_cleaned(home, raw):
    answer = ok(info(home, raw)).json()
    assert list(answer) == [raw]
    assert answer[raw]["path"] == str(home.root / EXPANDED[raw])


@pytest.mark.parametrize("raw, name", [
    ("~", ""), ("~/", ""), ("~/x", "x"), ("~/./a//x", "a/x"), ("$TILDE/x", "x"), ("~/$DIR_A/x", "a/x")])
def test_a_tilde_is_home(home, raw, name):
    answer = ok(info(home, raw)).json()
    assert answer[raw]["path"] == str(home.home / name).rstrip("/")


def test_a_tilde_before_a_backslash_is_home_too(home):
    r = info(home, "~\\x")
    # The backslash is a character like any other, so this is a neighbour of the home directory.
    refused(r, 403, "PATH_FORBIDDEN")


@pytest.mark.parametrize("raw, undefined", [
    ("$NOPE/x", "NOPE"), ("a/${NOPE}", "NOPE"), ("$ZZ_1/$AA_2/${DIR_A}/$ZZ_1", "AA_2, ?ZZ_1"),
    # A secret is not in there, whatever it is called.
    ("$EXECD_ACCESS_TOKEN", "EXECD_ACCESS_TOKEN"), ("$BOXD_TOKEN", "BOXD_TOKEN")])
def test_undefined_variables_are_named(home, raw, undefined):
    r = info(home, raw)
    assert re.search(undefined, refused(r, 400, "INVALID_REQUEST_BODY")["message"]), r


def test_without_HOME_a_tilde_is_an_error(boxd):
    d = boxd(env={"HOME": None})
    refused(info(d, "~/x"), 400, "INVALID_REQUEST_BODY", "HOME")


def test_expansion_serves_every_endpoint(home):
    """The same rules wherever a path is taken: the query, a key, a member, metadata."""
    ok(put(home, "$DIR_A/new", b"1"), 201)
    empty(upload(home, ("~/up", b"2")))
    empty(permissions(home, {"${DIR_A}/new": {"mode": 600}}))
    empty(move(home, ("$DIR_A/new", "~/$DIR_A/moved")))
    assert swap_text(home, "$TILDE/a/moved", "1", "one") == 1
    assert ok(download(home, "~/a/moved")).body == b"one"
    empty(mkdir(home, {"$DIR_A/made": {}}))
    assert "made" in below(listing(home, "$DIR_A"), home.root / "a")
    assert below(search(home, "~", "up"), home.home) == ["up"]
    assert [m["path"] for m in found(grep(home, "~/$DIR_A", "one"))[0]] == [str(home.home / "a/moved")]
    empty(delete(home, "~/up", "~/a/moved"))
    empty(rmdir(home, "$DIR_A/made"))
    for call in ENDPOINTS.values():
        refused(call(home, "$NOPE/x"), 400, "INVALID_REQUEST_BODY", "NOPE")
    assert not (home.home / "up").exists() and not (home.root / "a/made").exists()


# ---- paths that cannot be ----


DEEP = "/".join(["d"] * 600)
BAD_PATHS = {
    "a name of 256 bytes": "n" * 256,
    "a name of 256 bytes in the middle": "a/" + "n" * 256 + "/b",
    "a name of 5000 bytes": "n" * 5000,
    "a path of 4100 bytes": "/".join(["n" * 99] * 41),
    "600 names": DEEP,
    "an absolute path of 5000 bytes": "/" + "n/" * 2500,
}


@pytest.mark.parametrize("name", BAD_PATHS)
def test_paths_that_are_too_long(shared, name):
    path = BAD_PATHS[name]
    r = info(shared, path)
    # What is too long lies outside first.
    refused(r, *((403, "PATH_FORBIDDEN") if path[0] == "/" and r.status == 403 else (400, "INVALID_PATH")))
    write(shared.root / "movable", "x")
    for call in ENDPOINTS.values():
        refused(call(shared, str(shared.root / "x") + "/" + path.lstrip("/")), 400, "INVALID_PATH")


def test_a_name_of_255_bytes_is_fine(shared):
    name = "n" * 255
    refused(info(shared, name), 404, "FILE_NOT_FOUND")
    ok(put(shared, name, b"x"), 201)
    assert ok(download(shared, name)).body == b"x"
    ok(put(shared, "é" * 127, b"y"), 201)
    assert ok(download(shared, "é" * 127)).body == b"y"


@pytest.mark.parametrize("raw", ["%00", "a%00b", "a/%00/../b", "%", "%2", "a%zz", "%u0041"])
def test_values_that_no_path_can_be(shared, raw):
    for method, endpoint in (("GET", "/files/info"), ("DELETE", "/files"), ("GET", "/files/download"),
                             ("GET", "/files/search"), ("GET", "/directories/list"),
                             ("DELETE", "/directories"), ("PUT", "/files/content")):
        refused(shared.request(method, f"{endpoint}?path={raw}"), 400, "INVALID_QUERY")


def test_a_NUL_in_a_body_is_refused(shared):
    for call in (permissions, replace, mkdir):
        refused(call(shared, '{"a\\u0000b": {"old": "x", "new": "y"}}'), 400, "INVALID_REQUEST_BODY")
    refused(move(shared, ("a\0b", "c")), 400, "INVALID_REQUEST_BODY")
    refused(upload(shared, ("a\0b", b"x")), 400, "INVALID_FILE_METADATA")


def test_names_that_look_like_syntax(shared):
    for name in ("a b", "a+b", "a%41b", "a&b=c", "a#b", "a?b", "a;b", "a\\b", "a'b\"c", "*", "[x]", "-rf",
                 " lead", "trail ", "...", "..x", "a\nb", "a\rb", "a\tb\x7f", "\u2028", "ü/ö", "日本語", "%2e%2e"):
        ok(put(shared, "names/" + name, name.encode()), 201)
        o = one(shared, "names/" + name)
        assert o["path"] == str(shared.root / "names" / name) and "path_encoded" not in o
        assert ok(download(shared, "names/" + name)).body == name.encode()
    assert (shared.root / "names/%2e%2e").exists()


NOT_UTF8 = [b"bad\xff.txt", b"\xc3\x28", b"\xed\xa0\x80 half a pair", b"plus+and space\xfe", b"\x80",
            b"cut\xe2\x82",
            b"dir\xff/\xfein%side"]


@pytest.mark.parametrize("name", NOT_UTF8, ids=repr)
def test_names_that_are_not_UTF8_make_the_round_trip(shared, name):
    raw = os.fsencode(shared.root) + b"/bytes/" + name
    ok(put(shared, raw, b"content of " + name), 201)
    with open(raw, "rb") as f:
        assert f.read() == b"content of " + name
    (o,) = ok(info(shared, raw)).json().values()
    assert raw_path(same_as_disk(o, raw)) == raw and "\ufffd" in o["path"]
    r = ok(shared.get("/files/download?path=" + o["path_encoded"]))
    assert r.body == b"content of " + name
    assert [raw_path(x) for x in entries(search(shared, raw))] == [raw]
    # A body takes the bytes as they are.
    body = b'[{"src": "%s", "dest": "%s.moved"}]' % (raw, raw)
    empty(move(shared, body=body))
    assert os.path.exists(raw + b".moved") and not os.path.exists(raw)
    empty(delete(shared, raw + b".moved"))
    assert not os.path.exists(raw + b".moved")


# ---- whose rights ----


@pytest.mark.parametrize("query", ["gid=0", "uid=x", "uid=-1", "uid=1.5", "uid=4294967295", "uid=4294967296",
                                   "uid=99999999999999999999", "uid=1&gid=x", "uid=1&gid=-1", "uid=0x10"])
def test_users_that_cannot_be(shared, query):
    refused(shared.get(f"/files/info?path=&{query}"), 400, "INVALID_QUERY")


@AS_ROOT
def test_the_rights_are_those_of_the_user(shared):
    locked = shared.root / "locked"
    write(locked / "x", "x")
    locked.chmod(0o700)
    assert one(shared, locked / "x")["size"] == 1
    assert one(shared, locked / "x", uid=0)["size"] == 1
    refused(info(shared, locked / "x", uid=NOBODY), 403, "PERMISSION_DENIED")
    # Whether something is there is none of this user's business either.
    refused(info(shared, locked / "gone", uid=NOBODY), 403, "PERMISSION_DENIED")
    assert one(shared, locked, uid=NOBODY)["mode"] == 700
    os.chown(locked, 0, 4321)
    locked.chmod(0o710)
    assert one(shared, locked / "x", uid=NOBODY, gid=4321)["size"] == 1
    refused(info(shared, locked / "x", uid=NOBODY), 403, "PERMISSION_DENIED")
