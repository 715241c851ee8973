"""POST /files/upload: multipart as clients send it, and as none should (contract 1.14)."""

import gzip
import itertools
import json
import os
import random
import shutil
import stat

import pytest

from files import (AS_ROOT, BOUNDARY, NOBODY, at, batch, calm, content, download, empty, form,
                   form_field, info, interleave, meta, names, noise, ok, part, post_form, refused,
                   send_chunked, send_pieces, top, upload, write)
from wire import Closed

TARGET = "/files/upload"


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def umask():
    now = os.umask(0)
    os.umask(now)
    return now


# ---- what arrives ----


@pytest.mark.parametrize("size", [0, 1, 2, 4096, 65535, 65536, 65537, 1 << 20, 20 << 20])
def test_the_bytes_are_those_that_were_sent(shared, top, size):
    data = noise(size)
    with shared.connect() as c:
        empty(upload(c, (top / "f", data)))
        assert (top / "f").read_bytes() == data
        body = form([meta(top / "g"), content(data)])
        for sizes in ((7, 8192, 1, 65536), (300_000,)):
            empty(send_chunked(c, "POST", TARGET, [form_field()], body, sizes))
            assert (top / "g").read_bytes() == data
        assert names(top) == ["f", "g"]


def test_new_files_have_the_default_mode_and_parents(shared, top):
    empty(upload(shared, (top / "a/b/c", b"x")))
    assert mode(top / "a/b/c") == mode(top / "a/b") == 0o777 & ~umask()


def test_metadata_says_mode_and_owner(shared, top):
    for members, want in (({"mode": 644}, 0o644), ({"mode": 0}, 0o777 & ~umask()),
                          ({"mode": None}, 0o777 & ~umask()),
                          ({"mode_octal": "0000"}, 0), ({"mode_octal": "4711", "mode": 600}, 0o4711)):
        name = f"m{len(names(top))}"
        empty(upload(shared, (top / name, b"x", members)))
        assert mode(top / name) == want, members
    if os.geteuid() == 0:
        empty(upload(shared, (top / "o", b"x", {"owner": "nobody", "group": "nogroup", "mode": 600})))
        st = (top / "o").stat()
        assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (NOBODY, NOBODY, 0o600)
        empty(upload(shared, (top / "n", b"x", {"owner": "70001"})))
        assert ((top / "n").stat().st_uid, (top / "n").stat().st_gid) == (70001, 0)


def test_a_file_that_is_replaced_hands_down_what_it_was(shared, top):
    path = write(top / "f", "old", 0o640)
    if os.geteuid() == 0:
        os.chown(path, 70001, 70002)
    os.setxattr(path, "user.boxd-test", b"kept")
    before = path.stat()
    empty(upload(shared, (path, b"new"), sync=True))
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino and path.read_bytes() == b"new"
    assert os.getxattr(path, "user.boxd-test") == b"kept"
    empty(upload(shared, (path, b"newer", {"mode": 600})))
    assert mode(path) == 0o600


def test_links_are_followed_and_stay(shared, top):
    write(top / "real/target", "old")
    os.symlink("real/target", top / "link")
    os.symlink("real/born", top / "dangling")
    empty(upload(shared, (top / "link", b"new"), (top / "dangling", b"here")))
    assert (top / "link").is_symlink() and (top / "real/target").read_bytes() == b"new"
    assert (top / "dangling").is_symlink() and (top / "real/born").read_bytes() == b"here"


@AS_ROOT
def test_files_belong_to_whom_was_asked_for(shared, top):
    refused(upload(shared, (top / "f", b"x"), uid=NOBODY), 403, "PERMISSION_DENIED")
    top.chmod(0o777)
    empty(upload(shared, (top / "d/f", b"x"), uid=NOBODY))
    assert (top / "d/f").stat().st_uid == NOBODY and names(top) == ["d", "d/f"]


# ---- pairs ----


@pytest.mark.parametrize("order", sorted(set(map("".join, itertools.permutations("mmmfff")))))
def test_pairs_in_any_interleaving(shared, top, order):
    pairs = [(top / f"{order}{i}", noise(n, i)) for i, n in enumerate((10, 70_000, 0))]
    empty(upload(shared, *pairs, order=order))
    for path, data in pairs:
        assert path.read_bytes() == data
    assert len(names(top)) == 3


def test_a_thousand_pairs(shared, top):
    pairs = [(top / f"{i % 10}/{i}", b"%d" % i) for i in range(1000)]
    for order in ("mf" * 1000, "m" * 1000 + "f" * 1000, "f" * 1000 + "m" * 1000):
        empty(upload(shared, *pairs, order=order))
        assert len(names(top)) == 1010
        assert all(p.read_bytes() == b"%d" % i for i, (p, _) in enumerate(pairs))
        assert shared.request("DELETE", at("/directories", *(top / f"{i}" for i in range(10)))).status == 200


def test_a_batch_stops_at_its_first_failure(shared, top):
    (top / "dir").mkdir()
    r = upload(shared, (top / "a", b"a"), (top / "dir", b"b"), (top / "c", b"c"))
    batch(r, 400, "INVALID_REQUEST_BODY", [str(top / "a")], str(top / "dir"))
    assert names(top) == ["a", "dir"]


def test_an_upload_may_be_conditional(shared, top):
    path = write(top / "f", "one")
    tag = ok(info(shared, path)).json()[str(path)]["etag"]
    for wrong in ('"no"', f"W/{tag}"):
        refused(upload(shared, (path, b"two", {"if_match": wrong})), 412, "PRECONDITION_FAILED")
    refused(upload(shared, (top / "gone", b"two", {"if_match": "*"})), 412, "PRECONDITION_FAILED")
    assert path.read_text() == "one" and names(top) == ["f"]
    empty(upload(shared, (path, b"two", {"if_match": tag})))
    r = upload(shared, (top / "g", b"g"), (path, b"three", {"if_match": tag}))
    batch(r, 412, "PRECONDITION_FAILED", [str(top / "g")], str(path))
    assert path.read_bytes() == b"two"


# ---- how parts are written ----


def raw_part(head, data=b"data"):
    return (head.replace("\n", "\r\n") + "\r\n").encode("latin-1") + data


STYLES = {
    "no filename": ['Content-Disposition: form-data; name="metadata"\n',
                    'Content-Disposition: form-data; name="file"\n'],
    "unquoted": ["Content-Disposition: form-data; name=metadata; filename=m\n",
                 "Content-Disposition: form-data; name=file; filename=x.txt; filename*=utf-8''x%C3%A4.txt\n"],
    "any case": ['CONTENT-DISPOSITION: Form-Data; NAME="metadata"; FILENAME="m"\n',
                 'content-disposition:form-data;name="file";filename="x"\n'],
    "lengths and types": ['Content-Disposition: form-data; name="metadata"; filename="m"\n'
                          "Content-Type: application/json; charset=utf-8\nContent-Length: 99\n",
                          "Content-Type: text/plain\nContent-Length: 4\nContent-Transfer-Encoding: binary\n"
                          'Content-Disposition: form-data; name="file"; filename="x"\n'],
    "odd filenames": ['Content-Disposition: form-data; name="metadata"; filename="a;b=\\"c\\\\"\n',
                      'Content-Disposition: form-data; name="file"; '
                      'filename="../../etc/pass%22wd; name=\\"metadata\\""\n'],
    "an empty filename": ['Content-Disposition: form-data; name="metadata"; filename=""\n',
                          'Content-Disposition: form-data; name="file"; filename=""\n'],
    "the filename first": ['Content-Disposition: form-data; filename="m"; name="metadata"\n',
                           'Content-Disposition: form-data; filename="file"; name="file"\n'],
    "white space": ['Content-Disposition:   form-data  ;  name="metadata"  \n',
                    'Content-Disposition:\tform-data;\tname="file"\n'],
    "UTF-8": ['Content-Disposition: form-data; name="metadata"; filename="\xc3\xa4"\n',
              'Content-Disposition: form-data; name="file"; filename="\xe6\x97\xa5\xe6\x9c\xac.txt"\n'],
}


@pytest.mark.parametrize("style", STYLES)
def test_parts_in_the_style_of_many_clients(shared, top, style):
    m, f = STYLES[style]
    body = form([raw_part(m, json.dumps({"path": str(top / "f")}).encode()), raw_part(f, b"data")])
    empty(post_form(shared, body))
    assert (top / "f").read_bytes() == b"data" and names(top) == ["f"]


@pytest.mark.parametrize("boundary, field", [
    ("x", None), ("x" * 70, None), ("a'()+_,-./:=?b", "quoted"), ("with space", "quoted"),
    ("----WebKitFormBoundary7MA4", None),
    ("0123", "quoted"), ("--", None), ("b", "; charset=utf-8; boundary=b; x=y"), ("b", '; Boundary="b"')])
def test_boundaries(shared, top, boundary, field):
    value = f'; boundary="{boundary}"' if field == "quoted" else field or f"; boundary={boundary}"
    body = form([meta(top / "f"), content(b"\r\n--" + boundary.encode()[:-1] + b"\r\n--")], boundary)
    empty(shared.request("POST", TARGET, [("Content-Type", "multipart/form-data" + value)], body))
    assert (top / "f").read_bytes() == b"\r\n--" + boundary.encode()[:-1] + b"\r\n--"


EDGE = b"\r\n--" + BOUNDARY.encode()
# What RFC 2046 forbids is not in here: a line that begins with the delimiter.
HOSTILE = [EDGE[:-1], b"x" + EDGE[2:], b"\n--" + BOUNDARY.encode(), b"\r--" + BOUNDARY.encode(),
           EDGE[:-1] + b"\r\n" + EDGE[:-1],
           b"\r\n" * 3, b"\r\n--", b" --" + BOUNDARY.encode() + b"--", b"\r\r\n-", b"\r" * 100,
           EDGE[:-1] * 500, b"-" * 70_000,
           EDGE[:10] * 20_000, EDGE.replace(b"b", b"B"), b"\0" * 10, b"\r\n\r\n", b"a\r\n", b"\r\na"]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda d: repr(d[:30]))
def test_content_that_looks_like_a_delimiter(shared, top, data):
    with shared.connect() as c:
        empty(upload(c, (top / "f", data), (top / "g", data + data)))
        assert (top / "f").read_bytes() == data and (top / "g").read_bytes() == data + data
        body = form([meta(top / "f"), content(data[::-1] if EDGE not in data[::-1] else data)])
        empty(send_chunked(c, "POST", TARGET, [form_field()], body, (1, 5, 3, 4096)))


def test_random_content_of_delimiter_letters(shared, top):
    rng = random.Random(5)
    pieces = [b"\r", b"\n", b"-", b"--", EDGE[:-1], EDGE[:7], BOUNDARY.encode(), b"x"]
    with shared.connect() as c:
        for i in range(60):
            data = b"".join(rng.choice(pieces) for _ in range(rng.randint(1, 60)))
            if EDGE in b"\r\n" + data:
                continue
            body = form([meta(top / f"{i}"), content(data)])
            empty(send_chunked(c, "POST", TARGET, [form_field()], body, [rng.randint(1, 40) for _ in range(7)]))
            assert (top / f"{i}").read_bytes() == data, data


def test_what_stands_around_the_parts_is_skipped(shared, top):
    body = form([meta(top / "f"), content(b"data")])
    for before, after in ((b"", b"\r\n"), (b"\r\n", b""),
                          (b"a preamble\r\nof lines\r\n", b"\r\nan epilogue\r\n--" + BOUNDARY.encode()),
                          (b"--not the boundary\r\n", b" \t\r\n"), (b"x" * 5000 + b"\r\n", b"y" * 5000)):
        empty(post_form(shared, before + body + after))
        assert (top / "f").read_bytes() == b"data"
    padded = body.replace(b"--" + BOUNDARY.encode() + b"\r\n", b"--" + BOUNDARY.encode() + b" \t \r\n")
    empty(post_form(shared, padded))


def test_other_parts_are_passed_over(shared, top):
    other = part("comment", noise(100_000), "c.txt")
    empty(post_form(shared, form([other, meta(top / "f"), other, content(b"data"), other])))
    assert (top / "f").read_bytes() == b"data" and names(top) == ["f"]


# ---- refusals ----

M, F = meta("never/written"), content(b"data")
ONE = form([M, F])
DISPOSITION = b"Content-Disposition: form-data"
REFUSED = {
    "no metadata": (form([F]), "INVALID_FILE_METADATA"),
    "no file": (form([M]), "INVALID_FILE_CONTENT"),
    "neither": (form([part("other", b"x")]), "INVALID_FILE_METADATA"),
    "no parts": (form([]), None),
    "more metadata": (form([M, F, M]), "INVALID_FILE"),
    "more files": (form([M, F, F]), "INVALID_FILE"),
    "two files first": (form([F, F, M]), "INVALID_FILE"),
    "metadata that is no JSON": (form([part("metadata", b"path=x", "m"), F]), "INVALID_FILE_METADATA"),
    "empty metadata": (form([part("metadata", b"", "m"), F]), "INVALID_FILE_METADATA"),
    "metadata with something behind": (form([part("metadata", b'{"path": "never"} x', "m"), F]),
                                       "INVALID_FILE_METADATA"),
    "two objects": (form([part("metadata", b'{"path": "never"}{}', "m"), F]), "INVALID_FILE_METADATA"),
    "an array": (form([part("metadata", b'[{"path": "never"}]', "m"), F]), "INVALID_FILE_METADATA"),
    "null": (form([part("metadata", b"null", "m"), F]), "INVALID_FILE_METADATA"),
    "no path": (form([part("metadata", b"{}", "m"), F]), "INVALID_FILE_METADATA"),
    "an empty path": (form([meta(""), F]), "INVALID_FILE_METADATA"),
    "a path of a number": (form([part("metadata", b'{"path": 7}', "m"), F]), "INVALID_FILE_METADATA"),
    "a bad mode": (form([meta("never", mode=888), F]), "INVALID_FILE_METADATA"),
    "a mode of text": (form([meta("never", mode="644"), F]), "INVALID_FILE_METADATA"),
    "a bad octal mode": (form([meta("never", mode_octal="9"), F]), "INVALID_FILE_METADATA"),
    "an owner of a number": (form([meta("never", owner=5), F]), "INVALID_FILE_METADATA"),
    "an unknown owner": (form([meta("never", owner="no-such-user"), F]), None),
    "an if_match of a number": (form([meta("never", if_match=5), F]), "INVALID_FILE_METADATA"),
    "deep metadata": (form([part("metadata", b'{"path":"never","x":' + b"[" * 100 + b"]" * 100 + b"}",
                                 "m"), F]), "INVALID_FILE_METADATA"),
    "not even a form": (b"hello", None),
    "an empty body": (b"", None),
    "no closing delimiter": (ONE[:-4 - len(BOUNDARY)], None),
    "a cut closing delimiter": (ONE[:-4], None),
    "half a part": (ONE[:-40], None),
    "a part without a head": (form([b"\r\ndata", M, F]), "INVALID_FILE"),
    "a head that does not end": (form([M, DISPOSITION + b'; name="file"']), None),
    "a folded field": (form([M, DISPOSITION + b';\r\n name="file"\r\n\r\nx']), "INVALID_FILE"),
    "a NUL in a field": (form([M, DISPOSITION + b'; name="fi\0le"\r\n\r\nx']), "INVALID_FILE"),
    "a field name with a space": (form([M, b"X Y: z\r\n" + DISPOSITION + b'; name="file"\r\n\r\nx']),
                                  "INVALID_FILE"),
    "a field without a colon": (form([M, b"nonsense\r\n" + DISPOSITION + b'; name="file"\r\n\r\nx']),
                                "INVALID_FILE"),
    "lines that end in LF": (ONE.replace(b"\r\n", b"\n"), None),
    "no Content-Disposition": (form([M, b"Content-Type: text/plain\r\n\r\nx"]), "INVALID_FILE"),
    "another disposition": (form([M, b'Content-Disposition: attachment; name="file"\r\n\r\nx']),
                            "INVALID_FILE"),
    "a field of a megabyte": (form([M, b"X: " + b"y" * (1 << 20) + b"\r\n" + F]), "INVALID_FILE"),
    "ten thousand fields": (form([M, b"X: y\r\n" * 10_000 + F]), "INVALID_FILE"),
    "metadata of a megabyte": (form([meta("never", x="y" * (1 << 20)), F]), "INVALID_FILE_METADATA"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_forms_that_cannot_be(shared, name):
    body, code = REFUSED[name]
    before, held = names(shared.root), len(shared.fds())
    fields = [form_field(), ("Content-Length", str(len(body)))]
    with shared.connect() as c:
        r = send_pieces(c, "POST", TARGET, fields, [body])
        assert r.status == 400 and r.json()["code"] in ([code] if code else [
            "INVALID_FILE", "INVALID_FILE_METADATA", "INVALID_FILE_CONTENT", "INVALID_REQUEST_BODY"]), r
        if not r.will_close:
            assert c.request("GET", "/ping").status == 200
        else:
            assert c.at_end()
    new = [shared.root / n for n in names(shared.root) if n not in before]
    left = [str(p) for p in new if not p.is_dir()]
    # Pairs that were complete before the fault are files by then, and the answer says so.
    assert left == [str(shared.root / n) for n in r.json().get("done", [])], "something was left"
    assert not left or name in ("more metadata", "more files", "two files first"), r
    shutil.rmtree(shared.root / "never", ignore_errors=True)
    calm(shared, held)


@pytest.mark.parametrize("kind", [None, "application/json", "multipart/mixed; boundary=x",
                                  "multipart/form-data",
                                  "multipart/form-data; boundary=", 'multipart/form-data; boundary=""',
                                  "text/plain",
                                  "multipart/form-data; boundary=" + "x" * 71,
                                  "multipart/form-data; boundary=a{b}",
                                  'multipart/form-data; boundary="x', "multipart/form-dataX; boundary=x",
                                  "multipart"])
def test_what_is_no_form_is_refused(shared, kind):
    fields = [("Content-Type", kind)] if kind else []
    refused(shared.request("POST", TARGET, fields, form([M, F], "x")), 400, "INVALID_FILE")
    assert not (shared.root / "never").exists()


def test_a_hundred_thousand_pairs_have_a_defined_answer(shared):
    """Without content, metadata first: more than are allowed are noticed before anything is written."""
    fields = [form_field(), ("Transfer-Encoding", "chunked")]
    one = b"--" + BOUNDARY.encode() + b"\r\n" + meta("flood") + b"\r\n"
    frame = b"%x\r\n%s\r\n" % (len(one) * 500, one * 500)
    r = send_pieces(shared, "POST", TARGET, fields, itertools.repeat(frame, 200))
    refused(r, 400, "INVALID_FILE")
    assert not (shared.root / "flood").exists() and shared.get("/ping").status == 200


def test_places_that_cannot_be_written(shared, top):
    write(top / "file")
    (top / "dir").mkdir()
    os.symlink("loop", top / "loop")
    os.mkfifo(top / "fifo")
    before = names(top)
    for name, code in (("dir", "INVALID_REQUEST_BODY"), ("fifo", "INVALID_REQUEST_BODY"),
                       ("loop", "INVALID_PATH")):
        refused(upload(shared, (top / name, b"x" * 100_000)), 400, code)
        refused(upload(shared, (top / name, b"x" * 100_000), order="fm"), 400, code)
    assert names(top) == before


# ---- coded, cut and interleaved with other requests ----


def test_gzip_is_taken_off(shared, top):
    data = noise(200_000)
    packed = gzip.compress(form([meta(top / "f"), content(data)]))
    with shared.connect() as c:
        empty(c.request("POST", TARGET, [form_field(), ("Content-Encoding", "gzip")], packed))
        assert (top / "f").read_bytes() == data
        for broken in (packed[:-1], packed[:1000], packed[:-8] + b"\0" * 8, b"", b"no gzip"):
            (top / "f").write_bytes(b"old")
            with shared.connect() as other:
                r = other.request("POST", TARGET, [form_field(), ("Content-Encoding", "gzip")], broken)
                assert r.status == 400, r
        refused(c.request("POST", TARGET, [form_field(), ("Content-Encoding", "br")], packed), 415,
                "UNSUPPORTED_MEDIA_TYPE")


def test_expect_is_answered(shared, top):
    body = form([meta(top / "f"), content(b"hello")])
    with shared.connect() as c:
        head = [form_field(), ("Expect", "100-continue"), ("Content-Length", str(len(body)))]
        c.send(c.head("POST", TARGET, head))
        assert c.response_head().status == 100
        c.send(body)
        empty(c.response())
        c.send(c.head("POST", TARGET, [("Content-Type", "text/plain"), *head[1:]]))
        refused(c.response(), 400, "INVALID_FILE")


def test_a_connection_lives_on_after_each_answer(shared, top):
    (top / "dir").mkdir()
    with shared.connect() as c:
        for _ in range(3):
            for r in (upload(c, (top / "f", b"x")), upload(c, (top / "f", b"y" * 100_000), order="fm"),
                      download(c, top / "f"),
                      c.request("GET", "/ping")):
                assert r.status == 200 and not r.will_close
    for r, c in ((upload(c, (top / "dir", b"x")), c) for c in (shared.connect() for _ in range(5))):
        assert r.status == 400
        assert c.at_end() if r.will_close else c.request("GET", "/ping").status == 200
        c.close()


def test_old_clients_are_served(shared, top):
    body = form([meta(top / "f"), content(b"old")])
    with shared.connect() as c:
        empty(c.request("POST", TARGET, [form_field()], body, version="1.0"))
        assert c.at_end() and (top / "f").read_bytes() == b"old"


def test_a_form_cut_short_leaves_nothing(shared, top):
    body = form(interleave("mffmmf", [(top / "f", noise(50_000)), (top / "g", noise(50_000)),
                                      (top / "h", b"x")]))
    held = len(shared.fds())
    write(top / "f", "old")
    for cut in (10, 200, 300, 30_000, 51_000, 70_000):
        for end in ("close", "half", "reset"):
            c = shared.connect()
            c.send(c.head("POST", TARGET, [form_field(), ("Content-Length", str(len(body)))]) + body[:cut])
            if end == "half":
                c.half_close()
                try:
                    assert c.response().status >= 400
                except Closed:
                    pass
            (c.reset if end == "reset" else c.close)()
    calm(shared, held)
    assert set(names(top)) <= {"f"} and (top / "f").read_bytes() in (b"old", noise(50_000))
    assert names(shared.state) == []
