"""The limits of files and searches, at the limit and one past it (include/boxd/limits.h)."""

import json
import os
import time

from files import (at, below, content, delete, download, empty, form, found, grep, info, listing,
                   meta, mkdir, move, names, ok, part, permissions, post_form, put, refused,
                   replace, rmdir, search, send_chunked, skipped, tree, upload, write)

OVER = (400, "INVALID_PATH")


def test_fs_path_parts(boxd):
    d = boxd(limits={"fs_path_parts": 30})
    room = 30 - len(d.root.parts[1:])
    fits = "/".join(["d"] * room)
    empty(mkdir(d, {fits: {}}))
    refused(mkdir(d, {fits + "/d": {}}), *OVER)
    refused(info(d, fits + "/d"), *OVER)
    assert info(d, fits).status == 200
    # Those of links count.
    os.symlink("/".join(["d"] * 3), d.root / "three")
    ok(info(d, "three/" + "/".join(["d"] * (room - 3))))
    refused(info(d, "three/" + "/".join(["d"] * room)), *OVER)


def test_fs_links(boxd):
    d = boxd(limits={"fs_links": 5})
    for kind, target in (("relative", "{}"), ("absolute", str(d.root / "{}"))):
        write(d.root / f"{kind}5", "end")
        write(d.root / f"{kind}-more6", "end")
        for i in range(5):
            os.symlink(target.format(f"{kind}{i + 1}"), d.root / f"{kind}{i}")
        for i in range(6):
            os.symlink(target.format(f"{kind}-more{i + 1}"), d.root / f"{kind}-more{i}")
        assert ok(download(d, f"{kind}0")).body == b"end"
        refused(download(d, f"{kind}-more0"), *OVER)


def test_fs_batch(boxd):
    d = boxd(limits={"fs_batch": 3})
    paths = [str(write(d.root / f"f{i}", "x")) for i in range(8)]
    over = (400, "INVALID_REQUEST_BODY")
    assert len(ok(info(d, *paths[:3])).json()) == 3
    assert info(d, *paths[:4]).status == 400
    for call, value in ((permissions, {"mode": 600}), (replace, {"old": "y", "new": "z"}), (mkdir, {})):
        made = [p + "d" for p in paths] if call is mkdir else paths
        empty(call(d, {p: value for p in made[:3]}))
        refused(call(d, {p: value for p in made[:4]}), *over)
    refused(move(d, *((p, p + "x") for p in paths[:4])), *over)
    empty(move(d, *((p, p + "x") for p in paths[:3])))
    assert delete(d, *paths[3:7]).status == 400 and rmdir(d, *paths[3:7]).status == 400
    assert all(os.path.exists(p) for p in paths[3:7])
    empty(delete(d, *paths[3:6]))
    empty(rmdir(d, *paths[3:6]))


def test_fs_upload_bytes(boxd):
    d = boxd(limits={"fs_upload_bytes": 10_000})
    ok(put(d, "f", b"x" * 10_000), 201)
    empty(upload(d, ("g", b"x" * 10_000)))
    empty(upload(d, ("h", b"x" * 5000), ("i", b"x" * 5000)))
    before = tree(d.root)
    for r in (put(d, "f", b"x" * 10_001), upload(d, ("g", b"x" * 10_001)),
              upload(d, ("f", b"y" * 10_001), order="fm"),
              send_chunked(d, "PUT", at("/files/content", "f"), [], b"x" * 10_001, (4000,))):
        refused(r, 413, "TOO_LARGE")
    assert {k: v for k, v in tree(d.root).items() if k != "."} == {k: v for k, v in before.items() if k != "."}
    refused(upload(d, ("j", b"x" * 5000), ("k", b"x" * 5001)), 413, "TOO_LARGE")
    assert not (d.root / "k").exists()


def test_fs_upload_pairs(boxd):
    d = boxd(limits={"fs_upload_pairs": 5})
    pairs = [(f"f{i}", b"x") for i in range(6)]
    for order in ("mf", None):
        order5, order6 = (order * 5, order * 6) if order else ("f" * 5 + "m" * 5, "f" * 6 + "m" * 6)
        empty(upload(d, *pairs[:5], order=order5))
        refused(upload(d, *pairs, order=order6), 400, "INVALID_FILE")
        assert not (d.root / "f5").exists()
    refused(upload(d, *pairs, order="m" * 6 + "f" * 6), 400, "INVALID_FILE")


def test_fs_metadata_bytes(boxd):
    d = boxd(limits={"fs_metadata_bytes": 400})
    for n, status in ((400, 200), (401, 400)):
        text = json.dumps({"path": f"m{n}"}).ljust(n)
        r = post_form(d, form([part("metadata", text, "m"), content(b"x")]))
        assert r.status == status, r
        assert status == 200 or r.json()["code"] == "INVALID_FILE_METADATA"
    assert names(d.root) == ["m400"]


def test_fs_part_head_bytes(boxd):
    d = boxd(limits={"fs_part_head_bytes": 1000})

    def padded(n):
        head = b'Content-Disposition: form-data; name="file"\r\nX: %s\r\n'
        return head % (b"y" * (n - len(head % b""))) + b"\r\ndata"

    # Whether the empty line at its end counts is not promised.
    empty(post_form(d, form([meta("f"), padded(998)])))
    refused(post_form(d, form([meta("g"), padded(1001)])), 400, "INVALID_FILE")
    assert names(d.root) == ["f"]


def test_fs_ranges(boxd):
    d = boxd(limits={"fs_ranges": 4})
    write(d.root / "f", bytes(range(100)))
    four = ",".join(f"{i}-{i}" for i in range(4))
    assert ok(download(d, "f", [("Range", "bytes=" + four)]),
              206).field("content-type").startswith("multipart/")
    assert ok(download(d, "f", [("Range", f"bytes={four},4-4")]), 200).body == bytes(range(100))


def test_fs_walk_depth(boxd):
    d = boxd(limits={"fs_walk_depth": 5})
    write(d.root / "1/2/3/4/5/6/f", "x")
    (d.root / "1/2/3/4/f").touch()
    (d.root / "1/2/3/4/5/f").touch()
    r = listing(d, ".", 100)
    got = below(r, d.root)
    assert "1/2/3/4/5" in got and "1/2/3/4/5/6/f" not in got and skipped(r) == 1
    r = search(d, ".", "f")
    assert "1/2/3/4/f" in below(r, d.root) and "1/2/3/4/5/6/f" not in below(r, d.root) and skipped(r) == 1
    assert found(grep(d, ".", "x"))[1]["skipped"]["unreadable_directories"] == 1
    r = rmdir(d, "1")
    assert r.status in (200, 400), r


def test_fs_directory_bytes(boxd):
    d = boxd(limits={"fs_directory_bytes": 65536})
    write(d.root / "a/f")
    for i in range(400):
        write(d.root / "big" / (f"{i:04d}" + "n" * 200))
    write(d.root / "z/f")
    r = listing(d, ".", 2)
    assert below(r, d.root) == ["a", "a/f", "big", "z", "z/f"] and skipped(r) == 1
    for i in range(150, 400):
        os.unlink(d.root / "big" / (f"{i:04d}" + "n" * 200))
    r = listing(d, ".", 2)
    assert len(below(r, d.root)) == 155 and skipped(r) == 0
    assert rmdir(d, "big").status == 200


def test_fs_glob_bytes(boxd):
    d = boxd(limits={"fs_glob_bytes": 100})
    write(d.root / "f", "x\n")
    assert below(search(d, ".", "*" * 99 + "f"), d.root) == ["f"]
    refused(search(d, ".", "*" * 100 + "f"), 400, "INVALID_PATTERN")
    assert len(found(grep(d, ".", "x", include=["*" * 99 + "f"]))[0]) == 1
    refused(grep(d, ".", "x", include=["*" * 100 + "f"]), 400, "INVALID_PATTERN")


def test_fs_glob_states(boxd):
    d = boxd(limits={"fs_glob_states": 64})
    write(d.root / "abab", "x")
    assert below(search(d, ".", "{a,b}{a,b}a?"), d.root) == ["abab"]
    refused(search(d, ".", "{aaaa,bbbb,cccc}" * 10), 400, "INVALID_PATTERN")
    refused(search(d, ".", "a" * 100), 400, "INVALID_PATTERN")


def test_grep_pattern_bytes(boxd):
    d = boxd(limits={"grep_pattern_bytes": 100})
    write(d.root / "f", "x" * 200 + "\n")
    for literal in (False, True):
        assert len(found(grep(d, ".", "x" * 100, literal=literal))[0]) == 1
        refused(grep(d, ".", "x" * 101, literal=literal), 400, "INVALID_PATTERN")


def test_grep_file_bytes(boxd):
    d = boxd(limits={"grep_file_bytes": 2000})
    write(d.root / "f", "x\n" * 1000)
    write(d.root / "g", "x\n" * 1000 + "x")
    for more in ({}, {"max_file_bytes": 2000}, {"max_file_bytes": 10_000}):
        matches, s = found(grep(d, ".", "x", **more))
        assert {m["path"][-1] for m in matches} == {"f"} and s["skipped"]["too_large"] == 1


def test_grep_line_bytes(boxd):
    d = boxd(limits={"grep_line_bytes": 300})
    write(d.root / "f", "a" * 300 + "\n" + "b" * 301 + "\n" + "c" * 100_000 + "end\n")
    matches, _ = found(grep(d, ".", "aa$|bb$|end"))
    assert [(len(m["text"]), m.get("cut", False)) for m in matches] == [(300, False), (300, True), (300, True)]
    assert [m["column"] for m in matches] == [299, 300, 100_001]


def test_grep_context(boxd):
    d = boxd(limits={"grep_context": 3})
    write(d.root / "f", "\n".join("abcdXefgh"))
    assert len(found(grep(d, ".", "X", context=3))[0][0]["before"]) == 3
    r = grep(d, ".", "X", context=4)
    assert r.status == 400, r


def test_grep_results(boxd):
    d = boxd(limits={"grep_results": 10})
    write(d.root / "f", "x\n" * 10)
    assert found(grep(d, ".", "x"))[1]["truncated"] is False
    write(d.root / "g", "x\n")
    for more in ({}, {"max_results": 10}, {"max_results": 1000}):
        matches, s = found(grep(d, ".", "x", **more))
        assert len(matches) == 10 and s["reason"] == "max_results"


def test_grep_ms(boxd):
    d = boxd(limits={"grep_ms": 300})
    for i in range(400):
        write(d.root / f"{i}", ("a" * 24 + "!\n") * 200)
    for more in ({}, {"timeout_ms": 60_000}):
        begin = time.monotonic()
        _, s = found(grep(d, ".", "^(([a-z])+.)+[A-Z]([a-z])+$", **more))
        assert s["reason"] == "timeout" and 0.25 < time.monotonic() - begin < 5


def test_grep_steps(boxd):
    pattern, line = "^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 16 + "!"
    few, many = boxd(limits={"grep_steps": 1000}), boxd()
    for d, gave_up in ((few, 1), (many, 0)):
        write(d.root / "f", line + "\n")
        assert found(grep(d, ".", pattern))[1]["skipped"]["gave_up"] == gave_up
    write(few.root / "f", "short\n")
    assert found(grep(few, ".", "^short$"))[1]["skipped"]["gave_up"] == 0


def test_fs_replace_line_bytes(boxd):
    most = 1 << 20
    d = boxd(limits={"fs_replace_line_bytes": most})
    for size, status in ((most, 200), (most + 1, 400)):
        (d.root / "f").write_bytes(b"x" * size + b"\nxx\n")
        r = d.post("/files/replace?verbose=true", {"f": {"old": "^x", "new": "y", "regex": True}})
        assert r.status == status, r
        if status == 200:
            assert r.json() == {"f": {"replacedCount": 2}}
        else:
            refused(r, 400, "INVALID_PATTERN")
            assert (d.root / "f").read_bytes()[:1] == b"x"
