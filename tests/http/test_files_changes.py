"""Deleting, permissions and directories (contract 1.9, 1.10, 1.17, 1.18)."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from files import (AS_ROOT, NOBODY, batch, delete, download, empty, info, listing, mkdir, move,
                   names, ok, permissions, refused, replace, rmdir, search, special, top, tree,
                   upload, write)


def mode(path):
    return "%04o" % stat.S_IMODE(os.lstat(path).st_mode)


def etag(d, path):
    return ok(info(d, path)).json()[str(path)]["etag"]


# ---- DELETE /files ----


def test_files_are_deleted(shared, top):
    paths = [write(top / n, n) for n in "abc"]
    empty(delete(shared, *paths[:2]))
    assert names(top) == ["c"]
    empty(delete(shared, paths[2]))
    empty(shared.request("DELETE", "/files"))
    assert names(top) == []


def test_what_is_missing_counts_as_deleted(shared, top):
    write(top / "file")
    empty(delete(shared, top / "gone", top / "no/such/dir/gone", top / "file/below"))
    empty(delete(shared, top / "gone", force=True))
    refused(delete(shared, top / "gone", force=False), 404, "FILE_NOT_FOUND")
    refused(delete(shared, top / "file/below", force=False), 404, "FILE_NOT_FOUND")
    assert names(top) == ["file"]


def test_directories_are_refused_unless_recursive(shared, top):
    write(top / "full/deep/file", "x")
    (top / "empty").mkdir()
    for path in (top / "full", top / "empty"):
        refused(delete(shared, path), 400, "INVALID_REQUEST_BODY")
        refused(delete(shared, path, recursive=False), 400, "INVALID_REQUEST_BODY")
    assert "full/deep/file" in names(top)
    empty(delete(shared, top / "full", top / "empty", recursive=True))
    assert names(top) == []


@pytest.mark.parametrize("how", ["delete", "recursive", "rmdir"])
def test_links_go_and_not_what_they_lead_to(shared, top, how):
    write(top / "kept/file", "x")
    outside = write(shared.dir / "outside/file", "x")
    links = {"to-file": "kept/file", "to-dir": "kept", "dangling": "nowhere", "loop": "loop",
             "out": outside.parent, "out-file": outside}
    for name, target in links.items():
        os.symlink(target, top / name)
    before = tree(top / "kept")
    for name in links:
        path = str(top / name) + ("/" if how == "rmdir" else "")
        empty(rmdir(shared, path) if how == "rmdir" else delete(shared, path, recursive=how == "recursive"))
    assert names(top) == ["kept", "kept/file"] and tree(top / "kept") == before
    assert outside.read_text() == "x"


def test_special_files_are_deleted_and_never_waited_for(shared, top):
    kinds = ["fifo", "socket"] + ["device"] * (os.geteuid() == 0)
    empty(delete(shared, *[special(top / k, k) for k in kinds]))
    empty(rmdir(shared, *[special(top / k, k) for k in kinds]))
    assert names(top) == []


def test_a_batch_stops_at_its_first_failure(shared, top):
    a, b, c = write(top / "a"), top / "b", write(top / "c")
    b.mkdir()
    batch(delete(shared, a, b, c), 400, "INVALID_REQUEST_BODY", [str(a)], str(b))
    assert names(top) == ["b", "c"]
    batch(delete(shared, c, top / "gone", b, force=False), 404, "FILE_NOT_FOUND", [str(c)], str(top / "gone"))
    write(top / "t/x")
    batch(rmdir(shared, top / "t", shared.root, b), 403, "PATH_FORBIDDEN", [str(top / "t")], str(shared.root))
    assert names(top) == ["b"]


def test_a_deletion_may_be_conditional(shared, top):
    path = write(top / "f", "one")
    old = etag(shared, path)
    write(path, "two")
    new = etag(shared, path)
    for tags in (old, '"other"', f"W/{new}", f'{old}, "x"'):
        refused(delete(shared, path, fields=[("If-Match", tags)]), 412, "PRECONDITION_FAILED")
    assert path.read_text() == "two"
    r = delete(shared, path, path, fields=[("If-Match", new)])
    assert r.status == 400 and path.exists()
    empty(delete(shared, path, fields=[("If-Match", f'"x", {new}')]))
    assert not path.exists()
    refused(delete(shared, path, fields=[("If-Match", "*")]), 412, "PRECONDITION_FAILED")
    empty(delete(shared, write(path), fields=[("If-Match", "*")]))


def test_a_linked_file_loses_one_name(shared, top):
    path = write(top / "one", "x")
    os.link(path, top / "two")
    empty(delete(shared, path))
    assert (top / "two").read_text() == "x"


# ---- DELETE /directories ----


def test_trees_are_removed_with_all_they_hold(shared, top):
    outside = write(top / "outside/file", "x")
    t = top / "t"
    for i in range(20):
        for k in range(20):
            write(t / f"{i}/d{k}/f", "x")
    os.symlink(outside.parent, t / "3/link")
    os.symlink(outside, t / "4/link")
    special(t / "5/fifo", "fifo")
    write(t / ".hidden/.file")
    (t / "6").chmod(0)
    before = tree(outside.parent)
    empty(rmdir(shared, str(t) + "/"))
    assert not t.exists() and tree(outside.parent) == before


def test_files_and_missing_things_go_as_well(shared, top):
    empty(rmdir(shared, write(top / "f"), top / "gone", top / "gone/too"))
    refused(rmdir(shared, top / "gone", force=False), 404, "FILE_NOT_FOUND")
    assert names(top) == []
    empty(shared.request("DELETE", "/directories"))


def test_an_empty_path_is_no_directory_to_delete(shared, top):
    write(top / "kept")
    r = rmdir(shared, "")
    assert r.status == 400 and names(top) == ["kept"]


def test_a_deep_tree_is_removed(shared, top):
    """Its paths are longer than any that the kernel takes."""
    here = os.open(top, os.O_RDONLY)
    os.mkdir("t", dir_fd=here)
    for name in ["t"] + ["n" * 200] * 60:
        deeper = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
        os.mkdir("n" * 200, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    empty(rmdir(shared, top / "t"))
    assert names(top) == []


@AS_ROOT
def test_what_may_not_be_removed_stays_and_the_rest_goes(shared, top):
    for n in "abc":
        write(top / f"t/{n}/file")
    for p in [top / "t", *(top / "t").rglob("*")]:
        os.chown(p, NOBODY, NOBODY)
    os.chown(top / "t/b", 0, 0)
    refused(rmdir(shared, top / "t", uid=NOBODY), 403, "PERMISSION_DENIED")
    refused(delete(shared, top / "t/b/file", uid=NOBODY), 403, "PERMISSION_DENIED")
    assert "t/b/file" in names(top)
    empty(rmdir(shared, top / "t"))


# ---- POST /files/permissions ----

MODES = {
    "digits": ({"mode": 640}, "0640"),
    "zero leaves it": ({"mode": 0}, "0606"),
    "nothing leaves it": ({}, "0606"),
    "null leaves it": ({"mode": None, "owner": None, "group": None, "mode_octal": None}, "0606"),
    "a short one": ({"mode": 7}, "0007"),
    "octal text": ({"mode_octal": "0750"}, "0750"),
    "octal text of zero": ({"mode_octal": "0000"}, "0000"),
    "one digit": ({"mode_octal": "0"}, "0000"),
    "three digits": ({"mode_octal": "711"}, "0711"),
    "special bits": ({"mode_octal": "4751"}, "4751"),
    "all bits": ({"mode_octal": "7777"}, "7777"),
    "text wins": ({"mode": 600, "mode_octal": "0444"}, "0444"),
    "keys in any case": ({"Mode": 604}, "0604"),
}


@pytest.mark.parametrize("name", MODES)
def test_modes_are_set(shared, top, name):
    body, want = MODES[name]
    path = write(top / "f", "x", 0o606)
    empty(permissions(shared, {str(path): body}))
    assert mode(path) == want and path.stat().st_uid == os.geteuid()


BAD_PERMISSIONS = {
    "a digit 8": {"mode": 688}, "a digit 9": {"mode": 900}, "negative": {"mode": -644},
    "a fraction": {"mode": 644.5},
    "text": {"mode": "644"}, "five digits": {"mode": 77777}, "huge": {"mode": 2**40}, "a list": {"mode": [644]},
    "octal text with an 8": {"mode_octal": "0688"}, "octal text of five": {"mode_octal": "00644"},
    "empty octal text": {"mode_octal": ""}, "octal text of a number": {"mode_octal": 644},
    "octal text with a sign": {"mode_octal": "-644"}, "octal text with a space": {"mode_octal": " 644"},
    "octal text with 0o": {"mode_octal": "0o64"}, "owner of a number": {"owner": 0},
    "group of a list": {"group": []},
    "an unknown owner": {"owner": "no-such-user"}, "an unknown group": {"group": "no-such-group"},
    "a negative owner": {"owner": "-1"}, "an owner of all ones": {"owner": "4294967295"},
    "an owner too large": {"owner": "4294967296"}, "a path as owner": {"owner": "../../etc/passwd"},
    "a number": 644, "a string": "644", "an array": [],
}


@pytest.mark.parametrize("name", BAD_PERMISSIONS)
def test_permissions_that_cannot_be(shared, top, name):
    path = write(top / "f", "x", 0o606)
    before = tree(top)
    body = BAD_PERMISSIONS[name]
    if "owner" in name or "group" in name:
        body = {"mode": 777, **body}  # nothing is changed before all of it is known to be good
    refused(permissions(shared, {str(path): body}), 400, "INVALID_REQUEST_BODY")
    assert tree(top) == before
    refused(mkdir(shared, {str(top / "made"): body}), 400, "INVALID_REQUEST_BODY")


@AS_ROOT
def test_owners_are_set_by_name_and_number(shared, top):
    path = write(top / "f", "x", 0o640)
    for body, want in (({"owner": "nobody"}, (NOBODY, 0)), ({"group": "nogroup"}, (NOBODY, NOBODY)),
                       ({"owner": "0", "group": "0"}, (0, 0)),
                       ({"owner": "70001", "group": "70002"}, (70001, 70002)),
                       ({"mode": 600}, (70001, 70002)), ({"owner": "root", "group": "root"}, (0, 0))):
        empty(permissions(shared, {str(path): body}))
        assert (path.stat().st_uid, path.stat().st_gid) == want
    assert mode(path) == "0600"
    # A change of owner clears these bits, unless they are set after it.
    empty(permissions(shared, {str(path): {"owner": "nobody", "mode_octal": "6755"}}))
    assert mode(path) == "6755"


def test_links_are_followed(shared, top):
    target = write(top / "target", "x", 0o644)
    os.symlink("target", top / "link")
    (top / "dir").mkdir(mode=0o700)
    empty(permissions(shared, {str(top / "link"): {"mode": 600}, str(top / "dir"): {"mode": 755}}))
    assert mode(target) == "0600" and (top / "link").is_symlink() and mode(top / "dir") == "0755"


def test_they_are_set_in_the_order_of_the_body(shared, top):
    paths = [str(write(top / f"z{9 - i}", "x", 0o644)) for i in range(5)]
    gone = str(top / "gone")
    body = {p: {"mode": 600} for p in [*paths[:3], gone, *paths[3:]]}
    batch(permissions(shared, body), 404, "FILE_NOT_FOUND", paths[:3], gone)
    assert [mode(p) for p in paths] == ["0600"] * 3 + ["0644"] * 2
    for body in ("{}", "null"):
        empty(permissions(shared, body))
    for body in ("[]", "7", '"x"', "", "{", '{"a"'):
        refused(permissions(shared, body), 400, "INVALID_REQUEST_BODY")


def test_special_files_have_modes_too(shared, top):
    for kind in ("fifo", "socket"):
        path = special(top / kind, kind)
        empty(permissions(shared, {str(path): {"mode": 604}}))
        assert mode(path) == "0604"


@AS_ROOT
def test_only_the_owner_changes_a_mode(shared, top):
    path = write(top / "f", "x", 0o666)
    refused(permissions(shared, {str(path): {"mode": 777}}, uid=NOBODY), 403, "PERMISSION_DENIED")
    os.chown(path, NOBODY, NOBODY)
    empty(permissions(shared, {str(path): {"mode": 700}}, uid=NOBODY))
    refused(permissions(shared, {str(path): {"owner": "root"}}, uid=NOBODY), 403, "PERMISSION_DENIED")
    assert (mode(path), path.stat().st_uid) == ("0700", NOBODY)


# ---- POST /directories ----


def test_directories_are_made_with_their_parents(shared, top):
    umask = os.umask(0)
    os.umask(umask)
    plain = "%04o" % (0o777 & ~umask)
    empty(mkdir(shared, {str(top / "a/b/c"): {"mode": 700}, str(top / "d"): {}, str(top / "e/"): {"mode": 0},
                         str(top / "s"): {"mode_octal": "2750"}, str(top / "z/none"): {"mode_octal": "0000"}}))
    assert names(top) == ["a", "a/b", "a/b/c", "d", "e", "s", "z", "z/none"]
    assert [mode(top / n) for n in ("a", "a/b", "a/b/c", "d", "e", "s", "z/none")] == [
        plain, plain, "0700", plain, plain, "2750", "0000"]
    empty(mkdir(shared, {}))


def test_existing_directories_are_left_alone(shared, top):
    (top / "there").mkdir(mode=0o711)
    write(top / "there/file")
    before = tree(top)
    empty(mkdir(shared, {str(top / "there"): {"mode": 755, "owner": "65534"}, ".": {"mode": 700}}))
    assert tree(top) == before


def test_anything_else_there_is_in_the_way(shared, top):
    write(top / "file", "x")
    os.symlink("nowhere", top / "dangling")
    special(top / "fifo", "fifo")
    before = tree(top)
    for name in ("file", "fifo"):
        refused(mkdir(shared, {str(top / name): {}}), 409, "FILE_EXISTS")
    r = mkdir(shared, {str(top / "file/below"): {}})
    assert r.status in (404, 409), r
    batch(mkdir(shared, {str(top / "ok"): {}, str(top / "file"): {}, str(top / "never"): {}}),
          409, "FILE_EXISTS", [str(top / "ok")], str(top / "file"))
    assert {k: v for k, v in tree(top).items() if k not in (".", "ok")} == {
        k: v for k, v in before.items() if k != "."}


def test_directories_below_links_are_made_where_they_lead(shared, top):
    (top / "real").mkdir()
    os.symlink("real", top / "link")
    empty(mkdir(shared, {str(top / "link/a/b"): {}}))
    assert (top / "real/a/b").is_dir()


@AS_ROOT
def test_directories_belong_to_whom_was_asked_for(shared, top):
    top.chmod(0o777)
    empty(mkdir(shared, {str(top / "mine/deep"): {}}, uid=NOBODY))
    empty(mkdir(shared, {str(top / "given/deep"): {"owner": "nobody", "group": "nogroup", "mode": 644}}))
    owners = {n: (top / n).stat().st_uid for n in names(top)}
    assert owners == {"mine": NOBODY, "mine/deep": NOBODY, "given": 0, "given/deep": NOBODY}
    assert mode(top / "given/deep") == "0644"
    top.chmod(0o755)
    refused(mkdir(shared, {str(top / "no"): {}}, uid=NOBODY), 403, "PERMISSION_DENIED")


def test_many_clients_make_the_same_directories(shared, top):
    with ThreadPoolExecutor(8) as pool:
        for i in range(10):
            path = str(top / f"{i}/a/b/c/d")
            for r in pool.map(lambda _: mkdir(shared, {path: {}}), range(8)):
                empty(r)
    assert len(names(top)) == 50


# ---- all of it in a row ----


def test_the_round_of_the_reference_smoke_test(boxd, tmp_path):
    """What a client of the reference daemon does with files, step by step (contract 6.1)."""
    d = boxd("--allow", tmp_path, env={"HOME": str(tmp_path)})
    base = d.root / "smoke/a/b"
    empty(mkdir(d, {str(base): {"mode": 0}}))
    empty(upload(d, (base / "hello.txt", b"hello smoke\n", {"mode": 644})))
    assert ok(info(d, base / "hello.txt")).json()[str(base / "hello.txt")]["size"] == 12
    assert [(o["path"], o["type"]) for o in ok(listing(d, base)).json()] == [(str(base / "hello.txt"), "file")]
    assert [o["path"] for o in ok(search(d, d.root / "smoke", "*.txt")).json()] == [str(base / "hello.txt")]
    empty(replace(d, {str(base / "hello.txt"): {"old": "hello", "new": "hi"}}))
    assert ok(download(d, base / "hello.txt")).body == b"hi smoke\n"
    empty(permissions(d, {str(base / "hello.txt"): {"mode": 600}}))
    assert mode(base / "hello.txt") == "0600"
    empty(move(d, (base / "hello.txt", base / "renamed.txt")))
    empty(delete(d, base / "renamed.txt"))
    empty(rmdir(d, d.root / "smoke"))
    assert names(d.root) == []
    empty(upload(d, (tmp_path / "at-home", b"home")))
    assert ok(download(d, "~/at-home")).body == b"home"
    empty(delete(d, "~/at-home"))
    assert names(tmp_path) == []
