"""GET /directories/list: what is in a directory, level by level (contract 1.16)."""

import gzip
import os
import threading

import pytest

from files import at, below, listing, ok, refused, rmdir, same_as_disk, search, special, top, write


@pytest.fixture
def example(top):
    for name in ("a/x", "a/y", "b", "c"):
        write(top / name, name)
    return top


@pytest.mark.parametrize("depth, want", [
    (None, ["a", "b", "c"]), ("", ["a", "b", "c"]), (0, []), (1, ["a", "b", "c"]),
    (2, ["a", "a/x", "a/y", "b", "c"]),
    (3, ["a", "a/x", "a/y", "b", "c"]), (1_000_000, ["a", "a/x", "a/y", "b", "c"])])
def test_depth(shared, example, depth, want):
    r = listing(shared, example, depth)
    assert below(r, example) == want
    for o in r.json():
        same_as_disk(o, o["path"])


def test_children_follow_their_directory(shared, top):
    for name in ("a/z", "a-b", "a.txt", "a/b/c", "a0/x", ".h/x", "Z", "ä/x", "b/"):
        (top / name).mkdir(parents=True) if name[-1] == "/" else write(top / name)
    assert below(listing(shared, top, 9), top) == [
        ".h", ".h/x", "Z", "a", "a/b", "a/b/c", "a/z", "a-b", "a.txt", "a0", "a0/x", "b", "ä", "ä/x"]


def test_links_are_listed_and_not_entered(shared, top):
    write(top / "dir/file", "x")
    os.symlink("dir", top / "link")
    os.symlink("..", top / "dir/up")
    os.symlink("/etc", top / "out")
    os.symlink("nowhere", top / "dangling")
    special(top / "fifo", "fifo")
    r = listing(shared, top, 9)
    assert below(r, top) == ["dangling", "dir", "dir/file", "dir/up", "fifo", "link", "out"]
    assert [o["type"] for o in r.json()] == ["symlink", "directory", "file", "symlink", "other",
                                             "symlink", "symlink"]


def test_the_root_must_be_a_directory(shared, top):
    write(top / "file", "x")
    write(top / "secret-target/inside", "x")
    os.symlink("secret-target", top / "link")
    os.symlink("no-such-target", top / "dangling")
    os.symlink("loop", top / "loop")
    for name in ("file", "link", "dangling", "loop", "link/", "link/.", "file/"):
        for depth in (None, 0, 5):
            r = listing(shared, f"{top}/{name}", depth)
            refused(r, 400, "INVALID_REQUEST_BODY")
            assert b"target" not in r.body and b"inside" not in r.body
    refused(listing(shared, top / "gone"), 404, "FILE_NOT_FOUND")
    refused(listing(shared, top / "gone", 0), 404, "FILE_NOT_FOUND")
    refused(listing(shared, top / "file/x"), 404, "FILE_NOT_FOUND")
    assert below(listing(shared, top / "link/../secret-target"), top / "secret-target") == ["inside"]


def test_links_on_the_way_are_followed(shared, top):
    write(top / "real/sub/file", "x")
    os.symlink("real", top / "link")
    assert below(listing(shared, top / "link/sub"), top / "link/sub") == ["file"]


def test_the_query_is_checked_first(shared, top):
    for target in ("/directories/list", "/directories/list?path=", "/directories/list?depth=1"):
        refused(shared.get(target), 400, "MISSING_QUERY")
    for depth in ("x", "-1", "1.5", "1x", "0x1", "99999999999999999999", "--1"):
        refused(listing(shared, top, depth), 400, "INVALID_REQUEST_BODY")
        refused(listing(shared, top / "gone", depth), 400, "INVALID_REQUEST_BODY")
        refused(listing(shared, "/etc", depth), 400, "INVALID_REQUEST_BODY")


def test_an_empty_directory(shared, top):
    assert listing(shared, top).body.strip() == b"[]" and listing(shared, top, 7).json() == []


def test_the_workspace_by_its_names(shared):
    write(shared.root / "here")
    for path in (".", "./", str(shared.root), "x/.."):
        assert "here" in below(listing(shared, path), shared.root)


def test_a_directory_that_changes_while_it_is_listed(shared, top):
    """Files that stay are there each time; nothing is told twice, and nothing is in disorder."""
    stay = [f"stay{i:03d}" for i in range(300)]
    for name in stay:
        write(top / f"d{name[-1]}" / name)
    stop = threading.Event()

    def churn():
        i = 0
        while not stop.is_set():
            i += 1
            path = top / f"d{i % 10}" / f"gone{i}"
            path.touch()
            path.rename(top / f"d{(i + 1) % 10}" / f"moved{i}")
            os.mkdir(top / f"new{i}")
            (top / f"new{i}/x").touch()
            os.unlink(top / f"d{(i + 1) % 10}" / f"moved{i}")
            os.unlink(top / f"new{i}/x")
            os.rmdir(top / f"new{i}")

    thread = threading.Thread(target=churn)
    thread.start()
    want = sorted(stay, key=lambda n: (n[-1], n))
    try:
        with shared.connect() as c:
            for i in range(60):
                got = below(listing(c, top, 5), top) if i % 2 else below(search(c, top), top)
                assert [n.split("/")[1] for n in got if "/stay" in n] == want
                assert len(set(got)) == len(got)
                assert [n.split("/") for n in got] == sorted(n.split("/") for n in got)
    finally:
        stop.set()
        thread.join()


def test_directories_that_are_removed_while_they_are_walked(shared, top):
    for i in range(20):
        for k in range(40):
            write(top / f"{i:02d}/{k:02d}/f")
    answers = []

    def walk():
        for _ in range(15):
            answers.append(listing(shared, top, 9))
            answers.append(search(shared, top))

    thread = threading.Thread(target=walk)
    thread.start()
    for i in range(20):
        assert rmdir(shared, top / f"{i:02d}").status == 200
    thread.join()
    for r in answers:
        got = below(r, top)
        assert len(set(got)) == len(got)
    assert listing(shared, top).json() == []


def test_listings_may_be_packed(shared, top):
    for i in range(500):
        write(top / f"{i}")
    r = ok(shared.get(at("/directories/list", top), {"Accept-Encoding": "gzip"}))
    body = gzip.decompress(r.body) if r.field("content-encoding") == "gzip" else r.body
    assert body.count(b'"path"') == 500
    r = ok(shared.get(at("/files/info", *(f"{top.name}/{i}" for i in range(60))), {"Accept-Encoding": "gzip"}))
    body = gzip.decompress(r.body) if r.field("content-encoding") == "gzip" else r.body
    assert body.count(b'"path"') == 60
