"""Nothing outside the roots is read, changed or even told about, whatever a path looks like (DESIGN 3.5)."""

import os
import shutil
import threading
from urllib.parse import quote, unquote_plus

import pytest

import procfs

from boxd import scratch
from files import (AS_ROOT, ENDPOINTS, NOBODY, READS, WRITES, below, delete, download, empty,
                   entries, found, grep, info, listing, mkdir, move, names, ok, permissions, put,
                   refused, rmdir, search, starter, tree, upload, write)

SECRET = b"SECRET-7d1f4c"


class Place:
    """
    A daemon with a workspace, a second root, a read-only one, and beside them a directory that it
    must not touch: everything in `out` is a canary.
    """

    def __init__(self, start):
        self.base = scratch()
        self.open, self.locked, self.out = (self.base / n for n in ("open", "locked", "out"))
        write(self.open / "file", "open")
        write(self.locked / "file", "locked a")
        write(self.locked / "dir/file", "locked a")
        write(self.locked / "tree/deep/file", "a")
        write(self.out / "secret", SECRET)
        write(self.out / "dir/secret", SECRET)
        self.d = start("--allow", self.open, "--allow", f"{self.locked}:ro")
        self.ws = self.d.root
        self.links()
        self.before, self.locked_before = tree(self.out), tree(self.locked)

    def links(self):
        """The workspace's ways out, and its ways to other roots."""
        write(self.ws / "file", "a")
        write(self.ws / "dir/file", "a")
        up = os.path.relpath(self.out, self.ws)
        for name, target in {
            "out": self.out, "out-relative": up, "out-file": self.out / "secret",
            "out-file-relative": f"{up}/secret",
            "out-chain": "out", "dir/out": f"../{up}", "out-gone": self.out / "gone", "root": "/",
            "passwd": "/etc/passwd",
            "out-around": f"dir/../{up}/dir", "proc": "/proc/self/root", "parent": "..",
            "in": "dir", "in-absolute": self.ws / "dir", "in-up": "dir/../dir", "to-open": self.open,
            "to-locked": self.locked,
            "to-open-relative": os.path.relpath(self.open, self.ws), "to-locked-file": self.locked / "file",
            "loop": "loop", "ping": "pong", "pong": "ping",
        }.items():
            os.symlink(target, self.ws / name)

    def untouched(self):
        assert tree(self.out) == self.before, "something outside was changed"
        assert tree(self.locked) == self.locked_before, "something read-only was changed"


@pytest.fixture(scope="module")
def place(starter):
    p = Place(starter)
    yield p
    p.untouched()
    shutil.rmtree(p.base)


WAYS_OUT = [
    "..", "../", "../../etc/passwd", "dir/../../", "dir/../../state", "../" * 40 + "etc/passwd", "/",
    "/etc/passwd", "/etc", "//etc//passwd",
    "/./etc/../etc/passwd", "OUT", "OUT/secret", "OUT/gone", "OUT/gone/deeper", "OPEN/../out/secret",
    "OPEN/..", "OPENX", "OPEN/../openx",
    "/proc/self/root/etc/passwd", "/proc/self/cwd/file", "/dev/null", "/nowhere/at/all", "WS/../state",
]
LINKS_OUT = [
    "out/secret", "out-relative/secret", "out-chain/secret", "dir/out/secret", "in/out/secret",
    "out/dir/secret", "out-around/secret", "out/gone",
    "root/etc/passwd", "proc/etc/passwd", "out/dir/../secret/x", "parent/state/x",
    "in-absolute/out/secret", "root" + "/tmp/../etc/passwd",
]
FINAL_LINKS_OUT = ["out", "out-file", "out-file-relative", "out-gone", "passwd", "out-around", "root", "parent"]


def spell(place, way):
    for word, path in (("OUT", place.out), ("OPEN", place.open), ("WS", place.ws)):
        way = way.replace(word, str(path), 1) if way.startswith(word) else way
    return way


def harmless(place, path):
    """May a test try to remove this? Only what is the test's own, should the daemon be so wrong as to do it."""
    ways = {os.path.normpath(place.ws / path), os.path.realpath(place.ws / path),
            os.path.realpath(os.path.normpath(place.ws / path))}
    own = [os.path.realpath(p) + "/" for p in (place.base, place.d.dir)]
    return all(any((w + "/").startswith(p) for p in own) for w in ways)


def movable(place):
    write(place.ws / "movable", "moved")


@pytest.mark.parametrize("name", ENDPOINTS)
def test_no_path_leads_out(place, name):
    ways = [spell(place, w) for w in WAYS_OUT + LINKS_OUT]
    for way in ways if name in READS else [w for w in ways if harmless(place, w)]:
        movable(place)
        r = ENDPOINTS[name](place.d, way)
        refused(r, 403, "PATH_FORBIDDEN")
        assert SECRET not in r.body and b"root:" not in r.body
        assert str(place.out) in way or str(place.out).encode() not in r.body, "tells where a link leads"
    place.untouched()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_is_there_and_what_is_not_get_the_same_answer(place, name):
    for there, gone in (("/etc/passwd", "/etc/paSSwd"), (place.out / "secret", place.out / "sacret"),
                        ("out/secret", "out/sacret"),
                        ("out/dir/x", "out/gon/x"), ("../state", "../stato")):
        if name in WRITES and not harmless(place, there):
            continue
        movable(place)
        a = ENDPOINTS[name](place.d, there)
        movable(place)
        b = ENDPOINTS[name](place.d, gone)
        said = [refused(r, 403, "PATH_FORBIDDEN")["message"].replace(os.path.basename(p), "NAME") for r,
                p in ((a, there), (b, gone))]
        assert said[0] == said[1]
    place.untouched()


@pytest.mark.parametrize("name", ["search", "download", "lines", "grep", "permissions", "owner",
                                  "replace", "upload", "put"])
def test_links_at_the_end_that_lead_out(place, name):
    """Endpoints that follow the last link refuse it; the search tests the link itself and goes no further."""
    for link in FINAL_LINKS_OUT:
        if name in WRITES and not harmless(place, link):
            continue
        r = ENDPOINTS[name](place.d, link)
        if name in ("search", "grep"):
            assert r.status in (200, 403) and SECRET not in r.body and b"dir/secret" not in r.body, r
            if r.status == 200 and name == "search":
                assert [o["type"] for o in entries(r)] == ["symlink"]
        else:
            refused(r, 403, "PATH_FORBIDDEN")
    place.untouched()


def test_links_out_are_told_as_links_and_listed_as_such(place):
    for link in FINAL_LINKS_OUT:
        o = ok(info(place.d, link)).json()[link]
        assert o["type"] == "symlink"
        refused(listing(place.d, link), 400, "INVALID_REQUEST_BODY")
    r = listing(place.d, ".", 10)
    assert SECRET not in r.body
    assert not [n for n in below(r, place.ws) if n.startswith(("out/", "root/", "passwd/"))]
    assert not [n for n in below(search(place.d, "."), place.ws) if "secret" in n]
    matches, _ = found(grep(place.d, ".", "SECRET|root:", hidden=True))
    assert matches == []


def test_links_out_can_be_deleted_and_moved(place):
    for how in (delete, rmdir):
        for target in (place.out, place.out / "secret", place.out / "gone"):
            os.symlink(target, place.ws / "goes")
            empty(how(place.d, "goes"))
            assert not (place.ws / "goes").is_symlink()
    os.symlink(place.out, place.ws / "goes")
    empty(move(place.d, ("goes", "went")))
    empty(delete(place.d, "went", recursive=True))
    place.untouched()


@pytest.mark.parametrize("encoded", ["%2e%2e/out/secret", "..%2fout%2fsecret",
                                     "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "dir/%2e%2e/%2e%2e/state",
                                     "%2fetc%2fpasswd", "dir%2f..%2f..%2f", "%2E%2E", ".%2e/x", "+/../../x"])
def test_encoded_ways_out(place, encoded):
    for method, endpoint in (("GET", "/files/info"), ("GET", "/files/download"),
                             ("GET", "/directories/list"), ("DELETE", "/files"),
                             ("PUT", "/files/content"), ("DELETE", "/directories"), ("GET", "/files/search")):
        if method != "GET" and not harmless(place, unquote_plus(encoded)):
            continue
        refused(place.d.request(method, f"{endpoint}?path={encoded}"), 403, "PATH_FORBIDDEN")
    place.untouched()


@pytest.mark.parametrize("name", ["%252e%252e/out", "..%5c..%5cetc", "%c0%ae%c0%ae/x", "...%2fx",
                                  "%e2%80%a5/x", "..%c0%afx"])
def test_names_that_only_look_like_ways_out(place, name):
    refused(place.d.get(f"/files/info?path={name}"), 404, "FILE_NOT_FOUND")


# ---- what is allowed ----


def test_links_inside_the_roots_work(place):
    with place.d.connect() as c:
        for path in ("in/file", "in-absolute/file", "in-up/file", "dir/../file", "to-open/../file"):
            assert ok(download(c, path)).body == b"a", path
        for path in ("to-open/file", "to-open-relative/file", str(place.open / "file")):
            assert ok(download(c, path)).body == b"open"
        for path in ("to-locked/file", "to-locked-file", str(place.locked / "file")):
            assert ok(download(c, path)).body == b"locked a"
        ok(put(c, "to-open/new/f", b"via a link"), 201)
        assert (place.open / "new/f").read_bytes() == b"via a link"
        assert below(listing(c, "to-open/new"), place.ws / "to-open/new") == ["f"]
        empty(move(c, ("to-open/new/f", "dir/back")))
        empty(upload(c, ("in-absolute/up", b"x")))
        empty(delete(c, "in/up", "in-up/back"))
        empty(rmdir(c, "to-open/new"))
    assert names(place.open) == ["file"] and names(place.ws / "dir") == ["file", "out"]


def test_loops_of_links(place):
    for path in ("loop", "ping"):
        assert ok(info(place.d, path)).json()[path]["type"] == "symlink"
        for name in ("download", "lines", "permissions", "replace", "upload", "put"):
            refused(ENDPOINTS[name](place.d, path), 400, "INVALID_PATH")
        for name, call in ENDPOINTS.items():
            movable(place)
            refused(call(place.d, path + "/x"), 400, "INVALID_PATH")


def test_many_links_are_a_loop(place):
    for chain, end, last in (("good", 39, "file"), ("bad", 41, "file")):
        for i in range(end):
            os.symlink(f"{chain}{i + 1}", place.ws / f"{chain}{i}")
        os.symlink(last, place.ws / f"{chain}{end}")
    assert ok(download(place.d, "good0")).body == b"a"
    refused(download(place.d, "bad0"), 400, "INVALID_PATH")
    # The same with absolute ones, which the kernel does not follow by itself.
    for chain, end in (("absolute", 39), ("toomany", 41)):
        for i in range(end):
            os.symlink(place.ws / f"{chain}{i + 1}", place.ws / f"{chain}{i}")
        os.symlink(place.ws / "file", place.ws / f"{chain}{end}")
    assert ok(download(place.d, "absolute0")).body == b"a"
    refused(download(place.d, "toomany0"), 400, "INVALID_PATH")


# ---- read-only roots, and roots themselves ----


@pytest.mark.parametrize("name", WRITES)
def test_a_read_only_root_is_only_read(place, name):
    for path in (place.locked / "file", place.locked / "new", place.locked / "new/deep/er",
                 "to-locked/file", "to-locked/new",
                 place.locked / "dir", place.locked / "tree"):
        movable(place)
        r = WRITES[name](place.d, path)
        if name in ("delete", "delete a tree", "rmdir") and not os.path.lexists(place.ws / path):
            assert r.status in (200, 403), r  # nothing there to be deleted: either answer is true
        elif r.status == 404 or (name == "mkdir" and os.path.isdir(place.ws / path)):
            assert not os.path.lexists(place.ws / path) or r.status == 200, r
        elif r.status in (400, 409):  # what is wrong with the place itself may be told first
            assert os.path.lexists(place.ws / path), r
        else:
            refused(r, 403, "READ_ONLY")
        assert (place.ws / "movable").exists()
    place.untouched()


@pytest.mark.parametrize("name", ["put", "upload", "replace", "permissions", "delete", "rmdir", "move away"])
def test_files_of_a_read_only_root_are_refused_as_such(place, name):
    refused(WRITES[name](place.d, place.locked / "file"), 403, "READ_ONLY")
    refused(WRITES[name](place.d, "to-locked/file"), 403, "READ_ONLY")
    if name in ("put", "upload", "replace", "permissions"):
        refused(WRITES[name](place.d, "to-locked-file"), 403, "READ_ONLY")
    place.untouched()


def test_reads_of_a_read_only_root_work(place):
    with place.d.connect() as c:
        for name, call in READS.items():
            assert ok(call(c, place.locked if name in ("list", "search") else place.locked / "file")).body, name


def test_roots_are_never_removed_moved_or_replaced(place):
    for r in (delete(place.d, ""), delete(place.d, "", recursive=True), rmdir(place.d, "")):
        assert r.status in (400, 403), r
    for root in (place.ws, place.open, place.locked, ".", "./", "dir/..", "in/.."):
        for r in (delete(place.d, root), delete(place.d, root, recursive=True), rmdir(place.d, root),
                  move(place.d, (root, "elsewhere")), move(place.d, ("dir", root, {"overwrite": True}))):
            assert r.status == 403 and r.json()["code"] in ("PATH_FORBIDDEN", "READ_ONLY"), r
        assert upload(place.d, (root, b"x")).status in (400, 403)
    assert (place.ws / "dir/file").exists() and (place.open / "file").exists()


def test_a_root_inside_a_root_stays(boxd, tmp_path):
    write(tmp_path / "outer/inner/file", "inner")
    write(tmp_path / "outer/other/file", "other")
    d = boxd("--allow", tmp_path / "outer", "--allow", f"{tmp_path}/outer/inner:ro")
    for path in ("outer/inner", "outer/inner/file"):
        assert delete(d, tmp_path / path, recursive=True).status == 403
        assert rmdir(d, tmp_path / path).status == 403
        assert move(d, (tmp_path / path, "gone")).status == 403
    for call in (lambda p: rmdir(d, p), lambda p: delete(d, p, recursive=True), lambda p: move(d, (p, "gone"))):
        refused(call(tmp_path / "outer"), 403, "PATH_FORBIDDEN")
    refused(put(d, tmp_path / "outer/inner/file", b"x"), 403, "READ_ONLY")
    ok(put(d, tmp_path / "outer/other/file", b"changed"))
    r = listing(d, tmp_path / "outer", 5)
    assert below(r, tmp_path / "outer") == ["inner", "inner/file", "other", "other/file"]
    deeper = boxd("--allow", f"{tmp_path}/outer:ro", "--allow", tmp_path / "outer/inner")
    ok(put(deeper, tmp_path / "outer/inner/file", b"inner"))
    refused(put(deeper, tmp_path / "outer/other/file", b"x"), 403, "READ_ONLY")
    assert rmdir(deeper, tmp_path / "outer/inner").status == 403


def test_a_directory_that_holds_a_root_stays(boxd, tmp_path):
    write(tmp_path / "outer/mid/inner/file", "inner")
    write(tmp_path / "outer/mid/a-file", "removed first, if anything is")
    d = boxd("--allow", tmp_path / "outer", "--allow", tmp_path / "outer/mid/inner")
    for call in (lambda p: rmdir(d, p), lambda p: delete(d, p, recursive=True),
                 lambda p: move(d, (p, tmp_path / "outer/gone"))):
        refused(call(tmp_path / "outer/mid"), 403, "PATH_FORBIDDEN")
    assert names(tmp_path / "outer") == ["mid", "mid/a-file", "mid/inner", "mid/inner/file"]


def test_a_root_by_a_link_is_reached_by_both_names(boxd, tmp_path):
    write(tmp_path / "real/file", "x")
    os.symlink("real", tmp_path / "link")
    d = boxd("--allow", tmp_path / "link")
    for name in ("link", "real"):
        assert ok(download(d, tmp_path / name / "file")).body == b"x"
        assert below(listing(d, tmp_path / name), tmp_path / name) == ["file"]
        refused(download(d, tmp_path / name / "../other"), 403, "PATH_FORBIDDEN")
        assert rmdir(d, tmp_path / name).status == 403
    assert (tmp_path / "real/file").exists()


def test_a_root_of_slash_confines_nothing(boxd, tmp_path):
    d = boxd("--allow", "/")
    write(tmp_path / "f", "anywhere")
    assert ok(download(d, tmp_path / "f")).body == b"anywhere"
    assert b"root:" in ok(download(d, "/etc/passwd")).body
    assert ok(download(d, "../" * 30 + "etc/passwd")).status == 200
    ok(put(d, tmp_path / "g", b"x"), 201)
    os.symlink("/etc/passwd", d.root / "link")
    assert b"root:" in ok(download(d, "link")).body


def test_the_default_roots_are_the_workspace_tmp_and_home(boxd, tmp_path):
    d = boxd(env={"HOME": str(tmp_path)})
    write(tmp_path / "f", "home")
    assert ok(download(d, "~/f")).body == b"home"
    name = f"/tmp/boxd-test-{os.getpid()}"
    ok(put(d, name, b"x"), 201)
    empty(delete(d, name))
    refused(download(d, "/etc/passwd"), 403, "PATH_FORBIDDEN")


def test_a_root_that_does_not_exist_is_outside(boxd, tmp_path):
    d = boxd("--allow", tmp_path / "later")
    refused(put(d, tmp_path / "later/f", b"x"), 403, "PATH_FORBIDDEN")
    refused(mkdir(d, {str(tmp_path / "later"): {}}), 403, "PATH_FORBIDDEN")
    assert names(tmp_path) == []


# ---- whose rights ----


@AS_ROOT
def test_users_do_not_mix(place):
    """Requests of three users on several connections: each is judged by its own rights."""
    for owner in (0, 1234, NOBODY):
        path = write(place.open / f"of{owner}", str(owner), 0o600)
        os.chown(path, owner, owner)
    problems = []

    def ask(me):
        try:
            with place.d.connect() as c:
                for i in range(60):
                    owner = (0, 1234, NOBODY)[i % 3]
                    params = {} if me == 0 else {"uid": me}
                    r = download(c, place.open / f"of{owner}", **params)
                    assert r.status == (200 if me in (0, owner) else 403), (me, owner, r)
                    name = place.open / f"made{me}"
                    r = mkdir(c, {str(name): {}}, **params)
                    assert r.status == (200 if me == 0 else 403), r
        except BaseException as e:
            problems.append(e)

    threads = [threading.Thread(target=ask, args=(u,)) for u in (0, 1234, NOBODY) * 2]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems, problems
    for path in place.open.glob("of*"):
        path.unlink()
    os.rmdir(place.open / "made0")
    status = procfs.status(place.d.pid)
    assert status["Uid"].split() == ["0"] * 4, "the daemon itself has not changed"


@AS_ROOT
def test_a_user_does_not_get_past_the_roots_either(place):
    for name, call in ENDPOINTS.items():
        movable(place)
        r = call(place.d, "out/secret", uid=NOBODY)
        assert r.status == 403 and SECRET not in r.body, name
    place.untouched()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give it up")
def test_a_daemon_without_root_cannot_be_somebody_else(boxd, tmp_path):
    shutil.chown(tmp_path, NOBODY, NOBODY)
    d = boxd("--root", tmp_path / "ws", "--state-dir", tmp_path, "--listen", "127.0.0.1:0", basics=False,
             prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    write(tmp_path / "ws/f", "x")
    assert ok(download(d, "f")).body == b"x"
    refused(download(d, "f", uid=1234), 403, "PERMISSION_DENIED")
    assert info(d, "f", uid=NOBODY).status in (200, 403)
    refused(permissions(d, {"f": {"mode": 600}}), 403, "PERMISSION_DENIED")
    refused(put(d, "/etc/passwd", quote("x")), 403, "PATH_FORBIDDEN")
