"""POST /files/grep: lines by pattern, and a summary that hides nothing."""

import json
import os
import random
import re
import subprocess
import time

import pytest

import procfs
from boxd import sanitized
from files import AS_ROOT, NOBODY, calm, found, grep, raw_path, refused, special, top, write


def hits(r):
    """What was found as (file name, line, column, length, text)."""
    return [(m["path"].rsplit("/", 1)[1], m["line"], m["column"], m["length"], m["text"]) for m in found(r)[0]]


# ---- one file ----

LINES = [
    ("hello\nworld\n", "o", {}, [(1, 5, 1, "hello"), (2, 2, 1, "world")]),
    ("hello\nworld", "wor", {}, [(2, 1, 3, "world")]),
    ("a.b\naxb\n", "a.b", {}, [(1, 1, 3, "a.b"), (2, 1, 3, "axb")]),
    ("a.b\naxb\n", "a.b", {"literal": True}, [(1, 1, 3, "a.b")]),
    ("(x\n", "(x", {"literal": True}, [(1, 1, 2, "(x")]),
    ("aXa aXa\n", "X", {}, [(1, 2, 1, "aXa aXa")]),
    ("Hello\n", "hello", {}, []),
    ("Hello\n", "hello", {"ignore_case": True}, [(1, 1, 5, "Hello")]),
    ("HeLLo.\n", "LLO.", {"ignore_case": True, "literal": True}, [(1, 3, 4, "HeLLo.")]),
    ("GRÖSSE\n", "größe|grösse", {"ignore_case": True}, [(1, 1, 7, "GRÖSSE")]),
    ("über €5\n", r"€\d", {}, [(1, 7, 4, "über €5")]),
    ("one\ntwo\nthree\n", "^t", {}, [(2, 1, 1, "two"), (3, 1, 1, "three")]),
    ("one\ntwo\nthree\n", "e$", {}, [(1, 3, 1, "one"), (3, 5, 1, "three")]),
    ("one\r\ntwo\r\n", "two", {}, [(2, 1, 3, "two")]),
    ("a\n\nb\n", "^$", {}, [(2, 1, 0, "")]),
    ("ab\ncd\n", r"b\nc", {}, []),
    ("tab\there\n", r"\t", {}, [(1, 4, 1, "tab\there")]),
    ("foo bar\n", r"\bbar\b", {}, [(1, 5, 3, "foo bar")]),
    ("foobar\n", r"(?<=foo)bar", {}, [(1, 4, 3, "foobar")]),
    ("x1 x22\n", r"x(?P<n>\d\d)", {}, [(1, 4, 3, "x1 x22")]),
    ("", "x", {}, []),
    ("\n\n\n", "x*", {}, [(1, 1, 0, ""), (2, 1, 0, ""), (3, 1, 0, "")]),
    ("last line without an end", "end", {}, [(1, 22, 3, "last line without an end")]),
    ('quote " back \\ <tag> \x01\x7f\u2028\n', "tag", {}, [(1, 17, 3, 'quote " back \\ <tag> \x01\x7f\u2028')]),
]


@pytest.mark.parametrize("text, pattern, more, want", LINES, ids=repr)
def test_lines_are_found(shared, top, text, pattern, more, want):
    path = write(top / "f", text)
    r = grep(shared, path, pattern, **more)
    assert [x[1:] for x in hits(r)] == want
    matches, s = found(r)
    assert s["matches"] == len(want) and s["files"] == 1 and s["matched_files"] == bool(want)
    assert s["bytes"] == len(text.encode()) and not s["truncated"] and not any(s["skipped"].values())
    assert all(m["path"] == str(path) and m["before"] == [] and m["after"] == [] for m in matches)


def test_bytes_that_are_no_text_become_a_mark(shared, top):
    write(top / "f", b"caf\xe9 x\n\xff\xfey\n")
    assert hits(grep(shared, top, "x|y")) == [("f", 1, 6, 1, "caf\ufffd x"), ("f", 2, 3, 1, "\ufffd\ufffdy")]


CONTEXT = [
    (1, [(2, ["1"], ["3"])]), (0, [(2, [], [])]), (5, [(2, ["1"], ["3", "4", "5"])]),
    (2, [(2, ["1"], ["3", "4"])])]


@pytest.mark.parametrize("context, want", CONTEXT, ids=repr)
def test_context(shared, top, context, want):
    write(top / "f", "1\nhit\n3\n4\n5")
    matches, _ = found(grep(shared, top, "hit", context=context))
    got = [(m["line"], m["before"], m["after"]) for m in matches]
    assert [(n, [t["text"] if isinstance(t, dict) else t for t in b],
             [t["text"] if isinstance(t, dict) else t for t in a])
            for n, b, a in got] == want


def test_context_of_neighbours(shared, top):
    write(top / "f", "a1\na2\nx\na3\n")
    matches, _ = found(grep(shared, top, "a", context=1))
    got = [(m["text"], len(m["before"]), len(m["after"])) for m in matches]
    assert got == [("a1", 0, 1), ("a2", 1, 1), ("a3", 1, 0)]


def test_lines_and_columns_of_a_large_file(shared, top):
    lines = [f"{i:07d} " + "x" * (i % 300) for i in range(80_000)]
    lines[65_000] = "y" * 65_536 + "needle"
    lines[79_999] = "the last needle"
    lines[0] = "needle first"
    path = write(top / "f", "\n".join(lines))
    matches, s = found(grep(shared, path, "needle", context=2))
    assert [(m["line"], m["column"]) for m in matches] == [(1, 1), (65_001, 65_537), (80_000, 10)]
    assert s["bytes"] == path.stat().st_size and matches[1].get("cut") is True
    assert len(matches[1]["text"]) == 65_536 and matches[2]["before"] == lines[79_997:79_999]


def test_many_matches_of_one_file(shared, top):
    write(top / "f", "hit\n" * 50_000)
    matches, s = found(grep(shared, top, "hit"))
    assert [m["line"] for m in matches] == list(range(1, 50_001)) and s["matches"] == 50_000


# ---- a tree ----


@pytest.fixture(scope="module")
def project(shared):
    where = shared.root / "project"
    for name, text in {
        "src/main.c": "int needle;\n", "src/deep/util.c": "needle needle\n", "src/deep/util.h": "x\n",
        "docs/readme.md": "needle\n",
        ".hidden": "needle\n", ".git/config": "needle\n", "build/out.o": "needle\n",
        "build/keep.txt": "needle\n", "src/a.log": "needle\n",
        "src/deep/b.log": "needle\n", "keep.log": "needle\n", ".gitignore": "*.log\n!keep.log\nbuild/\n",
        "src/deep/.gitignore": "*.h\n",
        "binary": "needle\0needle\n", "empty": "", "space name": "needle\n",
    }.items():
        write(where / name, text)
    os.symlink("src", where / "link-to-src")
    os.symlink("docs/readme.md", where / "link-to-file")
    return where


VISIBLE = ["build/keep.txt", "build/out.o", "docs/readme.md", "keep.log", "space name", "src/a.log",
           "src/deep/b.log", "src/deep/util.c", "src/main.c"]
SCOPES = {
    "everything visible": ({}, VISIBLE),
    "hidden too": ({"hidden": True}, sorted(VISIBLE + [".hidden", ".git/config"])),
    "gitignore": ({"respect_gitignore": True},
                  ["docs/readme.md", "keep.log", "space name", "src/deep/util.c", "src/main.c"]),
    "one kind": ({"include": ["*.c"]}, ["src/deep/util.c", "src/main.c"]),
    "two kinds": ({"include": ["*.c", "*.md"]}, ["docs/readme.md", "src/deep/util.c", "src/main.c"]),
    "by path": ({"include": ["src/*.c"]}, ["src/main.c"]),
    "by deep path": ({"include": ["src/**/*.c"]}, ["src/deep/util.c", "src/main.c"]),
    "without": ({"exclude": ["*.log", "*.o"]},
                ["build/keep.txt", "docs/readme.md", "space name", "src/deep/util.c", "src/main.c"]),
    "with and without": ({"include": ["*.c"], "exclude": ["main.*"]}, ["src/deep/util.c"]),
    "without a directory": ({"exclude": ["src/**", "build/**"]}, ["docs/readme.md", "keep.log", "space name"]),
    "empty lists": ({"include": [], "exclude": []}, VISIBLE),
    "nulls": ({"include": None, "exclude": None, "hidden": None, "context": None, "max_results": None},
              VISIBLE),
    "nothing": ({"include": ["*.zip"]}, []),
}


@pytest.mark.parametrize("name", SCOPES)
def test_what_is_searched(shared, project, name):
    more, want = SCOPES[name]
    matches, s = found(grep(shared, project, "needle", **more))
    assert [m["path"] for m in matches] == [str(project / n) for n in want], "in lexical order, each once"
    assert s["matched_files"] == s["matches"] == len(want) and s["skipped"]["binary"] <= 1


def test_binary_files_are_counted(shared, project):
    _, s = found(grep(shared, project, "needle"))
    assert s["skipped"] == {"binary": 1, "too_large": 0, "unreadable_files": 0,
                            "unreadable_directories": 0, "gave_up": 0}
    assert s["files"] >= len(VISIBLE)


def test_the_root_itself(shared, project):
    assert [x[0] for x in hits(grep(shared, project / "src/main.c", "needle"))] == ["main.c"]
    assert [x[0] for x in hits(grep(shared, f"{shared.root}/./project/docs/../docs",
                                    "needle"))] == ["readme.md"]
    assert hits(grep(shared, project / "link-to-src", "needle")) == []
    refused(grep(shared, project / "gone", "x"), 404, "FILE_NOT_FOUND")
    special(shared.root / "a-fifo", "fifo")
    assert hits(grep(shared, shared.root / "a-fifo", ".")) == []


def test_large_files_are_passed_over(shared, top):
    write(top / "large", "x" * 1000 + "\n")
    write(top / "small", "x" * 999)
    matches, s = found(grep(shared, top, "x", max_file_bytes=1000))
    assert [m["path"] for m in matches] == [str(top / "small")] and s["skipped"]["too_large"] == 1
    assert found(grep(shared, top, "x", max_file_bytes=1001))[1]["skipped"]["too_large"] == 0


@AS_ROOT
def test_what_cannot_be_read_is_counted(shared, top):
    for name in ("a", "b/f", "c"):
        write(top / name, "x\n")
    (top / "a").chmod(0o600)
    (top / "b").chmod(0o700)
    matches, s = found(grep(shared, top, "x", {"uid": NOBODY}))
    assert [m["path"] for m in matches] == [str(top / "c")]
    assert (s["skipped"]["unreadable_files"], s["skipped"]["unreadable_directories"]) == (1, 1)


def test_results_are_limited(shared, top):
    for i in range(20):
        write(top / f"{i:02d}", "x\n" * 10)
    matches, s = found(grep(shared, top, "x", max_results=15))
    want = [("00", i) for i in range(1, 11)] + [("01", i) for i in range(1, 6)]
    assert [(m["path"][-2:], m["line"]) for m in matches] == want
    assert (s["truncated"], s["reason"]) == (True, "max_results")
    matches, s = found(grep(shared, top, "x", max_per_file=2))
    want = [(f"{i:02d}", k) for i in range(20) for k in (1, 2)]
    assert [(m["path"][-2:], m["line"]) for m in matches] == want
    assert not s["truncated"]
    matches, s = found(grep(shared, top, "x", max_results=200))
    assert len(matches) == 200 and not s["truncated"]
    assert len(found(grep(shared, top, "x", max_results=3, max_per_file=1))[0]) == 3


def test_names_of_every_kind_are_told(shared, top):
    odd = [b'"quoted"', b"new\nline", b"bad\xff", "\u2028".encode(), b"back\\slash"]
    for name in odd:
        write(os.fsdecode(os.fsencode(top) + b"/" + name), "x\n")
    matches, _ = found(grep(shared, top, "x"))
    assert [raw_path(m).rsplit(b"/", 1)[1] for m in matches] == sorted(odd)


def test_a_random_tree_agrees_with_grep(shared, top):
    rng = random.Random(9)
    words = ["alpha", "beta", "gamma", "delta", "x1", "x22", "foo_bar", "..", "λ", ""]
    for i in range(120):
        lines = [" ".join(rng.choice(words) for _ in range(rng.randint(0, 8))) for _ in range(rng.randint(0, 80))]
        text = "".join(line + "\n" for line in lines)
        write(top / f"d{i % 7}/e{i % 3}/f{i}", text if i % 10 else text[:-1])
    for pattern in ("alpha", "al.ha", "x[0-9]{2}", "^beta", "gamma$", "(foo|x1).*delta", "nothing",
                    r"\.\.", "λ", "^$"):
        done = subprocess.run(["grep", "-rnE", pattern, "."], cwd=top, capture_output=True,
                              env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})
        want = sorted(tuple(x.split(":", 2)) for x in done.stdout.decode().splitlines())
        matches, s = found(grep(shared, top, pattern))
        assert sorted(("./" + os.path.relpath(m["path"], top), str(m["line"]),
                       m["text"]) for m in matches) == want
        assert [m["path"] for m in matches] == sorted((m["path"] for m in matches), key=os.fsencode)
        for m in matches:
            first = re.search(pattern, m["text"])
            assert m["column"] == len(m["text"][:first.start()].encode()) + 1
            assert m["length"] == len(first[0].encode())


# ---- refusals ----


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "*", "\\", "(?<n", "(?<=a+)b", "a(?P<1>b)",
                                     "[[:nope:]]", "(?z)"])
def test_patterns_that_cannot_be(shared, project, pattern):
    refused(grep(shared, project, pattern), 400, "INVALID_PATTERN")
    assert grep(shared, project, pattern, literal=True).status == 200


@pytest.mark.parametrize("more", [{"include": ["["]}, {"exclude": ["{a"]}, {"include": ["*.c", "a\\"]}])
def test_globs_that_cannot_be(shared, project, more):
    refused(grep(shared, project, "x", **more), 400, "INVALID_PATTERN")


BODIES = ["[]", "null", "1", "", "{", "{}", '{"path": "project"}', '{"pattern": "x"}',
          '{"path": "", "pattern": "x"}', '{"path": 1, "pattern": "x"}',
          '{"path": "project", "pattern": ""}', '{"path": "project", "pattern": 1}',
          '{"path": "project", "pattern": ["x"]}']
MEMBERS = [("include", "*.c"), ("include", [1]), ("exclude", {}), ("hidden", "yes"), ("literal", 1),
           ("ignore_case", "true"), ("context", -1),
           ("context", 1.5), ("context", "1"), ("max_results", -1), ("max_per_file", -1),
           ("max_file_bytes", -1), ("timeout_ms", -1),
           ("respect_gitignore", "no"), ("timeout_ms", "5"), ("context", 101)]


BODIES += [json.dumps({"path": "project", "pattern": "x", k: v}) for k, v in MEMBERS]


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_cannot_be(shared, project, body):
    r = shared.post("/files/grep", body)
    assert r.status == 400 and r.json()["code"] in ("INVALID_REQUEST_BODY", "INVALID_PATTERN"), r


# ---- time, and clients ----

EXPLODES = "^(([a-z])+.)+[A-Z]([a-z])+$"


def test_a_pattern_that_explodes_is_given_up_and_said_so(shared, top):
    write(top / "a", "needle a\n" + "a" * 60 + "!\n")
    write(top / "b", "x\n")
    begin = time.monotonic()
    _, s = found(grep(shared, top, EXPLODES))
    assert s["skipped"]["gave_up"] == 1 and time.monotonic() - begin < 15
    assert s["files"] + s["skipped"]["gave_up"] in (2, 3)


def test_a_search_ends_when_its_time_is_up(shared, top):
    for i in range(300):
        write(top / f"{i}", ("a" * 24 + "!\n") * 200)
    begin = time.monotonic()
    _, s = found(grep(shared, top, EXPLODES, timeout_ms=200))
    assert (s["truncated"], s["reason"]) == (True, "timeout") and time.monotonic() - begin < 5
    assert 150 <= s["duration_ms"] < 5000


def test_a_slow_reader_of_a_search_delays_nobody(shared, top):
    for i in range(60):
        write(top / f"{i}", ("x" * 300 + "\n") * 1600)
    begin = shared.rss_kib()
    slow = [shared.connect(rcvbuf=4096) for _ in range(4)]
    for c in slow:
        c.send(c.head("POST", "/files/grep", body=json.dumps({"path": str(top), "pattern": "x"})))
    r = [c.response_head() for c in slow][3]
    with shared.connect() as c:
        for _ in range(100):
            start = time.monotonic()
            assert c.request("GET", "/ping").status == 200
            assert time.monotonic() - start < (1 if sanitized() else 0.25)
        assert len(found(grep(c, top / "0", "x"))[0]) == 1600
    assert shared.rss_kib() - begin < (250_000 if sanitized() else 40_000), "results nobody takes pile up"
    for c in slow[:3]:
        c.close()
    with slow[3] as c:  # what follows its head is still all there
        assert sum(piece.count(b"\n") for piece in c.pieces(r)) == 60 * 1600 + 1


def test_a_client_that_half_closes_gets_its_whole_search(shared, top):
    for i in range(40):
        write(top / f"{i:02d}", ("a" * 20 + "!\n") * 20 + "Aa\n")
    with shared.connect() as c:
        c.send(c.head("POST", "/files/grep", body=json.dumps({"path": str(top), "pattern": EXPLODES + "|Aa"})))
        r = c.response_head()
        c.half_close()
        r.body = b"".join(c.pieces(r))
        matches, _ = found(r)
        assert len(matches) == 40 and c.at_end()


def test_a_client_that_leaves_ends_its_search(shared, top):
    """One that is at it for long and has found nothing to send."""
    for i in range(600):
        write(top / f"{i}", ("a" * 24 + "!\n") * 60)
    calm(shared, len(shared.fds()))
    held = len(shared.fds())
    for end in ("reset", "close"):
        c = shared.connect()
        c.send(c.head("POST", "/files/grep", body=json.dumps({"path": str(top), "pattern": EXPLODES})))
        procfs.wait_until(lambda: any(v.startswith(f"{top}/") for v in shared.fds().values()))
        getattr(c, end)()
        calm(shared, held, 8)
