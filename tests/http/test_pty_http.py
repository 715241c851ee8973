"""Terminals by plain HTTP: typing, resizing, signals, and output as an event stream."""

import base64
import threading

import pytest

import procfs
from boxd import sanitized
from wire import Stream
from wsclient import REPORTER, Terminal, create, delete, look, opened

SSE = "text/event-stream"
JSON = {"Content-Type": "application/json"}


class Output(Stream):
    """
    The events of a terminal's output, put together by offset: an id is the offset behind the bytes
    of its event.
    """

    def __init__(self, conn, response, standard):
        super().__init__(conn, response, standard)
        self.data, self.kinds, self.gaps, self.at = bytearray(), [], [], None

    def parse(self, raw):
        if b'"data_base64"' not in raw:
            return super().parse(raw)
        # The strict reader wants text in every event of output.
        e = super().parse(raw.replace(b'"data_base64"', b'"text"', 1))
        assert b'"text"' not in raw, raw[:200]
        e["data_base64"] = e.pop("text")
        return e

    def next(self, deadline=None):
        e = super().next(deadline)
        if e is None:
            return None
        self.kinds.append(e.type)
        if e.type in ("stdout", "stderr"):
            got = base64.b64decode(e["data_base64"], validate=True) if "data_base64" in e else e.text.encode()
            if e.id is not None and "data_base64" in e:
                assert self.at in (None, e.id - len(got)), f"{len(got)} bytes to {e.id} at {self.at}"
            self.at = e.id
            self.data += got
        elif e.type == "gap":
            self.gaps.append(e["dropped_bytes"])
            self.at = e.id
        return e

    def until(self, mark):
        while mark not in self.data:
            assert self.next() is not None, bytes(self.data[-300:])
        return self

    def end(self):
        """Reads on; the exit code, or None when the stream ended without one."""
        for _ in self:
            pass
        self.conn.close()
        return self.exit_code

    @property
    def exit_code(self):
        return self.last.get("exit_code") if self.last else None

    @property
    def last(self):
        return getattr(self, "_last", None)

    def __iter__(self):
        while (e := self.next()) is not None:
            if e.type == "exit":
                self._last = e
            yield e


def output(d, ident, query="", last_id=None, standard=True, rcvbuf=None):
    """Attached: init and the first ping have come."""
    fields = d.auth([("Accept", SSE)] if standard else [])
    if last_id is not None:
        fields.append(("Last-Event-ID", str(last_id)))
    conn = d.connect(rcvbuf=rcvbuf)
    s = conn.stream("GET", f"/pty/{ident}/output{query}", fields)
    s = Output(conn, s.response, standard)
    first = s.next()
    assert first.type == "init" and first.text == ident
    assert s.next().type == "ping"
    return s


def type_(d, ident, data, query="", fields=()):
    r = d.post(f"/pty/{ident}/input{query}", data, fields)
    assert r.status == 200, r
    return r.json()


def whole(d, ident, query=""):
    """All output of a terminal that has ended, and its code."""
    s = output(d, ident, query)
    code = s.end()
    return bytes(s.data), code


# ---- input ----


def test_typing_starts_the_shell_and_answers_with_what_was_taken(shared):
    ident = create(shared, command="head -n 1")
    assert type_(shared, ident, "hällo\n") == {"accepted": 7, "output_offset": 0}
    s = output(shared, ident)
    assert s.end() == 0
    assert s.data.decode() == "hällo\r\nhällo\r\n"
    assert s.kinds[:2] == ["init", "ping"] and s.kinds[-1] == "exit"


@pytest.mark.parametrize("body,fields,want", [
    (b"plain\n", {}, b"plain\n"), (b'{"data":"x"}\n', {}, b'{"data":"x"}\n'),
    (b'{"data":"x"}\n', {"Content-Type": "text/plain"}, b'{"data":"x"}\n'),
    (b'{"data":"text \\u00e4\\n"}', JSON, "text ä\n".encode()),
    (b'{"data_base64":"AAH/gAo="}', JSON, b"\x00\x01\xff\x80\n"),
    (b'{"data":"a","data_base64":"Ygo="}', JSON, b"ab\n"),
    (b'{"data":"cs\\n"}', {"Content-Type": "Application/JSON; charset=utf-8"}, b"cs\n"),
    (bytes(range(256)), {"Content-Type": "application/octet-stream"}, bytes(range(256))),
], ids=repr)
def test_input_is_the_body_or_what_its_json_says(shared, body, fields, want):
    ident = create(shared, command=f"head -c {len(want)} | od -An -v -tu1")
    got = type_(shared, ident, body, "?pty=0", fields)
    assert got["accepted"] == len(want)
    data, code = whole(shared, ident)
    assert code == 0 and bytes(map(int, data.split())) == want
    assert look(shared, ident)["mode"] == "pipe"


@pytest.mark.parametrize("body", [
    "", "[]", "null", "1", "{", '{"data":1}', '{"data":[]}', '{"data_base64":5}',
    '{"data_base64":"A"}', '{"data_base64":"A="}', '{"data_base64":"????"}', '{"eof":"yes"}', '{"eof":1}', '{"data":"\\u0000"}',
    '{"data":"ok","data_base64":"!"}'], ids=repr)
def test_json_that_cannot_be_typed_is_refused_and_starts_nothing(shared, body):
    ident = create(shared)
    r = shared.post(f"/pty/{ident}/input", body, JSON)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
    assert look(shared, ident)["running"] is False


def test_nothing_is_little_enough_to_type(shared):
    ident = create(shared, command="cat")
    assert type_(shared, ident, "")["accepted"] == 0
    assert type_(shared, ident, "{}", fields=JSON)["accepted"] == 0
    assert look(shared, ident)["running"] is True
    delete(shared, ident)


@pytest.mark.parametrize("query,body,fields", [
    ("?eof=1", "line\n", {}), ("", '{"data":"line\\n","eof":true}', JSON),
    ("?eof=1", '{"data":"line\\n"}', JSON)], ids=repr)
@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_the_end_of_input(shared, mode, query, body, fields):
    ident = create(shared, command="cat; echo bye")
    if mode == "pipe":
        query += "&pty=0" if query else "?pty=0"
    type_(shared, ident, body, query, fields)
    data, code = whole(shared, ident)
    assert code == 0 and data == (b"line\nbye\n" if mode == "pipe" else b"line\r\nline\r\nbye\r\n")


@pytest.mark.parametrize("query", ["?eof=0", "?eof=true", "?eof=", ""])
def test_other_values_are_no_end_of_input(shared, query):
    ident = create(shared, command="head -n 2")
    type_(shared, ident, "one\n", query)
    type_(shared, ident, "two\n")
    assert whole(shared, ident)[1] == 0


def test_input_behind_the_end_of_a_pipe_is_409(shared):
    ident = create(shared, command="cat; sleep 100")
    type_(shared, ident, "x", "?pty=0&eof=1")
    for body, query in (("late", ""), ("", "?eof=1")):
        r = shared.post(f"/pty/{ident}/input{query}", body)
        assert r.status == 409, r
    delete(shared, ident)


def test_who_types_by_http_does_not_hold_the_terminal(shared):
    ident, t = opened(shared)
    t.ready()
    type_(shared, ident, "echo from ht''tp\n")
    t.read_until("from http")
    assert look(shared, ident)["viewers"] == 1
    t.leave()


def test_the_answer_says_where_the_output_of_the_input_begins(shared):
    ident, t = opened(shared)
    t.ready()
    t.ask("true")
    t.leave()
    at = type_(shared, ident, "echo an''swer\n")["output_offset"]
    s = output(shared, ident, f"?since={at}").until(b"answer\r\n")
    assert b"echo an''swer" in s.data
    s.conn.close()


# ---- resize, signal ----


def test_resize(shared):
    ident, t = opened(shared)
    t.ready()
    r = shared.post(f"/pty/{ident}/resize", {"cols": 120, "rows": 40})
    assert (r.status, r.body) == (200, b"")
    assert t.ask("stty size") == "40 120"
    t.leave()


@pytest.mark.parametrize("body", [
    "", "{}", "[]", "null", "{", '{"cols":10}', '{"rows":10}', '{"cols":0,"rows":10}', '{"cols":10,"rows":0}',
    '{"cols":-1,"rows":10}', '{"cols":65536,"rows":10}', '{"cols":10,"rows":65536}', '{"cols":"10","rows":10}',
    '{"cols":1.5,"rows":10}', '{"cols":null,"rows":10}'], ids=repr)
def test_a_size_that_is_none_is_refused(shared, body):
    ident = create(shared)
    r = shared.post(f"/pty/{ident}/resize", body)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
    assert [look(shared, ident)[k] for k in ("cols", "rows")] == [80, 24]


def test_a_terminal_that_does_not_run_is_resized_for_later(shared):
    ident = create(shared, command="stty size")
    assert shared.post(f"/pty/{ident}/resize", {"cols": 65535, "rows": 1}).status == 200
    assert look(shared, ident)["running"] is False
    type_(shared, ident, "")
    assert whole(shared, ident) == (b"1 65535\r\n", 0)


def test_signals_arrive(shared):
    (shared.root / "reporter.py").write_text(REPORTER)
    ident = create(shared, command="exec /usr/bin/python3 reporter.py")
    type_(shared, ident, "")
    s = output(shared, ident).until(b"up")
    for name in ("SIGINT", "TERM", "SIGQUIT", "HUP", "SIGUSR1", "USR2", "SIGWINCH", "CONT", "TSTP"):
        r = shared.post(f"/pty/{ident}/signal", {"signal": name})
        assert (r.status, r.body) == (200, b""), r
        s.until(b"got-SIG" + name.removeprefix("SIG").encode())
    assert shared.post(f"/pty/{ident}/signal", {"signal": "KILL"}).status == 200
    assert s.end() == -1


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"signal":9}', '{"signal":""}', '{"signal":"SIGSTOP"}',
                                  '{"signal":"sigint"}', '{"signal":null}', '{"signal":"SIGRTMIN"}'], ids=repr)
def test_what_is_no_signal_is_refused(shared, body):
    ident = create(shared, command="cat")
    type_(shared, ident, "")
    r = shared.post(f"/pty/{ident}/signal", body)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
    assert look(shared, ident)["running"] is True
    delete(shared, ident)


def test_a_signal_to_nobody_is_409(shared):
    ident = create(shared, command="true")
    for _ in range(2):
        r = shared.post(f"/pty/{ident}/signal", {"signal": "SIGINT"})
        assert r.status == 409, r
        type_(shared, ident, "")
        whole(shared, ident)


# ---- output ----


def test_the_events_of_a_terminal(shared):
    ident = create(shared, command="printf 'a\\nb'; sleep 0.05; printf c; exit 3")
    type_(shared, ident, "")
    s = output(shared, ident)
    assert s.end() == 3
    assert s.data == b"a\r\nbc" and s.at == 5
    assert s.last.id is None


def test_the_bare_form(shared):
    ident = create(shared, command="echo x")
    type_(shared, ident, "")
    s = output(shared, ident, standard=False)
    assert s.end() == 0 and s.data == b"x\r\n"


def test_output_waits_for_a_shell(shared):
    ident = create(shared, command="echo later")
    s = output(shared, ident)
    assert look(shared, ident)["running"] is False and look(shared, ident)["viewers"] == 1
    type_(shared, ident, "")
    assert s.end() == 0 and s.data == b"later\r\n"


@pytest.mark.parametrize("query,last_id,want", [
    ("", None, b"abcdefghij"), ("?since=0", None, b"abcdefghij"), ("?since=4", None, b"efghij"),
    ("?since=9", None, b"j"), ("?since=10", None, b""), ("?since=11", None, b""), ("?since=-3", None, b"abcdefghij"), ("?since=7x", None, b"hij"),
    ("?since=x", None, b"abcdefghij"), ("", 4, b"efghij"), ("?since=2", 8, b"ij"), ("?since=8", 2, b"cdefghij"),
    ("", 10, b""), ("", 999999999999, b""), ("", 0, b"abcdefghij"), ("", "", b"abcdefghij")])
@pytest.mark.parametrize("encoding", ["", "base64"])
def test_output_begins_where_it_was_asked_for(shared, ended, query, last_id, want, encoding):
    if encoding:
        query += ("&" if query else "?") + "encoding=base64"
    s = output(shared, ended, query, last_id)
    assert s.end() == 0
    assert bytes(s.data) == want and s.gaps == []


@pytest.fixture(scope="module")
def ended(shared):
    ident = create(shared, command="printf abcdefghij")
    type_(shared, ident, "")
    assert whole(shared, ident) == (b"abcdefghij", 0)
    return ident


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "1 2", "99999999999999999999999"])
def test_a_last_event_id_that_is_none_is_refused(shared, ended, value):
    r = shared.get(f"/pty/{ended}/output", {"Accept": SSE, "Last-Event-ID": value})
    assert (r.status, r.json()["code"]) == (400, "INVALID_QUERY"), r


@pytest.mark.parametrize("accept", [SSE, "*/*"])
def test_HEAD_says_what_it_would_be_and_begins_nothing(shared, ended, accept):
    r = shared.request("HEAD", f"/pty/{ended}/output", {"Accept": accept})
    assert (r.status, r.field("content-type")) == (200, SSE)
    assert look(shared, ended)["viewers"] == 0


TEXT = "aä€😀" * 40


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_a_character_that_comes_in_pieces_is_whole(shared, gap):
    text = "ä€😀"
    (shared.root / "slow.py").write_text(
        "import sys, time\n"
        f"data, n = {text!r}.encode(), {gap}\n"
        "for i in range(0, len(data), n):\n"
        "    sys.stdout.buffer.write(data[i:i + n]); sys.stdout.flush(); time.sleep(0.03)\n")
    ident = create(shared, command="/usr/bin/python3 slow.py")
    type_(shared, ident, "")
    s = output(shared, ident)
    ids = [(e.text, e.id) for e in s if e.type == "stdout"]
    assert "".join(t for t, _ in ids) == text and s.exit_code == 0
    at = 0
    for piece, ident_ in ids:
        at += len(piece.encode())
        assert ident_ == at, "an id is the offset behind what was told"


def test_resuming_at_any_event_cuts_no_character(shared):
    (shared.root / "text").write_text(TEXT)
    ident = create(shared, command="for i in $(seq 0 7 400); do tail -c +$((i+1)) text | head -c 7; sleep 0.001; done")
    type_(shared, ident, "")
    s = output(shared, ident)
    events = [e for e in s if e.type == "stdout"]
    data = s.data.decode()
    assert data == TEXT and "\ufffd" not in data
    for e in events:
        again = output(shared, ident, last_id=e.id)
        assert again.end() == 0
        assert (TEXT.encode()[:e.id] + bytes(again.data)).decode() == TEXT


@pytest.mark.parametrize("octal,want", [("\\377", "\ufffd"), ("a\\303", "a\ufffd"), ("\\342\\202", "\ufffd\ufffd"),
                                        ("\\300\\257x", "\ufffd\ufffdx")])
def test_what_is_no_text_becomes_replacement_characters_or_base64(shared, octal, want):
    ident = create(shared, command=f"printf '{octal}'")
    type_(shared, ident, "")
    data, code = whole(shared, ident)
    assert (data.decode(), code) == (want, 0)
    raw, _ = whole(shared, ident, "?encoding=base64")
    assert raw == octal.encode().decode("unicode_escape").encode("latin-1")


def test_base64_carries_the_bytes_as_they_are(shared):
    every = bytes(range(256)) * 1000
    (shared.root / "every").write_bytes(every)
    ident = create(shared, command="stty raw; cat every")
    type_(shared, ident, "")
    data, code = whole(shared, ident, "?encoding=base64")
    assert (code, data) == (0, every)


@pytest.mark.parametrize("encoding", ["", "base32", "BASE64", "base64x"])
def test_other_encodings_are_text(shared, ended, encoding):
    s = output(shared, ended, f"?encoding={encoding}")
    assert all("text" in e for e in s if e.type == "stdout")


def test_pipes_are_events_of_their_own(shared):
    ident = create(shared, command="echo out; sleep 0.05; echo err >&2; sleep 0.05; "
                                   "printf '\\303'; sleep 0.05; printf 'e\\377' >&2")
    type_(shared, ident, "", "?pty=0")
    s = output(shared, ident)
    got = [(e.type, e.text) for e in s if e.type in ("stdout", "stderr")]
    assert got == [("stdout", "out\n"), ("stderr", "err\n"), ("stdout", "\ufffd"), ("stderr", "e\ufffd")]
    assert s.exit_code == 0 and s.at == 11


def test_output_ends_with_its_shell_and_the_next_has_a_stream_of_its_own(shared):
    ident = create(shared, command="echo once; exit 4")
    for turn in (1, 2):
        type_(shared, ident, "")
        assert whole(shared, ident) == (b"once\r\n" * turn, 4)


def test_what_is_too_old_is_left_out(boxd):
    d = boxd(limits={"pty_replay_bytes": 65536, "hub_segment_bytes": 4096})
    ident = create(d, command="seq -f %08.0f 1 50000")
    type_(d, ident, "")
    procfs.wait_until(lambda: look(d, ident)["running"] is False)
    got = look(d, ident)
    assert got["output_offset"] == 500000
    assert 65536 <= 500000 - got["oldest_offset"] <= 65536 * 5 // 4
    data, code = whole(d, ident)
    assert code == 0 and len(data) == 500000 - got["oldest_offset"]
    assert data.endswith(b"00050000\r\n")


def test_a_stream_that_is_not_read_gets_a_gap_and_slows_nobody(boxd):
    d = boxd(limits={"pty_replay_bytes": 65536})
    n = 300000 if sanitized() else 1500000
    ident = create(d, command=f"seq -f %08.0f 1 {n}; head -n 1")
    slow = output(d, ident, "?encoding=base64", rcvbuf=4096)
    type_(d, ident, "")
    procfs.wait_until(lambda: look(d, ident)["output_offset"] == 10 * n, 30)
    type_(d, ident, "\n")
    assert slow.end() == 0
    assert sum(slow.gaps) > 0 and sum(slow.gaps) + len(slow.data) == look(d, ident)["output_offset"]
    assert slow.data.startswith(b"00000001\r\n") and b"%08d\r\n" % n in slow.data


def test_a_delete_tells_the_streams_the_rest_and_the_end(shared):
    ident = create(shared, command="echo last words; cat")
    type_(shared, ident, "")
    s = output(shared, ident).until(b"last words")
    idle = create(shared)
    waiting = output(shared, idle)
    delete(shared, ident)
    assert s.end() == -1
    delete(shared, idle)
    assert waiting.end() is None and waiting.kinds == ["init", "ping"]


@pytest.mark.parametrize("turn", range(10))
def test_what_was_written_before_a_delete_is_told(shared, turn):
    ident = create(shared, command="stty -echo; echo up; head -n 1; cat")
    s = output(shared, ident)
    o = Terminal(shared, ident, observe=1)
    t = Terminal(shared, ident)
    t.read_until("up\r\n")
    t.type(b"x" * 2000 + b"\n")
    procfs.wait_until(lambda: look(shared, ident)["output_offset"] >= 2006, step=0.0001)
    delete(shared, ident)
    assert [s.end(), t.read_exit(), o.read_exit()] == [-1, -1, -1]
    want = b"up\r\n" + b"x" * 2000 + b"\r\n"
    assert [bytes(x) for x in (s.data, t.output, o.output)] == [want] * 3


@pytest.mark.parametrize("turn", range(10))
def test_the_last_bytes_before_a_delete_are_told_to_who_keeps_up(shared, turn):
    ident = create(shared, command="while :; do echo some line of output; done")
    s = output(shared, ident)
    reader = threading.Thread(target=s.end)
    reader.start()
    t = Terminal(shared, ident)
    while len(t.output) < 50000:
        t.receive()
    delete(shared, ident)
    assert t.read_exit() == -1
    reader.join(10)
    assert s.exit_code == -1 and s.gaps == [] and s.data == t.output


@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_all_are_told_of_the_same_end_when_a_flood_is_deleted(shared, mode):
    ident = create(shared, command="seq -f %08.0f 1 100000000")
    s = output(shared, ident, "?encoding=base64")
    o = Terminal(shared, ident, observe=1, gaps=True)
    t = Terminal(shared, ident, **({"pty": 0} if mode == "pipe" else {}))
    t.read_until("00000001")
    while len(t.output) < 500000:
        t.receive()
    delete(shared, ident)
    assert [s.end(), t.read_exit(), o.read_exit()] == [-1, -1, -1]
    assert s.at == o.at == t.at, "what was lost is announced, at the end too"
    assert len(s.data) + sum(s.gaps) == s.at and len(t.output) == t.at


def test_a_stream_whose_client_leaves_is_forgotten(shared):
    ident = create(shared, command="cat")
    type_(shared, ident, "")
    for how in ("close", "reset"):
        s = output(shared, ident)
        assert look(shared, ident)["viewers"] == 1
        getattr(s.conn, how)()
        procfs.wait_until(lambda: look(shared, ident)["viewers"] == 0)
    delete(shared, ident)


def test_streams_are_pinged(boxd):
    d = boxd(limits={"stream_ping_ms": 50})
    s = output(d, create(d))
    for _ in range(3):
        assert s.next(2).type == "ping"
    s.conn.close()


def test_a_stream_goes_over_a_kept_connection_to_its_end(shared, ended):
    with shared.connect() as c:
        for _ in range(3):
            s = Output(c, c.stream("GET", f"/pty/{ended}/output", {"Accept": SSE}).response, True)
            assert [e.type for e in s][-1] == "exit" and s.data == b"abcdefghij"
        assert c.request("GET", "/ping").status == 200


def test_the_token_is_asked_for(boxd):
    d = boxd(token="the-token-of-this-box")
    ident = create(d)
    d.token = None
    for method, path, body in (("GET", "/output", None), ("POST", "/input", "x"), ("POST", "/signal", "{}")):
        r = d.request(method, f"/pty/{ident}{path}", body=body)
        assert (r.status, r.json()["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("method,path", [
    ("POST", "/input"), ("POST", "/resize"), ("POST", "/signal"), ("GET", "/output")])
def test_a_page_of_somebody_else_is_kept_out(shared, ended, method, path):
    body = "{}" if method == "POST" else None
    r = shared.request(method, f"/pty/{ended}{path}", {"Origin": "http://evil.example"}, body)
    assert (r.status, r.json()["code"]) == (403, "FORBIDDEN")


def test_json_of_the_events_has_the_documented_members(shared, ended):
    with shared.connect() as c:
        s = Output(c, c.stream("GET", f"/pty/{ended}/output", {"Accept": SSE}).response, True)
        members = {e.type: set(e) - {"type", "timestamp"} for e in s}
    assert members == {"init": {"text"}, "ping": {"text"}, "stdout": {"text"}, "exit": {"exit_code"}}
