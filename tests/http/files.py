"""
The file endpoints as the tests use them: one function per endpoint, which takes a daemon or a
connection; and what is looked at on the disk before and after.

A reply that describes files is checked in full wherever it turns up, so that a test only says what
it is about.
"""

import contextlib
import grp
import itertools
import json
import os
import pwd
import random
import re
import socket
import stat
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import pytest

import procfs
from harness import manage
from wire import Conn

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")
STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$")
FIRST_KEYS = ["path", "type", "size", "modified_at", "created_at", "owner", "group", "mode"]
MORE_KEYS = {"mode_octal", "etag", "path_encoded"}

# ---- requests ----


def at(endpoint, *paths, **params):
    """A target: at("/files/info", a, b, uid=1). Paths may be bytes."""
    pairs = ["path=" + quote(os.fsencode(p), safe="/") for p in paths]
    for name, value in params.items():
        if value is not None:
            value = str(value).lower() if isinstance(value, bool) else str(value)
            pairs.append(f"{name}={quote(value, safe='')}")
    return endpoint + ("?" + "&".join(pairs) if pairs else "")


def send_json(who, method, endpoint, body, params, fields=()):
    body = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return who.request(method, at(endpoint, **params), fields, body)


def info(who, *paths, **params):
    return who.request("GET", at("/files/info", *paths, **params))


def delete(who, *paths, fields=(), **params):
    return who.request("DELETE", at("/files", *paths, **params), fields)


def permissions(who, body, **params):
    return send_json(who, "POST", "/files/permissions", body, params)


def move(who, *items, fields=(), body=None, **params):
    """Items are (src, dest) or (src, dest, {more members})."""
    if body is None:
        body = [{"src": str(i[0]), "dest": str(i[1]), **(i[2] if len(i) > 2 else {})} for i in items]
    return send_json(who, "POST", "/files/mv", body, params, fields)


def search(who, path, pattern=None, **params):
    return who.request("GET", at("/files/search", path, pattern=pattern, **params))


def replace(who, body, **params):
    return send_json(who, "POST", "/files/replace", body, params)


def swap_text(who, path, old, new, **members):
    """Replaces in one file; the count."""
    r = replace(who, {str(path): {"old": old, "new": new, **members}}, verbose=True)
    return ok(r).json()[str(path)]["replacedCount"]


def put(who, path, data=b"", fields=(), **params):
    return who.request("PUT", at("/files/content", path, **params), fields, data)


def download(who, path, fields=(), method="GET", **params):
    return who.request(method, at("/files/download", path, **params), fields)


def listing(who, path, depth=None, **params):
    return who.request("GET", at("/directories/list", path, depth=depth, **params))


def mkdir(who, body, **params):
    return send_json(who, "POST", "/directories", body, params)


def rmdir(who, *paths, **params):
    return who.request("DELETE", at("/directories", *paths, **params))


def grep(who, path, pattern, query=None, **members):
    return send_json(who, "POST", "/files/grep", {"path": str(path), "pattern": pattern, **members},
                     query or {})


# ---- multipart ----

BOUNDARY = "boxd-test-Z8n4Qw"


def part(name, data, filename=None, extra=""):
    """A part without its delimiter."""
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    data = data.encode() if isinstance(data, str) else data
    return f"Content-Disposition: {disposition}\r\n{extra}\r\n".encode() + data


def meta(path, **members):
    return part("metadata", json.dumps({"path": str(path), **members}), "metadata",
                "Content-Type: application/json\r\n")


def content(data):
    return part("file", data, "blob", "Content-Type: application/octet-stream\r\n")


def form(parts, boundary=BOUNDARY):
    edge = b"--" + boundary.encode()
    return b"".join(edge + b"\r\n" + p + b"\r\n" for p in parts) + edge + b"--\r\n"


def form_field(boundary=BOUNDARY):
    return ("Content-Type", f"multipart/form-data; boundary={boundary}")


def interleave(order, pairs):
    """Parts in an order such as "mffm": the i-th m belongs to the i-th f."""
    metas = iter([meta(p, **(dict(*more) if more else {})) for p, _, *more in pairs])
    contents = iter([content(data) for _, data, *_ in pairs])
    return [next(metas) if c == "m" else next(contents) for c in order]


def upload(who, *pairs, order=None, fields=(), **params):
    """Pairs are (path, data) or (path, data, {more metadata})."""
    body = form(interleave(order or "mf" * len(pairs), pairs))
    return who.request("POST", at("/files/upload", **params), [form_field(), *fields], body)


def post_form(who, body, boundary=BOUNDARY, fields=(), **params):
    return who.request("POST", at("/files/upload", **params), [form_field(boundary), *fields], body)


def chunks(data, sizes=(7, 8192, 1, 65536)):
    """A chunked body, its end included, in chunks of these sizes in turn."""
    at_byte, turn = 0, itertools.cycle(sizes)
    while at_byte < len(data):
        piece = data[at_byte:at_byte + next(turn)]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
        at_byte += len(piece)
    yield b"0\r\n\r\n"


@contextlib.contextmanager
def connection(who):
    if isinstance(who, Conn):
        yield who
    else:
        with who.connect() as c:
            yield c


def send_pieces(who, method, target, fields, pieces, deadline=None):
    """
    A request whose body is sent bit by bit, framed already. The daemon may answer, and hang up,
    before it has all of it.
    """
    with connection(who) as c:
        c.send(c.head(method, target, fields))
        try:
            for piece in pieces:
                c.send(piece)
        except ConnectionError:
            pass
        return c.response(method, deadline)


def send_chunked(who, method, target, fields, data, sizes=(7, 8192, 1, 65536)):
    fields = [*fields, ("Transfer-Encoding", "chunked")]
    return send_pieces(who, method, target, fields, chunks(data, sizes))


# ---- replies ----


def ok(r, status=200):
    assert r.status == status, r
    return r


def empty(r, status=200):
    """A success that has nothing to say."""
    assert (r.status, r.body, r.field("content-length")) == (status, b"", "0"), r
    return r


def refused(r, status, code, word=""):
    body = r.json() if r.body else {}
    assert (r.status, body.get("code")) == (status, code), r
    assert word in body["message"], r
    return body


def stamp_ns(text):
    """Nanoseconds since 1970 of an RFC 3339 time."""
    m = STAMP.match(text)
    assert m, f"no RFC 3339 time: {text!r}"
    zone = "+00:00" if m[3] == "Z" else m[3]
    whole = datetime.fromisoformat(m[1] + zone).astimezone(timezone.utc)
    return int(whole.timestamp()) * 10**9 + int((m[2] or "").ljust(9, "0"))


def name_of(database, ident):
    try:
        return database(ident)[0]
    except KeyError:
        return str(ident)


def kind_of(mode):
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return kinds.get(stat.S_IFMT(mode), "other")


def check_info(o):
    """The form of a FileInfo."""
    keys = list(o)
    assert keys[:8] == FIRST_KEYS and set(keys[8:]) <= MORE_KEYS and "mode_octal" in keys, keys
    assert o["type"] in ("file", "directory", "symlink", "other"), o
    assert type(o["size"]) is int and o["size"] >= 0 and type(o["mode"]) is int, o
    assert re.match(r"^[0-7]{4}$", o["mode_octal"]), o
    assert o["mode"] == int(o["mode_octal"][1:]), "decimal digits that are octal"
    stamp_ns(o["modified_at"]), stamp_ns(o["created_at"])
    assert isinstance(o["owner"], str) and o["owner"] and isinstance(o["group"], str) and o["group"], o
    assert ("etag" in o) == (o["type"] == "file"), o
    assert o["path"].startswith("/"), o
    if "etag" in o:
        assert re.match(r'^"[!#-~]+"$', o["etag"]), o
    if "path_encoded" in o:
        raw = unquote_to_bytes(o["path_encoded"])
        assert re.match(r"^(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+$", o["path_encoded"]), o
        assert "\ufffd" in o["path"] and b"\0" not in raw, o
        with pytest.raises(UnicodeDecodeError):
            raw.decode()
    return o


def same_as_disk(o, path):
    """A FileInfo says what the disk says."""
    st = os.lstat(path)
    assert check_info(o)["type"] == kind_of(st.st_mode)
    assert o["size"] == st.st_size
    assert o["mode_octal"] == "%04o" % stat.S_IMODE(st.st_mode)
    assert stamp_ns(o["modified_at"]) == st.st_mtime_ns
    assert stamp_ns(o["created_at"]) == st.st_ctime_ns
    assert o["owner"] == name_of(pwd.getpwuid, st.st_uid)
    assert o["group"] == name_of(grp.getgrgid, st.st_gid)
    return o


def entries(r):
    """The FileInfos of a listing or a search."""
    assert ok(r).field("content-type", "").startswith("application/json"), r
    found = r.json()
    assert isinstance(found, list)
    return [check_info(o) for o in found]


def raw_path(o):
    return unquote_to_bytes(o["path_encoded"]) if "path_encoded" in o else o["path"].encode()


def below(r, root):
    """The paths of a listing or a search, relative to root."""
    root = os.fsencode(root)
    out = []
    for o in entries(r):
        assert raw_path(o) == root or raw_path(o).startswith(root + b"/"), o
        out.append(os.fsdecode(raw_path(o)[len(root) + 1:]))
    return out


def skipped(r):
    """X-Skipped-Directories, as a field of the head or as a trailer; 0 when it is not there."""
    value = r.trailers.get("x-skipped-directories", r.field("x-skipped-directories", "0"))
    assert re.match(r"^\d+$", value), r
    return int(value)


def batch(r, status, code, done, failed):
    """A batch that failed in the middle says how far it came."""
    body = refused(r, status, code)
    assert (body.get("done"), body.get("failed")) == (done, failed), r
    return body


MATCH_KEYS = {"type", "path", "line", "column", "length", "text", "before", "after", "cut", "path_encoded"}
SUMMARY = {"files", "matched_files", "matches", "bytes", "duration_ms"}
SKIPS = {"binary", "too_large", "unreadable_files", "unreadable_directories", "gave_up"}


def found(r):
    """The matches and the summary of a grep, after what is always true was checked."""
    assert ok(r).field("content-type") == "application/x-ndjson", r
    assert r.body.endswith(b"\n"), "the last line is cut"
    lines = [json.loads(x.decode()) for x in r.body.split(b"\n")[:-1]]
    matches, s = lines[:-1], lines[-1]
    assert s["type"] == "summary" and set(s) == SUMMARY | {"type", "skipped", "truncated", "reason"}, s
    assert set(s["skipped"]) == SKIPS, s
    assert all(type(v) is int and v >= 0 for v in [*s["skipped"].values(), *(s[k] for k in SUMMARY)]), s
    assert s["truncated"] is (s["reason"] is not None) and s["reason"] in (None, "max_results", "timeout"), s
    for m in matches:
        assert m["type"] == "match" and set(m) <= MATCH_KEYS, m
        assert MATCH_KEYS - set(m) <= {"cut", "path_encoded"}, m
        assert m["line"] >= 1 and m["column"] >= 1 and m["length"] >= 0, m
        assert m.get("cut", True) is True and "\n" not in m["text"], m
    assert s["matches"] >= len(matches) and s["matched_files"] <= s["files"], s
    return matches, s


# ---- the disk ----


@pytest.fixture(scope="module")
def starter(request):
    """Starts daemons for the tests of a module."""
    start, finish = manage(request)
    yield start
    finish()


@pytest.fixture
def top(shared, request):
    """A directory of the test's own in the workspace of the shared daemon."""
    path = shared.root / re.sub(r"\W", "_", request.node.name)[:80]
    path.mkdir(exist_ok=True)
    return path


def tree(top):
    """All that somebody could have changed about a tree, the directory itself included."""
    out = {}
    for path in [Path(top), *sorted(Path(top).rglob("*"))]:
        st = path.lstat()
        what = None
        if stat.S_ISLNK(st.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(st.st_mode):
            what = path.read_bytes()
        out[str(path.relative_to(top))] = (
            st.st_mode, st.st_uid, st.st_gid, st.st_ino, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns, what)
    return out


def names(top):
    """Every name below a directory, hidden ones too."""
    return sorted(str(p.relative_to(top)) for p in Path(top).rglob("*"))


def write(path, data=b"", mode=None):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    if mode is not None:
        path.chmod(mode)
    return path


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


def special(path, kind):
    """A FIFO, a socket or a device at path."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        s = socket.socket(socket.AF_UNIX)
        here = os.open(path.parent, os.O_PATH)
        s.bind(f"/proc/self/fd/{here}/{path.name}")  # the path itself may be too long for an address
        os.close(here)
        s.close()
    else:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    return path


@contextlib.contextmanager
def small_disk(where, size):
    """A tmpfs of that size, mounted at where."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    Path(where).mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "boxd-test", str(where)],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield Path(where)
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def calm(d, count, deadline=15):
    """Waits until the daemon has no more than so many descriptors: it has let go of what it did."""
    def same():
        """descriptors are given back"""
        return len(d.fds()) <= count
    procfs.wait_until(same, deadline)


# ---- all of them ----

READS = {
    "info": lambda w, p, **q: info(w, p, **q),
    "search": lambda w, p, **q: search(w, p, "*", **q),
    "download": lambda w, p, **q: download(w, p, **q),
    "lines": lambda w, p, **q: download(w, p, offset=1, **q),
    "list": lambda w, p, **q: listing(w, p, 3, **q),
    "grep": lambda w, p, **q: grep(w, p, ".", q),
}
# What is moved there, and where what is moved away goes, are names in the workspace.
WRITES = {
    "delete": lambda w, p, **q: delete(w, p, **q),
    "delete a tree": lambda w, p, **q: delete(w, p, recursive=True, **q),
    "permissions": lambda w, p, **q: permissions(w, {str(p): {"mode": 777}}, **q),
    "owner": lambda w, p, **q: permissions(w, {str(p): {"owner": "65534"}}, **q),
    "move away": lambda w, p, **q: move(w, (p, "taken"), **q),
    "move there": lambda w, p, **q: move(w, ("movable", p), **q),
    "move over": lambda w, p, **q: move(w, ("movable", p, {"overwrite": True}), **q),
    "replace": lambda w, p, **q: replace(w, {str(p): {"old": "a", "new": "b"}}, **q),
    "upload": lambda w, p, **q: upload(w, (p, b"uploaded"), **q),
    "put": lambda w, p, **q: put(w, p, b"put", **q),
    "mkdir": lambda w, p, **q: mkdir(w, {str(p): {"mode": 700}}, **q),
    "rmdir": lambda w, p, **q: rmdir(w, p, **q),
}
ENDPOINTS = {**READS, **WRITES}
