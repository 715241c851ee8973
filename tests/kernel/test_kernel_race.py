"""
Directories that turn into links, and back, while their files are used: a million times, under every
endpoint. What the links lead to is never read, never listed and never changed.
"""

import contextlib
import json
import os
import subprocess
import threading

import pytest

from built import helper, without_openat2
from files import (at, content, delete, download, form, form_field, grep, info, listing, meta,
                   mkdir, move, permissions, put, replace, rmdir, search, tree, upload, write)

SWAPS = 1_000_000
SECRET = b"SECRET-51c0ffee"
# A size that turns up nowhere else.
OUTSIDE = SECRET * 100 + b"!" * 37


@pytest.fixture
def outside(tmp_path):
    """The canary: it has whatever the inside has under the same names, and some more."""
    top = tmp_path / "outside"
    for name in ("file", "victim", "up", "up2", "only-outside", "sub/file", "tree/deep/file",
                 "tree/x/y/z", "new/file", "sub/only-outside"):
        write(top / name, OUTSIDE, 0o640)
    return top


class Scene:
    """The workspace: four places, each with a link that takes its turn."""

    def __init__(self, root, outside):
        self.root, self.outside = root, outside
        self.links = {"absolute": outside, "relative": os.path.relpath(outside, root), "deep/a": outside}
        for name in self.links:
            self.furnish(name)
        write(root / "final", "inside")
        os.symlink(outside / "file", root / ".final")

    def furnish(self, name):
        where = self.root / name
        for f in ("file", "victim", "sub/file", "tree/deep/file", "tree/x/y/z"):
            write(where / f, "inside")
        os.symlink(self.links[name], where.parent / ("." + where.name))

    def mend(self):
        """Whoever replaces a file in the moment in which it turns into a link replaces the link: it is put back."""
        final, other, spare = (self.root / n for n in ("final", ".final", ".spare"))
        if not final.is_symlink() and not other.is_symlink() and not final.is_symlink():
            os.symlink(self.outside / "file", spare)
            os.rename(spare, other)

    def pairs(self):
        # A file is looked at and opened in one go: its link has to come and go the more often.
        for name in ("absolute", "final", "relative", "final", "deep/a", "final"):
            where = self.root / name
            yield from (str(where), str(where.parent / ("." + where.name)))


def requests(p):
    """Each of them goes through p, which is a directory or a link as it happens."""
    body = form([meta(f"{p}/up2"), content(b"inside")])
    edit = {"old": "inside", "new": "inside"}
    return {
        "info": lambda c: info(c, f"{p}/file"), "info deeper": lambda c: info(c, f"{p}/sub/file"),
        "info of itself": lambda c: info(c, p),
        "download": lambda c: download(c, f"{p}/file"),
        "lines": lambda c: download(c, f"{p}/sub/file", offset=1),
        "range": lambda c: download(c, f"{p}/file", [("Range", "bytes=0-5")]),
        "head": lambda c: download(c, f"{p}/file", method="HEAD"),
        "list": lambda c: listing(c, p, 5), "list deeper": lambda c: listing(c, f"{p}/sub"),
        "search": lambda c: search(c, f"{p}/sub"),
        "grep": lambda c: grep(c, f"{p}/sub", "SECRET|inside"),
        "grep a file": lambda c: grep(c, f"{p}/file", "."),
        "put": lambda c: put(c, f"{p}/file", b"inside"), "put new": lambda c: put(c, f"{p}/up", b"inside"),
        "put deeper": lambda c: put(c, f"{p}/new/dir/f", b"inside"),
        "upload": lambda c: c.request("POST", "/files/upload", [form_field()], body),
        "permissions": lambda c: permissions(c, {f"{p}/file": {"mode": 777}}),
        "owner": lambda c: permissions(c, {f"{p}/file": {"owner": "1"}}),
        "replace": lambda c: replace(c, {f"{p}/file": edit}),
        "mkdir": lambda c: mkdir(c, {f"{p}/made/here": {"mode": 700}}),
        "rmdir": lambda c: rmdir(c, f"{p}/tree"), "rmdir of made": lambda c: rmdir(c, f"{p}/made"),
        "delete": lambda c: delete(c, f"{p}/up", f"{p}/victim"),
        "delete a tree": lambda c: delete(c, f"{p}/new", recursive=True),
        "move away": lambda c: move(c, (f"{p}/file", f"taken-{p}", {"overwrite": True})),
        "move back": lambda c: move(c, (f"taken-{p}", f"{p}/file")),
        "move inside": lambda c: move(c, (f"{p}/up2", f"{p}/victim", {"overwrite": True})),
        "make a tree": lambda c: put(c, f"{p}/tree/x/y/z", b"inside"),
        "make a sub": lambda c: put(c, f"{p}/sub/file", b"inside"),
    }


def finals():
    edit = {"old": "inside", "new": "inside"}
    return {
        "final info": lambda c: info(c, "final"), "final download": lambda c: download(c, "final"),
        "final lines": lambda c: download(c, "final", limit=1),
        "final grep": lambda c: grep(c, "final", "."), "final search": lambda c: search(c, "final"),
        "final put": lambda c: put(c, "final", b"inside"),
        "final upload": lambda c: upload(c, ("final", b"inside")),
        "final mode": lambda c: permissions(c, {"final": {"mode": 777}}),
        "final owner": lambda c: permissions(c, {"final": {"owner": "1"}}),
        "final replace": lambda c: replace(c, {"final": edit}),
        "grep here": lambda c: grep(c, ".", "SECRET|inside", max_per_file=1),
        "list all": lambda c: listing(c, "deep", 9), "search all": lambda c: search(c, "deep"),
        "grep all": lambda c: c.request("POST", at("/files/grep"), (),
                                        json.dumps({"path": "deep", "pattern": "SECRET|inside",
                                                    "hidden": True})),
        "search for it": lambda c: search(c, ".", "only-outside"),
    }


class Client:
    """A connection that is made anew where the daemon ends it with its answer."""

    def __init__(self, d):
        self.d, self.conn = d, d.connect()

    def request(self, *args):
        r = self.conn.request(*args)
        if r.will_close:
            self.close()
            self.conn = self.d.connect()
        return r

    def close(self):
        self.conn.close()


def drive(d, calls, stop, seen, problems):
    """Uses all of them in turn until the swapper has finished."""
    try:
        with contextlib.closing(Client(d)) as c:
            while not stop.is_set():
                for name, call in calls.items():
                    r = call(c)
                    kind = "ok" if r.status < 300 else str(r.status)
                    seen[name, kind] = seen.get((name, kind), 0) + 1
                    assert SECRET not in r.body, f"{name} tells what is outside: {r}"
                    assert b"only-outside" not in r.body, f"{name} lists what is outside: {r}"
                    assert b'"size":%d,' % len(OUTSIDE) not in r.body, f"{name} measures what is outside: {r}"
                    assert r.field("content-length") != str(len(OUTSIDE)), f"{name}: {r}"
                    # Who reads, edits and writes back may find that it was never the same file twice.
                    assert r.status < 500 or (r.status == 503 and "replace" in name), f"{name}: {r}"
    except BaseException as e:
        problems.append(e)


def remove_and_rebuild(d, scene, stop, seen, problems):
    """Trees are removed while the directories in them turn into links."""
    def call(c):
        r = rmdir(c, "deep")
        if r.status < 300 and not stop.is_set():
            scene.furnish("deep/a")
        scene.mend()
        return r
    drive(d, {"rmdir all": call, "list what is left": lambda c: listing(c, ".", 9)}, stop, seen, problems)


@pytest.mark.seconds(240)
@pytest.mark.parametrize("openat2", ["openat2", "ENOSYS"])
def test_a_million_swaps_let_nobody_out(boxd, outside, openat2):
    d = boxd("--allow", "/nonexistent", prefix=without_openat2(openat2) if openat2 != "openat2" else ())
    scene = Scene(d.root, outside)
    before = tree(outside)
    stop, seen, problems = threading.Event(), {}, []
    threads = [threading.Thread(target=drive, args=(d, calls, stop, seen, problems))
               for calls in ({**requests("absolute"), **requests("relative")}, finals())]
    threads.append(threading.Thread(target=remove_and_rebuild, args=(d, scene, stop, seen, problems)))
    swapper = subprocess.Popen([helper("swapper"), str(SWAPS), *scene.pairs()], stdout=subprocess.PIPE,
                               text=True)
    try:
        for t in threads:
            t.start()
        out, _ = swapper.communicate(timeout=200)
    finally:
        stop.set()
        swapper.kill()
        for t in threads:
            t.join()
    assert not problems, problems[0]
    assert tree(outside) == before, "something outside was changed"
    assert (swapper.returncode, int(out)) == (0, SWAPS)
    assert {n for n, _ in seen} >= set(requests("x")) | set(finals()) | {"rmdir all"}
    # The race was one: what can meet the link did, and found the directory at other times.
    for name in ("info", "download", "put", "permissions", "replace", "upload", "mkdir", "list deeper", "rmdir",
                 "final put", "final download"):
        told = {kind: n for (used, kind), n in seen.items() if used == name}
        assert told.get("ok") and told.get("403"), f"{name}: {told}"
