"""POST /files/mv: names change, and nothing is ever lost or overwritten unasked (contract 1.11)."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from files import (AS_ROOT, NOBODY, batch, delete, empty, info, move, names, noise, ok, put,
                   refused, small_disk, special, top, tree, write)


def test_files_and_directories_move_with_parents_made(shared, top):
    f = write(top / "f", "x", 0o640)
    write(top / "d/deep/file", "y")
    inode = f.stat().st_ino
    empty(move(shared, (f, top / "new/parents/g"), (top / "d", top / "e"), (top / "e/deep/file", top / "file")))
    assert names(top) == ["e", "e/deep", "file", "new", "new/parents", "new/parents/g"]
    moved = (top / "new/parents/g").stat()
    assert (moved.st_ino, stat.S_IMODE(moved.st_mode)) == (inode, 0o640)
    empty(shared.post("/files/mv", "[]"))


def test_a_missing_source_is_told(shared, top):
    write(top / "file")
    for src in ("gone", "gone/deeper", "file/below"):
        refused(move(shared, (top / src, top / "new/x")), 404, "FILE_NOT_FOUND")
    assert not (top / "x").exists()


def test_what_exists_is_not_overwritten(shared, top):
    src = write(top / "src", "src")
    write(top / "file", "file")
    (top / "dir").mkdir()
    write(top / "full/x")
    os.symlink("file", top / "link")
    os.symlink("nowhere", top / "dangling")
    before = tree(top)
    for name in ("file", "dir", "full", "link", "dangling", "src"):
        refused(move(shared, (src, top / name)), 409, "FILE_EXISTS")
        refused(move(shared, (src, top / name, {"overwrite": False})), 409, "FILE_EXISTS")
    refused(move(shared, (top / "full", top / "dir")), 409, "FILE_EXISTS")
    assert tree(top) == before


def test_overwriting_is_asked_for(shared, top):
    src = write(top / "src", "src")
    write(top / "file", "file")
    empty(move(shared, (src, top / "file", {"overwrite": True})))
    assert (top / "file").read_text() == "src" and names(top) == ["file"]
    os.symlink("elsewhere", top / "link")
    empty(move(shared, (top / "file", top / "link", {"overwrite": True})))
    assert not (top / "link").is_symlink() and (top / "link").read_text() == "src" and names(top) == ["link"]
    write(top / "full/x")
    (top / "dir").mkdir()
    empty(move(shared, (top / "full", top / "dir", {"overwrite": True})))
    assert names(top) == ["dir", "dir/x", "link"]
    for src, dest in (("link", "dir"), ("dir", "link")):
        r = move(shared, (top / src, top / dest, {"overwrite": True}))
        assert 400 <= r.status < 500, r
    write(top / "full/y")
    r = move(shared, (top / "full", top / "dir", {"overwrite": True}))
    assert 400 <= r.status < 500, "a directory that holds something is not replaced"
    assert (top / "dir/x").exists() and (top / "full/y").exists()


def test_links_move_themselves(shared, top):
    write(top / "target", "x")
    for name, target in (("good", "target"), ("dangling", "nowhere"), ("loop", "loop"), ("out", "/dev/null")):
        os.symlink(target, top / name)
        empty(move(shared, (top / name, top / "moved" / name)))
        assert os.readlink(top / "moved" / name) == target
    assert (top / "target").read_text() == "x"


def test_special_files_move(shared, top):
    for kind in ("fifo", "socket"):
        empty(move(shared, (special(top / kind, kind), top / f"moved-{kind}")))
    assert names(top) == ["moved-fifo", "moved-socket"]


def test_a_directory_does_not_move_into_itself(shared, top):
    write(top / "d/e/f")
    for dest in ("d/x", "d/e/x", "d/new/x"):
        refused(move(shared, (top / "d", top / dest)), 400, "INVALID_REQUEST_BODY")
    assert (top / "d/e/f").exists()


BAD = {
    "an object": {"src": "a", "dest": "b"}, "a string": '"a"', "a number": "1", "nothing": "",
    "half": '[{"src":',
    "an array of strings": ["a", "b"], "no dest": [{"src": "a"}], "no src": [{"dest": "a"}],
    "an empty src": [{"src": "", "dest": "a"}], "an empty dest": [{"src": "a", "dest": ""}],
    "a src of a number": [{"src": 1, "dest": "a"}], "a dest of an array": [{"src": "a", "dest": []}],
    "overwrite as text": [{"src": "kept", "dest": "a", "overwrite": "yes"}],
    "if_match of a number": [{"src": "kept", "dest": "a", "if_match": 1}],
}


@pytest.mark.parametrize("name", BAD)
def test_bodies_that_cannot_be(shared, name):
    write(shared.root / "kept", "x")
    refused(move(shared, body=BAD[name] if isinstance(BAD[name], str) else json.dumps(BAD[name])),
            400, "INVALID_REQUEST_BODY")
    assert (shared.root / "kept").exists()


def test_a_batch_stops_at_its_first_failure(shared, top):
    for n in "abc":
        write(top / n, n)
    r = move(shared, (top / "a", top / "a2"), (top / "b", top / "c"), (top / "c", top / "c2"))
    body = refused(r, 409, "FILE_EXISTS")
    assert body["done"] == [str(top / "a")] and body["failed"] == str(top / "b"), r
    assert names(top) == ["a2", "b", "c"]


def test_a_move_may_be_conditional(shared, top):
    path = write(top / "f", "one")
    tag = ok(info(shared, path)).json()[str(path)]["etag"]
    for wrong in ('"no"', f"W/{tag}"):
        refused(move(shared, (path, top / "g"), fields=[("If-Match", wrong)]), 412, "PRECONDITION_FAILED")
        refused(move(shared, (path, top / "g", {"if_match": wrong})), 412, "PRECONDITION_FAILED")
    assert move(shared, (path, top / "g"), (path, top / "h"), fields=[("If-Match", tag)]).status == 400
    assert names(top) == ["f"]
    empty(move(shared, (path, top / "g"), fields=[("If-Match", tag)]))
    # Moving does not make it another file; renames may or may not count as a change of its status.
    tag = ok(info(shared, top / "g")).json()[str(top / "g")]["etag"]
    empty(move(shared, (top / "g", top / "h", {"if_match": tag})))
    batch(move(shared, (top / "h", top / "i"), (top / "i", top / "j", {"if_match": '"x"'})), 412,
          "PRECONDITION_FAILED", [str(top / "h")], str(top / "i"))


def test_of_two_moves_to_one_name_one_wins(shared, top):
    with ThreadPoolExecutor(4) as pool:
        for i in range(25):
            sources = [write(top / f"s{i}-{k}", str(k)) for k in range(4)]
            answers = list(pool.map(lambda s: move(shared, (s, top / f"d{i}")), sources))
            assert sorted(r.status for r in answers) == [200, 409, 409, 409]
            winner = [r.status for r in answers].index(200)
            assert (top / f"d{i}").read_text() == str(winner)
            assert [s.exists() for s in sources] == [k != winner for k in range(4)]


@AS_ROOT
def test_rights_are_needed_on_both_sides(shared, top):
    write(top / "locked/f", "x")
    (top / "open").mkdir()
    (top / "open").chmod(0o777)
    refused(move(shared, (top / "locked/f", top / "open/f"), uid=NOBODY), 403, "PERMISSION_DENIED")
    ok(put(shared, top / "open/g", b"g", uid=NOBODY), 201)
    refused(move(shared, (top / "open/g", top / "locked/g"), uid=NOBODY), 403, "PERMISSION_DENIED")
    assert sorted(names(top)) == ["locked", "locked/f", "open", "open/g"]


# ---- from one file system to another ----


@pytest.fixture
def far(tmp_path):
    """A directory on another file system."""
    with small_disk(tmp_path / "far", "2m") as where:
        yield where


def spread(top):
    """A tree with one of everything."""
    write(top / "d/file", noise(100_000), 0o640)
    write(top / "d/.hidden/exe", "#!/bin/sh\n", 0o4755)
    (top / "d/none").mkdir(mode=0o700)
    os.symlink("../file", top / "d/.hidden/link")
    os.symlink("/dev/null", top / "d/out")
    special(top / "d/fifo", "fifo")
    os.truncate(write(top / "d/sparse"), 10_000_000)
    os.setxattr(top / "d/file", "user.boxd-test", b"kept")
    for i, p in enumerate([*sorted((top / "d").rglob("*"), reverse=True), top / "d"]):
        os.chown(p, 1000 + i, 2000 + i, follow_symlinks=False)
        if not p.is_symlink() and p.stat().st_uid:
            os.chmod(p, {"exe": 0o4755, "file": 0o640}.get(p.name, 0o751))
        os.utime(p, ns=(10**18 + i, 10**18 + 1000 * i), follow_symlinks=False)


def lasting(top):
    """What a copy keeps: all but inode numbers and times of the change of status."""
    return {k: (v[0], v[1], v[2], None if k == "." else v[5], v[7]) for k, v in tree(top).items()}


@AS_ROOT
def test_a_tree_moves_to_another_file_system(boxd, far):
    d = boxd("--allow", far)
    spread(d.root)
    before, held = lasting(d.root / "d"), len(d.fds())
    assert os.stat(far).st_dev != os.stat(d.root).st_dev
    empty(move(d, (d.root / "d", far / "made/here")))
    assert lasting(far / "made/here") == before and names(d.root) == []
    assert os.getxattr(far / "made/here/file", "user.boxd-test") == b"kept"
    assert os.stat(far / "made/here/sparse").st_blocks < 1000, "holes stay holes"
    empty(move(d, (far / "made/here", d.root / "back")))
    assert lasting(d.root / "back") == before and names(far) == ["made"]
    assert len(d.fds()) <= held + 1


@AS_ROOT
def test_files_and_links_move_to_another_file_system(boxd, far):
    d = boxd("--allow", far)
    os.symlink("nowhere", d.root / "link")
    empty(move(d, (write(d.root / "f", "x", 0o604), far / "f"), ("link", far / "link")))
    assert stat.S_IMODE((far / "f").stat().st_mode) == 0o604 and os.readlink(far / "link") == "nowhere"
    write(d.root / "f", "y")
    refused(move(d, ("f", far / "f")), 409, "FILE_EXISTS")
    empty(move(d, ("f", far / "f", {"overwrite": True})))
    assert (far / "f").read_text() == "y" and names(d.root) == [] and names(far) == ["f", "link"]


@AS_ROOT
def test_a_move_that_does_not_fit_leaves_all_as_it_was(boxd, far):
    d = boxd("--allow", far)
    write(d.root / "d/a", noise(1_000_000))
    write(d.root / "d/b/c", noise(1_500_000))
    write(far / "kept", "x")
    before, there = tree(d.root), tree(far)
    for item in ((d.root / "d", far / "d"), (d.root / "d", far / "kept", {"overwrite": True})):
        r = move(d, item)
        assert r.status == 507 or (len(item) == 3 and 400 <= r.status < 500), r
        assert tree(d.root) == before and names(far) == ["kept"]
    refused(move(d, (write(d.root / "big", noise(3_000_000)), far / "big")), 507, "INSUFFICIENT_STORAGE")
    assert names(far) == ["kept"] and (far / "kept").read_text() == "x"
    assert {k: v[7] for k, v in tree(far).items()} == {k: v[7] for k, v in there.items()}
    empty(delete(d, far / "kept"))


@AS_ROOT
def test_a_file_system_below_a_directory_is_no_obstacle(boxd, tmp_path):
    """A mount point itself cannot move; what is in it can."""
    d = boxd()
    with small_disk(Path(d.root) / "mnt", "1m") as mnt:
        write(mnt / "f", "x")
        r = move(d, ("mnt", "elsewhere"))
        assert 400 <= r.status < 500 or r.status == 500, r
        assert (mnt / "f").read_text() == "x" and not (d.root / "elsewhere").exists()
        empty(move(d, ("mnt/f", "out")))
        assert (d.root / "out").read_text() == "x" and names(mnt) == []
    os.rmdir(d.root / "mnt")
