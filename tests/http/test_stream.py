"""Event streams: framing, resuming, pacing, gaps and clients that leave (contract 2, DESIGN 3.2, 3.3)."""

import json
import time

import pytest

import procfs
from boxd import sanitized
from wire import Closed, text_bytes

SSE = "text/event-stream"
# 1000 lines of 100 bytes, numbered from 1: `lines N` writes N of them.
LINES = "lines() { seq -f '%099.0f' 1 $1; }; "


def numbered(texts):
    return [int(t) for t in texts]


# ---- framing ----


@pytest.mark.parametrize("accept,standard", [
    (None, False), ("*/*", False), ("application/json", False), (SSE, True), ("text/event-stream, */*", True),
    ("application/json, Text/Event-Stream;q=0.9", True),
])
def test_framing_follows_accept(shared, accept, standard):
    fields = [("Accept", accept)] if accept else []
    with shared.connect() as c:
        c.send(c.head("POST", "/command", fields, json.dumps({"command": "echo framed"})))
        run = c.stream_response(standard).collect()
        assert run.stdout == ["framed"]


def test_both_forms_carry_the_same_events(shared):
    command = "echo a; echo b >&2; printf c; exit 5"
    bare, standard = shared.run(command), shared.run(command, accept=SSE)
    strip = [{k: v for k, v in e.items() if k not in ("timestamp", "text")} for e in bare.events]
    assert strip == [{k: v for k, v in e.items() if k not in ("timestamp", "text")} for e in standard.events]
    assert bare.stdout == standard.stdout and bare.stderr == standard.stderr


def test_every_event_has_an_integer_timestamp_near_now(shared):
    run = shared.run("echo a; sleep 0.1; echo b")
    stamps = [e["timestamp"] for e in run.events]
    assert all(type(t) is int and abs(t / 1000 - time.time()) < 20 for t in stamps)
    a, b = (e["timestamp"] for e in run.events if e.type == "stdout")
    assert b - a >= 80


def test_ids_grow_and_count_bytes(shared):
    run = shared.run("echo one; echo two; printf x", accept=SSE)
    ids = [e.id for e in run.events if e.type in ("stdout", "stderr")]
    assert ids == [4, 8, 9]


def test_the_tail_of_one_stream_has_an_id_of_its_own_behind_the_line_of_the_other(shared):
    run = shared.run("printf tail; sleep 0.1; echo line >&2", accept=SSE)
    assert [(e.type, e.text, e.id) for e in run.events if e.type in ("stdout", "stderr")] == [
        ("stderr", "line", 9), ("stdout", "tail", 10)]
    assert [e.text for e in shared.events(run.id, since=9) if e.type == "stdout"] == ["tail"]
    assert [e.text for e in shared.events(run.id, since=10) if e.type == "stdout"] == []


def test_init_comes_first_and_a_ping_follows_at_once(shared):
    s = shared.start("sleep 5")
    begin = time.monotonic()
    assert [s.next().type, s.next().type] == ["init", "ping"]
    assert time.monotonic() - begin < 2
    s.conn.close()


def test_pings_keep_the_stream_alive(boxd):
    d = boxd(limits={"stream_ping_ms": 50})
    run = d.run("sleep 1; echo x; sleep 1")
    pings = [e for e in run.events if e.type == "ping"]
    assert 15 <= len(pings) <= 60
    assert run.events[-1].type == "execution_complete"


def test_output_arrives_when_it_is_written(shared):
    s = shared.start("echo now; sleep 100")
    begin = time.monotonic()
    assert s.wait_for("stdout").text == "now"
    assert time.monotonic() - begin < 2
    s.conn.close()


def test_the_end_comes_without_a_delay(shared):
    shared.run("true")
    times = []
    for _ in range(5):
        begin = time.monotonic()
        shared.run("echo quick")
        times.append(time.monotonic() - begin)
    assert min(times) < 0.25, f"a command takes {min(times):.3f} s: something waits"


# ---- text ----


def test_line_separators_of_some_clients_are_escaped(shared):
    text = "a\u0085b\u2028c\u2029d"
    run = shared.run(argv=["printf", "%s\\n", text])
    assert run.stdout == [text]
    raw = next(e.raw for e in run.events if e.type == "stdout")
    for c in "\u0085\u2028\u2029":
        assert c.encode() not in raw and b"\\u%04x" % ord(c) in raw.lower()


def test_control_bytes_are_escaped_and_arrive(shared):
    codes = [c for c in range(1, 0x80) if c not in (10, 13)]
    run = shared.run("printf '" + "".join(f"\\{c:03o}" for c in codes) + "\\n'")
    assert run.stdout == ["".join(map(chr, codes))]


def test_NUL_bytes_arrive(shared):
    assert shared.run("printf 'a\\000b\\n'").stdout == ["a\0b"]


@pytest.mark.parametrize("octal,want", [
    ("\\377", "\ufffd"), ("a\\377b", "a\ufffdb"), ("\\303", "\ufffd"), ("\\303\\050", "\ufffd("),
    ("\\300\\257", "\ufffd\ufffd"), ("\\355\\240\\200", "\ufffd\ufffd\ufffd"), ("\\364\\220\\200\\200", "\ufffd" * 4),
    ("\\303\\244\\342\\202\\254\\360\\237\\230\\200", "ä€😀"), ("\\200\\277", "\ufffd\ufffd"),
], ids=repr)
def test_invalid_utf8_becomes_replacement_characters(shared, octal, want):
    assert shared.run(f"printf '{octal}\\n'").stdout == [want]


def test_a_character_that_arrives_in_two_reads_is_whole(shared):
    assert shared.run("printf 'a\\342\\202'; sleep 0.1; printf '\\254b\\n'").stdout == ["a€b"]


def test_a_line_of_256_KiB_is_one_event(shared):
    run = shared.run("head -c 262144 /dev/zero | tr '\\0' a; echo")
    assert run.stdout == ["a" * 262144]


def test_a_line_of_20_MB_is_split_without_losing_a_byte(boxd):
    d = boxd(limits={"stream_line_bytes": 65536})
    run = d.run("head -c 20000000 /dev/zero | tr '\\0' b; echo; echo after")
    assert run.stdout[-1] == "after"
    pieces = run.stdout[:-1]
    assert max(map(len, pieces)) <= 65536 and len(pieces) < 400
    assert sum(map(len, pieces)) == 20000000 and set("".join(pieces)) == {"b"}
    assert "\n" not in pieces, "the end of a split line is no blank line"


def test_a_split_never_cuts_a_character(boxd):
    d = boxd(limits={"stream_line_bytes": 1024})
    for shift in range(4):
        line = "x" * shift + "😀€äa" * 2000
        run = d.run(argv=["printf", "%s\\n", line])
        assert "".join(run.stdout) == line
        assert all(len(t.encode()) <= 1024 for t in run.stdout)
        assert all("\ufffd" not in t for t in run.stdout)


# ---- resuming ----


def replay(d, ident, **kw):
    s = d.events(ident, **kw)
    events = list(s)
    s.conn.close()
    return events


def output(events):
    return [(e.type, e.text) for e in events if e.type in ("stdout", "stderr")]


def test_a_finished_command_can_be_replayed(shared):
    run = shared.run("echo a; echo b >&2; printf c; exit 3", accept=SSE)
    events = replay(shared, run.id, since=0)
    kinds = [e.type for e in events]
    assert kinds[0] == "init" and events[0].text == run.id and kinds[-1] == "error"
    assert sorted(output(events)) == sorted(output(run.events))
    assert events[-1]["error"] == run.error
    assert [e.text for e in replay(shared, run.id, since=0, standard=False) if e.type == "stdout"] == ["a", "c"]


def test_resuming_at_any_event_loses_and_repeats_nothing(shared):
    run = shared.run("echo one; echo two; echo; echo three >&2; echo four; printf 'five\\r\\nsix'", accept=SSE)
    whole = [e for e in run.events if e.type in ("stdout", "stderr")]
    assert len(whole) == 7
    for i, e in enumerate(whole):
        for how in ({"last_id": e.id}, {"since": e.id}):
            rest = output(replay(shared, run.id, **how))
            want = [(x.type, x.text) for x in whole[i + 1:]]
            assert sorted(rest) == sorted(want), (i, how)


def test_resuming_while_lines_of_both_streams_are_open_cuts_no_line(shared):
    command = ("printf 'out-'; sleep 0.05; printf 'err-' >&2; sleep 0.05; printf 'a\\nout-'; sleep 0.05; "
               "printf 'b\\nerr-' >&2; sleep 0.05; printf 'c\\n'; sleep 0.05; printf 'd\\n' >&2")
    run = shared.run(command, accept=SSE)
    assert (run.stdout, run.stderr) == (["out-a", "out-c"], ["err-b", "err-d"])
    whole = [e for e in run.events if e.type in ("stdout", "stderr")]
    for i, e in enumerate(whole):
        rest = output(replay(shared, run.id, last_id=e.id))
        assert rest == [(x.type, x.text) for x in whole[i + 1:]], i


def test_resuming_many_times_while_it_runs_sees_every_line_once(shared):
    ident = shared.background(LINES + "for i in 1 2 3 4 5 6 7 8; do seq $((i*100-99)) $((i*100)); sleep 0.05; done")
    seen, last, rounds, over = [], 0, 0, False
    while not over:
        s = shared.events(ident, last_id=last)
        budget = 37
        for e in s:
            if e.type == "stdout":
                seen.append(int(e.text))
                last = e.id
                budget -= 1
                if budget == 0:
                    break
            elif e.type in ("execution_complete", "error"):
                over = True
        s.conn.reset()
        rounds += 1
    assert seen == list(range(1, 801)) and rounds > 5


def test_last_event_id_wins_over_nothing_and_both_spellings_agree(shared):
    ident = shared.background("seq 1 10")
    shared.finished(ident)
    events = [e for e in replay(shared, ident, since=0) if e.type == "stdout"]
    assert [e.text for e in replay(shared, ident, since=events[4].id) if e.type == "stdout"] == [
        "6", "7", "8", "9", "10"]
    assert len(replay(shared, ident, since=0)) == len(replay(shared, ident))


def test_a_cursor_beyond_the_end_gives_the_end(shared):
    run = shared.run("echo x")
    assert output(replay(shared, run.id, since=10 ** 9)) == []


@pytest.mark.parametrize("target,fields", [
    ("?since=-1", ()), ("", {"Last-Event-ID": "x"}), ("", {"Last-Event-ID": "-1"}),
    ("?since=0", {"Last-Event-ID": "1.5"}),
], ids=str)
def test_a_bad_offset_is_refused(shared, target, fields):
    run = shared.run("true")
    r = shared.get(f"/command/{run.id}/events{target}", fields)
    assert (r.status, r.json()["code"]) == (400, "INVALID_QUERY"), r


def test_many_observers_see_the_same(shared):
    s = shared.start("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done; exit 2")
    ident = s.next().text
    observers = [shared.events(ident, since=0) for _ in range(30)]
    assert list(s)[-1].type == "error"
    for o in observers:
        run = o.collect()
        o.conn.close()
        assert run.stdout == ["1", "2", "3", "4", "5"] and run.exit_code == 2
    s.conn.close()


def test_an_observer_who_leaves_disturbs_nobody(shared):
    s = shared.start("for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done")
    ident = s.next().text
    for i in range(10):
        o = shared.events(ident)
        o.next()
        o.conn.reset() if i % 2 else o.conn.close()
    assert [e.text for e in s if e.type == "stdout"] == ["1", "2", "3", "4", "5", "6"]
    s.conn.close()


# ---- pacing and gaps ----

FLOOD = "head -c %d /dev/zero | tr '\\0' f | fold -w 7999; echo; echo end"




def test_a_slow_owner_makes_the_command_wait_and_gets_every_byte(boxd):
    d = boxd(env={"ASAN_OPTIONS": "quarantine_size_mb=1"})
    size = 32_000_000
    s = d.start(FLOOD % size, rcvbuf=16384)
    ident = s.next().text
    before = d.rss_kib()
    held = d.settled(ident)
    assert held < size / 2, "nobody reads and yet the command did not wait"
    assert d.status(ident)["running"] is True
    assert d.rss_kib() - before < (16000 if sanitized() else 4000)
    begin = time.monotonic()
    assert d.get("/ping").status == 200 and time.monotonic() - begin < 1
    total = 0
    for e in s:
        assert e.type != "gap", "an owner never loses a byte"
        if e.type == "stdout" and e.text not in ("end", "\n"):
            total += len(e.text)
    assert e.type == "execution_complete" and total == size
    s.conn.close()


def test_a_slow_owner_delays_no_other_command(boxd):
    d = boxd()
    slow = [d.start("yes", rcvbuf=4096) for _ in range(4)]
    for s in slow:
        s.next()
    for _ in range(10):
        begin = time.monotonic()
        assert d.run("echo fast").stdout == ["fast"]
        assert time.monotonic() - begin < 3
    for s in slow:
        s.conn.close()


SMALL_LOG = {"hub_log_bytes": 65536, "hub_memory_bytes": 65536, "hub_segment_bytes": 4096,
             "hub_owner_window_bytes": 16384}


def account(events):
    """Bytes that the events of a run stand for: seen, and announced as dropped."""
    texts = [e.text for e in events if e.type in ("stdout", "stderr")]
    return text_bytes(texts), sum(e["dropped_bytes"] for e in events if e.type == "gap")


def test_a_late_observer_is_told_exactly_what_it_missed(boxd):
    d = boxd(limits=SMALL_LOG)
    ident = d.background(LINES + "lines 20000")
    assert d.finished(ident, drained=True)["stdout_bytes"] == 2_000_000
    events = replay(d, ident, since=0)
    gaps = [e for e in events if e.type == "gap"]
    assert len(gaps) == 1 and all(type(g["dropped_bytes"]) is int for g in gaps)
    seen, dropped = account(events)
    assert seen + dropped == 2_000_000
    assert 32768 <= seen <= 3 * 65536
    assert numbered(e.text for e in events if e.type == "stdout")[-1] == 20000
    assert [e.type for e in events if e.type in ("gap", "stdout")][0] == "gap"


def test_a_gap_is_announced_to_a_live_observer_and_the_owner_loses_nothing(boxd):
    d = boxd(limits=dict(SMALL_LOG, http_write_stall_ms=60000))
    s = d.start("read x </dev/null; sleep 0.3; " + LINES + "lines 100000")
    ident = s.next().text
    o = d.events(ident, since=0, rcvbuf=4096)
    assert o.next().type == "init"
    assert numbered(e.text for e in s if e.type == "stdout") == list(range(1, 100001))
    s.conn.close()
    events = list(o)
    o.conn.close()
    seen, dropped = account(events)
    assert dropped > 0 and seen + dropped == 10_000_000
    assert events[-1].type == "execution_complete"
    assert [e.text for e in events if e.type == "stdout"][-1] == "%099d" % 100000


def test_an_owner_loses_nothing_however_the_limits_are_set(boxd):
    d = boxd(limits={"hub_log_bytes": 65536, "hub_memory_bytes": 65536, "hub_owner_window_bytes": 1 << 20})
    s = d.start(LINES + "lines 30000", rcvbuf=8192)
    d.settled(s.next().text)
    assert numbered(e.text for e in s if e.type == "stdout") == list(range(1, 30001))
    s.conn.close()


def test_resuming_into_a_gap_counts_from_the_cursor(boxd):
    d = boxd(limits=SMALL_LOG)
    ident = d.background(LINES + "lines 5000")
    d.finished(ident, drained=True)
    events = replay(d, ident, since=100_000)
    seen, dropped = account(events)
    assert 100_000 + seen + dropped == 500_000


# ---- clients that stall or leave ----


def test_an_owner_that_stalls_is_dropped_and_the_command_goes_on(boxd):
    d = boxd(limits={"http_write_stall_ms": 400, "hub_log_bytes": 65536 * 4})
    s = d.start(LINES + "lines 200000; exit 6", rcvbuf=4096)
    ident = s.next().text
    begin = time.monotonic()
    status = d.finished(ident, drained=True)
    assert time.monotonic() - begin > 0.3
    assert (status["exit_code"], status["stdout_bytes"]) == (6, 20_000_000)
    with pytest.raises(Closed):
        list(s)
    s.conn.close()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_vanishes_leaves_the_command_running(boxd, leave):
    d = boxd()
    s = d.start("echo first; sleep 0.3; echo second; exit 3")
    ident = s.next().text
    getattr(s.conn, leave)()
    assert d.get("/ping").status == 200
    status = d.finished(ident)
    assert status["exit_code"] == 3 and status["stdout_bytes"] == len("first\nsecond\n")
    assert [e.text for e in replay(d, ident, since=0) if e.type == "stdout"] == ["first", "second"]


def test_a_client_may_vanish_before_it_reads_anything(boxd):
    d = boxd()
    for _ in range(20):
        with d.connect() as c:
            c.send(c.head("POST", "/command", body='{"command":"sleep 0.05; exit 4"}'))
            c.reset()
    assert d.run("sleep 0.1; true").ok
    procfs.wait_until(lambda: not any(row["running"] for row in d.get("/command").json()))
    assert {row["exit_code"] for row in d.get("/command").json()} <= {4, 0}


def test_on_disconnect_continue_is_the_default_spelled_out(boxd):
    d = boxd()
    s = d.start("sleep 0.2; exit 5", on_disconnect="continue")
    ident = s.next().text
    s.conn.close()
    assert d.finished(ident)["exit_code"] == 5


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_on_disconnect_kill_ends_the_command(boxd, leave):
    d = boxd(limits={"proc_grace_ms": 300})
    s = d.start("trap '' TERM; sleep 300 & while :; do sleep 0.1; done", on_disconnect="kill")
    ident = s.next().text
    s.next()
    getattr(s.conn, leave)()
    status = d.finished(ident, 10)
    assert status["exit_code"] == -1 and status["signal"]
    procfs.wait_until(lambda: d.children() == [])


def test_on_disconnect_kill_does_not_fire_when_the_reply_was_read(boxd):
    d = boxd()
    run = d.run("echo whole; exit 2", on_disconnect="kill")
    assert d.status(run.id)["exit_code"] == 2


def test_a_half_close_is_no_disconnect(boxd):
    d = boxd()
    s = d.start("sleep 0.3; echo still here", on_disconnect="kill")
    s.conn.half_close()
    assert [e.text for e in s if e.type == "stdout"] == ["still here"]
    s.conn.close()


# ---- descendants that hold the pipe ----


def test_a_grandchild_that_holds_the_pipe_cannot_hang_the_stream(boxd):
    d = boxd()
    begin = time.monotonic()
    run = d.run("sleep 30 & echo pid $!; exit 3")
    assert time.monotonic() - begin < 5
    assert run.exit_code == 3
    pid = int(run.stdout[0].split()[1])
    assert procfs.alive(pid), "a command that ended well takes its descendants with it"


def test_what_descendants_wrote_before_the_exit_is_in_the_stream(boxd):
    run = boxd().run("(echo from below; sleep 30) & sleep 0.2; echo leader")
    assert sorted(run.stdout) == ["from below", "leader"]


def test_what_descendants_write_later_is_in_the_log(boxd):
    d = boxd()
    run = d.run("(sleep 0.5; echo late) & echo early")
    assert run.stdout == ["early"]
    procfs.wait_until(lambda: b"late" in d.logs(run.id)[0])
    assert d.logs(run.id)[0] == b"early\nlate\n"


def test_the_log_of_a_foreground_command_has_both_streams(shared):
    run = shared.run("echo out; sleep 0.05; echo err >&2; sleep 0.05; printf tail")
    assert shared.logs(run.id) == (b"out\nerr\ntail", 12, 0)


def test_a_client_that_closes_in_silence_is_noticed_at_once(boxd):
    """Its FIN alone may be a half-close: only a write tells, and the next ping is far away."""
    d = boxd(limits={"stream_ping_ms": 25000, "proc_grace_ms": 100})
    s = d.start("sleep 60", on_disconnect="kill")
    ident = s.next().text
    assert s.next().type == "ping"
    begin = time.monotonic()
    s.conn.close()
    assert d.finished(ident)["interrupted"] is True
    assert time.monotonic() - begin < 5


def test_a_client_that_half_closes_still_gets_its_stream(boxd):
    d = boxd(limits={"stream_ping_ms": 25000})
    s = d.start("sleep 0.3; echo late", on_disconnect="kill")
    s.next()
    s.conn.half_close()
    assert [e.type for e in s if e.type != "ping"] == ["stdout", "execution_complete"]
    s.conn.close()
