"""POST /files/replace: text in files, and nothing else of them (contract 1.13)."""

import os
import random
import re
import stat
import threading

import pytest

from files import (AS_ROOT, NOBODY, batch, download, empty, info, names, noise, ok, put, refused,
                   replace, swap_text, top, tree, write)


# ---- plain text ----

TEXTS = [
    ("hello world", "world", "boxd", "hello boxd", 1),
    ("hello", "nope", "x", "hello", 0),
    ("a b a b a", "a", "c", "c b c b c", 3),
    ("aaaaa", "aa", "b", "bba", 2),
    ("aaaa", "a", "aa", "aaaaaaaa", 4),
    ("abcabc", "abc", "", "", 2),
    ("", "x", "y", "", 0),
    ("x", "x", "x", "x", 1),
    ("ababab", "abab", "x", "xab", 1),
    ("line\r\nline\n", "\r\n", "\n", "line\nline\n", 1),
    ("a.b*c", ".b*", "[$1]\\", "a[$1]\\c", 1),
    ("größe € 日本", "€ 日", "ö", "größe ö本", 1),
    ("aab", "ab", "X", "aX", 1),
    ("needle" * 3, "needle", "needle", "needle" * 3, 3),
    ("Hello hello", "hello", "x", "Hello x", 1),
    ("tab\there", "\t", "    ", "tab    here", 1),
]


@pytest.mark.parametrize("before, old, new, after, count", TEXTS, ids=repr)
def test_occurrences_are_replaced_and_counted(shared, top, before, old, new, after, count):
    path = write(top / "f", before)
    assert swap_text(shared, path, old, new) == count
    assert path.read_bytes() == after.encode()


def test_only_verbose_tells_counts(shared, top):
    for query, told in (("", False), ("?verbose=true", True), ("?verbose=false", False), ("?verbose=1", False),
                        ("?verbose=TRUE", False), ("?verbose", False)):
        path = write(top / "f", "aXa")
        r = ok(shared.post("/files/replace" + query, {str(path): {"old": "a", "new": "b"}}))
        assert path.read_text() == "bXb"
        if told:
            assert r.json() == {str(path): {"replacedCount": 2}}
        else:
            empty(r)


def test_several_files_at_once(shared, top):
    a, b, c = (str(write(top / n, text)) for n, text in (("a", "x"), ("b", "x x"), ("c", "y")))
    r = replace(shared, {k: {"old": "x", "new": "z"} for k in (b, a, c)}, verbose=True)
    assert r.json() == {b: {"replacedCount": 2}, a: {"replacedCount": 1}, c: {"replacedCount": 0}}
    assert list(r.json()) == [b, a, c]
    for body in ("{}", "null"):
        assert ok(replace(shared, body, verbose=True)).json() == {}
        empty(replace(shared, body))


def test_bytes_that_are_no_text_stay(shared, top):
    data = noise(100_000).replace(b"needle", b"") + b"\0needle\xff\xfe\0needle" + noise(1000, 2)
    path = write(top / "binary", data)
    assert swap_text(shared, path, "needle", "ö") == 2
    assert path.read_bytes() == data.replace(b"needle", "ö".encode())


@pytest.mark.parametrize("size", [65536, 262144, 1 << 20])
def test_occurrences_across_every_boundary_of_a_large_file(shared, top, size):
    needle, data = b"0123456789abcdef", bytearray(b"." * (4 * size))
    for i in range(1, 4):
        where = i * size - 3 * i
        data[where:where + 16] = needle
    data[:16] = data[-16:] = needle
    path = write(top / "large", data)
    assert swap_text(shared, path, needle.decode(), "<>") == 5
    assert path.read_bytes() == bytes(data).replace(needle, b"<>")
    assert swap_text(shared, path, "<>", needle.decode() * 3) == 5
    assert path.read_bytes() == bytes(data).replace(needle, needle * 3)


def test_random_text_agrees_with_a_plain_replacement(shared, top):
    rng = random.Random(11)
    for i in range(40):
        data = "".join(rng.choice("ab\n") for _ in range(rng.choice([5, 200, 70_000])))
        old = "".join(rng.choice("ab") for _ in range(rng.randint(1, 5)))
        path = write(top / f"{i}", data)
        assert swap_text(shared, path, old, "<b>") == data.count(old)
        assert path.read_text() == data.replace(old, "<b>"), f"round {i}: {old!r}"


# ---- what else a file is ----


def test_a_file_without_a_match_is_not_touched(shared, top):
    path = write(top / "f", "hello")
    before = tree(top)
    assert swap_text(shared, path, "nope", "x") == 0
    assert swap_text(shared, path, "n.pe", "x", regex=True) == 0
    assert tree(top) == before


def test_a_change_is_a_new_file_with_the_same_rights(shared, top):
    path = write(top / "f", "a", 0o4751 if os.geteuid() == 0 else 0o751)
    if os.geteuid() == 0:
        os.chown(path, 70001, 70002)
        path.chmod(0o4751)
    os.setxattr(path, "user.boxd-test", b"kept")
    os.utime(path, ns=(0, 0))
    before = path.stat()
    assert swap_text(shared, path, "a", "b") == 1
    after = path.stat()
    assert after.st_mtime_ns > before.st_mtime_ns and after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert os.getxattr(path, "user.boxd-test") == b"kept" and names(top) == ["f"]


def test_links_are_followed_and_stay(shared, top):
    target = write(top / "real/target", "a")
    os.symlink("real/target", top / "link")
    assert swap_text(shared, top / "link", "a", "b") == 1
    assert (top / "link").is_symlink() and target.read_text() == "b"


@AS_ROOT
def test_what_may_not_be_read_is_not_changed(shared, top):
    top.chmod(0o777)
    path = write(top / "f", "a", 0o600)
    refused(replace(shared, {str(path): {"old": "a", "new": "b"}}, uid=NOBODY), 403, "PERMISSION_DENIED")
    assert path.read_text() == "a" and names(top) == ["f"]


def test_readers_see_the_old_or_the_new_text(shared, top):
    path = write(top / "f", "a" * 300_000)
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            data = path.read_bytes()
            seen.add((len(data), bytes(set(data))))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(15):
            assert swap_text(shared, path, "aaa", "bb") == 100_000
            assert swap_text(shared, path, "bb", "aaa") == 100_000
    finally:
        stop.set()
        reader.join()
    assert seen <= {(300_000, b"a"), (200_000, b"b")}


# ---- refusals ----


def test_errors_in_their_order(shared, top):
    path = str(write(top / "f", "a"))
    refused(replace(shared, {str(top / "gone"): {"old": "", "new": "x"}}), 404, "FILE_NOT_FOUND")
    refused(replace(shared, {path: {"old": "", "new": "x"}}), 400, "INVALID_REQUEST_BODY")
    refused(replace(shared, {str(top): {"old": "a", "new": "x"}}), 400, "INVALID_REQUEST_BODY")
    os.mkfifo(top / "fifo")
    refused(replace(shared, {str(top / "fifo"): {"old": "a", "new": "x"}}), 400, "INVALID_REQUEST_BODY")
    os.symlink("loop", top / "loop")
    refused(replace(shared, {str(top / "loop"): {"old": "a", "new": "x"}}), 400, "INVALID_PATH")


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "", "{", '{"f": 1}', '{"f": "x"}', '{"f": []}',
                                  '{"f": {"new": "x"}}',
                                  '{"f": {"old": 1, "new": "x"}}', '{"f": {"old": "a", "new": 1}}',
                                  '{"f": {"old": "a", "new": "b", "regex": "yes"}}'])
def test_bodies_that_cannot_be(shared, body):
    path = write(shared.root / "f", "a")
    refused(replace(shared, body), 400, "INVALID_REQUEST_BODY")
    assert path.read_text() == "a"


def test_a_batch_stops_at_its_first_failure(shared, top):
    paths = [str(write(top / n, "a")) for n in "abc"]
    gone = str(top / "gone")
    edit = {"old": "a", "new": "b"}
    batch(replace(shared, {p: edit for p in (paths[0], gone, paths[1])}), 404, "FILE_NOT_FOUND",
          paths[:1], gone)
    batch(replace(shared, {paths[0]: {"old": "b", "new": "c"}, paths[1]: {"old": "", "new": ""}},
                  verbose=True), 400,
          "INVALID_REQUEST_BODY", paths[:1], paths[1])
    assert [open(p).read() for p in paths] == ["c", "a", "a"]


def test_an_edit_may_be_conditional(shared, top):
    path = str(write(top / "f", "a"))
    tag = ok(info(shared, path)).json()[path]["etag"]
    for wrong in ('"no"', f"W/{tag}"):
        refused(replace(shared, {path: {"old": "a", "new": "b", "if_match": wrong}}), 412,
                "PRECONDITION_FAILED")
    assert swap_text(shared, path, "a", "b", if_match=tag) == 1
    refused(replace(shared, {path: {"old": "b", "new": "c", "if_match": tag}}), 412, "PRECONDITION_FAILED")
    assert swap_text(shared, path, "b", "c", if_match=download(shared, path).field("etag")) == 1


# ---- patterns ----

PATTERNS = [
    ("john@example mary@host", r"(\w+)@(\w+)", "$2 at $1", "example at john host at mary", 2, {}),
    ("2024-01-31", r"(?<y>\d+)-(?<m>\d+)", "${m}/${y}", "01/2024-31", 1, {}),
    ("price 5", r"\d", "$$$0", "price $5", 1, {}),
    ("Hello HELLO", "hello", "x", "x x", 2, {"ignore_case": True}),
    ("Hello HELLO", "hello", "x", "Hello HELLO", 0, {}),
    ("a\nb\nc", "^", "> ", "> a\n> b\n> c", 3, {}),
    ("a\nb\n", "$", ";", "a;\nb;\n", 2, {}),
    ("one \ntwo \n", r"\s+$", "", "one\ntwo\n", 2, {}),
    ("a \n b", r"\s+", "_", "a_\n_b", 2, {}),
    ("aXbXc", "X", "", "abc", 2, {}),
    ("foo.bar", r"\.", "-", "foo-bar", 1, {}),
    ("größe", "ö", "oe", "groesse".replace("ss", "ß"), 1, {}),
    ("aaa", "a*", "b", "b", 1, {}),
    ("x=1\ny=2\n", r"^(\w)=(\d)$", "$2=$1", "1=x\n2=y\n", 2, {}),
]


@pytest.mark.parametrize("before, old, new, after, count, more", PATTERNS, ids=repr)
def test_patterns_are_replaced(shared, top, before, old, new, after, count, more):
    path = write(top / "f", before)
    got = swap_text(shared, path, old, new, regex=True, **more)
    if old == "a*":  # whether the empty match behind "aaa" counts, engines do not agree
        assert path.read_text() in ("b", "bb") and got in (1, 2)
        return
    assert (path.read_text(), got) == (after, count)


@pytest.mark.parametrize("old, new", [("(", "x"), ("[a", "x"), ("a{2,1}", "x"), ("*", "x"),
                                      ("(?<n>a", "x"), ("\\", "x"),
                                      ("a", "$2"), ("a", "${nope}"), ("a", "${"), ("(?<=a+)b", "x")])
def test_patterns_that_cannot_be(shared, top, old, new):
    path = write(top / "f", "aaa ( [a")
    refused(replace(shared, {str(path): {"old": old, "new": new, "regex": True}}), 400, "INVALID_PATTERN")
    assert path.read_text() == "aaa ( [a" and names(top) == ["f"]


def test_a_pattern_that_explodes_is_given_up(shared, top):
    path = write(top / "f", "a" * 60 + "!")
    r = replace(shared, {str(path): {"old": "^(([a-z])+.)+[A-Z]([a-z])+$", "new": "", "regex": True}})
    refused(r, 400, "INVALID_PATTERN")
    assert path.read_text() == "a" * 60 + "!" and names(top) == ["f"]


def test_a_pattern_over_a_large_file(shared, top):
    lines = [f"user{i}@host{i % 7} value={i}" for i in range(100_000)]
    path = write(top / "f", "\n".join(lines))
    assert swap_text(shared, path, r"user(\d+)@host3 ", "[$1] ",
                     regex=True) == sum(i % 7 == 3 for i in range(100_000))
    want = [re.sub(r"user(\d+)@host3 ", r"[\1] ", x) for x in lines]
    assert path.read_text().split("\n") == want


def test_a_file_that_is_one_long_line(shared, top):
    path = write(top / "f", "ab" * 2_000_000)
    assert swap_text(shared, path, "b+", "c", regex=True) == 2_000_000
    assert path.read_bytes() == b"ac" * 2_000_000


def test_an_edit_of_a_file_that_is_replaced_meanwhile_loses_nothing(shared, top):
    """Uploads and edits of one file: it is always one of the whole texts."""
    path = top / "f"
    write(path, "x" * 50_000)
    texts = {c * 50_000 for c in "xyz"}
    stop, answers = threading.Event(), []

    def edit():
        while not stop.is_set():
            answers.append(replace(shared, {str(path): {"old": "y", "new": "z"}}))

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        for i in range(60):
            ok(put(shared, path, "xy"[i % 2] * 50_000))
            assert path.read_text() in texts
    finally:
        stop.set()
        editor.join()
    # An edit that is overtaken again and again may give up, and says so.
    assert {r.status for r in answers} <= {200, 503}
    assert names(top) == ["f"] and stat.S_ISREG(path.stat().st_mode)
