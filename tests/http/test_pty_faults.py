"""Terminals when things go wrong: clients that do not read, programs that do not, floods, the end."""

import hashlib
import os
import re
import signal
import socket
import threading
import time

import pytest

import procfs
from boxd import now, sanitized
from test_pty_http import output, type_
from wire import Closed, Late
from wsclient import Terminal, create, delete, look, opened
from wsraw import BINARY, TEXT, frame, masked

SLOW = sanitized()
LINE = 10  # bytes of one line of `seq -f %08.0f` in a terminal


def numbered(offset, n):
    """What a terminal whose command is FLOOD shows in these bytes."""
    first = offset // LINE
    text = b"".join(b"%08d\r\n" % (i + 1) for i in range(first, (offset + n) // LINE + 1))
    return text[offset - first * LINE:][:n]


FLOOD = "seq -f %08.0f 1 90000000"


def reach(d, ident, offset, deadline=20):
    procfs.wait_until(lambda: look(d, ident)["output_offset"] >= offset, deadline)


def check_memory(d, before, kib):
    """A sanitizer keeps what was freed: nothing can be said about its memory."""
    grown = d.rss_kib() - before
    assert SLOW or grown < kib, f"{grown} KiB more"


def threads(d):
    return len(os.listdir(f"/proc/{d.pid}/task"))


# ---- clients that do not read ----


def test_a_holder_that_stalls_stops_nothing_and_learns_what_it_missed(boxd):
    d = boxd(limits={"pty_stall_ms": 100, "http_out_bytes": 65536})
    ident, t = opened(d, gaps=True, rcvbuf=4096, command=FLOOD)
    o = Terminal(d, ident, observe=1, gaps=True)
    t.wait_for("connected")
    before, goal = d.rss_kib(), (2 if SLOW else 4) * 1000000

    while o.at is None or o.at < goal:
        got = o.receive()
        if got.data:
            assert got.data == numbered(got.offset, len(got.data))
    check_memory(d, before, 8192)
    o.close()
    while not t.gaps:
        got = t.receive()
        if got.data:
            assert got.data == numbered(got.offset, len(got.data))
    assert t.frames[-1] == "replay", "the frame behind a gap says where it is"
    assert t.gaps[0][1] - t.gaps[0][0] > goal // 4
    for _ in range(30):
        got = t.receive()
        assert got.data == numbered(got.offset, len(got.data))
    t.close()
    delete(d, ident)


def test_a_terminal_waits_for_the_stall_limit_and_no_longer(boxd):
    d = boxd(limits={"pty_stall_ms": 700})
    ident, t = opened(d, rcvbuf=4096, command=FLOOD)
    t.wait_for("connected")
    begin, last, paused = now(), -1, 0
    while paused < 0.4:
        at = look(d, ident)["output_offset"]
        last, begin = (last, begin) if at == last else (at, now())
        paused = now() - begin
        assert at < 30000000, "a holder that reads nothing makes its terminal wait"
        time.sleep(0.01)
    reach(d, ident, last + 500000)
    assert now() - begin < 3
    t.close()
    delete(d, ident)


def slow_down(t, pause, piece):
    """From now on every read takes a while and gives little."""
    def fill(until):
        time.sleep(pause)
        t.sock.settimeout(max(until - now(), 0.01))
        data = t.sock.recv(piece)
        if not data:
            raise Closed("closed")
        t.buf.extend(data)
    t._fill = fill


@pytest.mark.parametrize("replay", [1 << 20, 1 << 16])
@pytest.mark.parametrize("pause,piece", [(0, 1 << 16), (0.005, 1 << 16), (0.002, 10000)])
def test_a_holder_that_is_slow_but_reads_loses_nothing(boxd, pause, piece, replay):
    d = boxd(limits={"pty_stall_ms": 300, "pty_replay_bytes": replay})
    n = (20 if pause == 0 and replay > 1 << 16 and not SLOW else 4) * 1000000 // LINE
    _, t = opened(d, command=f"seq -f %08.0f 1 {n}", rcvbuf=16384 if pause else None)
    if pause:
        slow_down(t, pause, piece)
    assert t.read_exit(30) == 0
    assert t.at == n * LINE and t.gaps == []
    assert t.output[-20:] == numbered(n * LINE - 20, 20)
    assert t.output[LINE * 5000:LINE * 9000] == numbered(LINE * 5000, LINE * 4000)


def test_a_holder_that_comes_back_paces_again(boxd):
    d = boxd(limits={"pty_stall_ms": 400, "pty_replay_bytes": 262144})
    ident, t = opened(d, gaps=True, rcvbuf=16384, command=FLOOD)
    t.wait_for("connected")
    reach(d, ident, 4000000)
    while not t.gaps:
        t.receive()
    # What was in its queue when it came back was lost once; from there on it is followed.
    slow_down(t, 0.005, 16384)
    begin = t.at
    while t.at < begin + 3000000:
        t.receive()
    assert len(t.gaps) <= 2, t.gaps
    t.reset()
    delete(d, ident)


def test_a_holder_that_trickles_is_live_while_it_takes_something(boxd):
    d = boxd(limits={"pty_stall_ms": 500})
    ident, t = opened(d, command=FLOOD, rcvbuf=16384)
    t.sock.settimeout(5)
    for _ in range(25):
        time.sleep(0.1)
        t.sock.recv_into(bytearray(32768))
    assert look(d, ident)["output_offset"] < 12000000, "it was taken for one that stalls"
    t.reset()
    delete(d, ident)


def test_an_observer_that_stalls_slows_nobody(boxd):
    d = boxd()
    n = (2 if SLOW else 8) * 1000000 // LINE
    ident, t = opened(d, command=f"head -n 1; seq -f %08.0f 1 {n}")
    o = Terminal(d, ident, observe=1, gaps=True, rcvbuf=4096)
    t.wait_for("connected")
    t.type("\n")
    begin = now()
    assert t.read_exit() == 0 and now() - begin < 15
    assert t.at == n * LINE + 4 and t.gaps == []
    assert o.read_exit() == 0, "it hears of the end too"
    assert o.at == t.at and o.gaps


def test_a_delete_reaches_a_client_that_does_not_read(boxd):
    d = boxd(limits={"http_write_stall_ms": 500})
    fds = len(d.fds())
    ident, t = opened(d, gaps=True, rcvbuf=4096, command=FLOOD)
    reach(d, ident, 200000)
    pid = look(d, ident)["pid"]
    begin = now()
    delete(d, ident)
    assert now() - begin < 1
    procfs.wait_until(lambda: procfs.state(pid) is None, 3)
    procfs.wait_until(lambda: len(d.fds()) <= fds, 10)
    t.close()


def test_a_slow_reader_that_comes_back_hears_how_a_deleted_terminal_ended(boxd):
    d = boxd()
    ident, t = opened(d, gaps=True, rcvbuf=4096, command=FLOOD)
    o = Terminal(d, ident, observe=1, gaps=True, rcvbuf=4096)
    reach(d, ident, 300000)
    delete(d, ident)
    assert t.read_exit() == -1
    assert o.read_exit() == -1
    assert t.at == o.at, "both know how much there was"


# ---- programs that do not read ----


RAW = "stty raw -echo; echo up; "


def flood(t, total, piece=b"i" * 60000):
    """Types until the daemon takes no more for a while; how much went into the socket."""
    one, sent = frame(BINARY, b"\0" + piece), 0
    t.sock.settimeout(0.5)
    try:
        while sent < total:
            t.sock.sendall(one)
            sent += len(piece)
    except socket.timeout:
        pass
    return sent


@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_input_that_nobody_reads_is_bounded_and_blocks_nobody(boxd, mode):
    d = boxd(limits={"pty_input_bytes": 262144})
    query = {"pty": 0} if mode == "pipe" else None
    ident, t = opened(d, query=query, command=(RAW if mode == "pty" else "echo up; ") + "exec sleep 100")
    t.read_until("up")
    before = d.rss_kib()
    t.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    sent = flood(t, 60000000)
    assert sent < 30000000, "the client is made to wait"
    check_memory(d, before, 4096)
    begin = now()
    assert d.get("/ping").status == 200 and now() - begin < 1
    r = d.post(f"/pty/{ident}/input", b"x" * 262144)
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY")
    assert look(d, ident)["running"] is True
    # Frames behind the input wait with it; signals have a way of their own.
    assert d.post(f"/pty/{ident}/signal", {"signal": "KILL"}).status == 200
    t.wait_for("exit", 5)
    t.reset()


@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_input_that_had_to_wait_arrives_whole(boxd, mode):
    d = boxd(limits={"pty_input_bytes": 131072})
    n = 12000000
    query = {"pty": 0} if mode == "pipe" else None
    ident, t = opened(d, query=query, command=(RAW if mode == "pty" else "echo up; ") +
                      f"while [ ! -e gate ]; do sleep 0.02; done; head -c {n} | sha256sum")
    t.read_until("up")
    data = hashlib.shake_128(b"input").digest(n)
    sender = threading.Thread(target=lambda: [t.type(data[i:i + 50000]) for i in range(0, n, 50000)])
    sender.start()
    time.sleep(0.3)
    assert sender.is_alive(), "it waits for the program"
    (d.root / "gate").write_text("")
    sender.join(20)
    assert not sender.is_alive()
    assert t.read_until("-").split()[0].decode() == hashlib.sha256(data).hexdigest()
    t.close()
    delete(d, ident)


def test_a_cooked_terminal_that_is_flooded_survives(boxd):
    """The kernel drops what does not fit into a line; nothing of ours may break on it."""
    d = boxd()
    ident, t = opened(d, command="stty -echo; echo up; sleep 0.3; stty raw; while :; do head -c 1000 >/dev/null; done")
    t.read_until("up")
    flood(t, 2000000, b"line without an end " * 1000)
    assert d.get("/ping").status == 200
    assert look(d, ident)["running"] is True
    t.reset()
    delete(d, ident)


def test_a_program_that_closes_its_input_takes_none_and_goes_on(shared):
    ident, t = opened(shared, query={"pty": 0}, command="exec <&-; echo up; "
                      "while [ ! -e closed-gate ]; do sleep 0.02; done; echo on")
    t.read_until("up")
    t.type(b"x" * 300000)
    t.type(b"y")
    t.control("ping")
    t.wait_for("pong")
    (shared.root / "closed-gate").write_text("")
    assert t.read_exit() == 0 and t.output.endswith(b"on\n")


# ---- floods of other things ----


def test_a_hundred_thousand_resizes(boxd):
    d = boxd()
    ident, t = opened(d)
    t.ready()
    key = b"\x37\xfa\x21\x3d"
    count = 20000 if SLOW else 100000
    batch = []
    for i in range(count):
        text = b'{"type":"resize","cols":%d,"rows":%d}' % (i % 200 + 1, i % 100 + 1)
        batch.append(bytes([0x81, 0x80 | len(text)]) + key + masked(text))
    before, begin = d.rss_kib(), now()
    sender = threading.Thread(target=lambda: t.send(b"".join(batch)))
    sender.start()
    while sender.is_alive():
        b = now()
        assert d.get("/ping").status == 200 and now() - b < 1
    t.control("resize", cols=97, rows=31)
    t.control("ping")
    t.wait_for("pong", 20)
    assert now() - begin < 20
    assert [look(d, ident)[k] for k in ("cols", "rows")] == [97, 31]
    assert t.ask("stty size") == "31 97"
    check_memory(d, before, 6144)
    t.leave()


def test_questions_of_a_client_that_reads_no_answers_are_bounded(boxd):
    d = boxd(limits={"http_write_stall_ms": 1000})
    ident, t = opened(d, command="cat", rcvbuf=4096)
    t.wait_for("connected")
    before = d.rss_kib()
    one = (frame(TEXT, b'{"type":"ping"}') + frame(TEXT, b'{"type":"?"}')) * 500
    t.sock.settimeout(1)
    try:
        for _ in range(2000):
            t.sock.sendall(one)
    except (socket.timeout, ConnectionError):
        pass
    check_memory(d, before, 4096)
    procfs.wait_until(lambda: look(d, ident)["viewers"] == 0, 10)
    assert look(d, ident)["running"] is True
    t.close()


def test_five_hundred_terminals_at_once(boxd):
    d = boxd()
    count = 100 if SLOW else 500
    fds, tasks = len(d.fds()), threads(d)
    idents = [create(d, shell="sh", command="read x; echo $x; read y") for _ in range(count)]
    for i, ident in enumerate(idents):
        type_(d, ident, f"number {i}\n")
    assert len(d.get("/pty").json()) == count
    for i, ident in enumerate(idents):
        s = output(d, ident).until(b"number %d\r\nnumber %d\r\n" % (i, i))
        s.conn.close()
    begin = now()
    assert d.get("/ping").status == 200 and now() - begin < 0.5
    for ident in idents:
        delete(d, ident)
    procfs.wait_until(lambda: not d.children(), 10)
    procfs.wait_until(lambda: len(d.fds()) <= fds + 2, 10)
    assert d.get("/pty").json() == [] and threads(d) <= tasks + 3


def test_two_hundred_terminals_leave_nothing_behind(boxd):
    d = boxd()
    for warm in range(2):
        ident, t = opened(d, command="echo x")
        t.read_exit()
        delete(d, ident)
    procfs.wait_until(lambda: not d.children())
    fds, tasks, rss = sorted(d.fds().values()), threads(d), d.rss_kib()
    for i in range(200):
        mode = {"pty": 0} if i % 2 else None
        ident, t = opened(d, query=mode, shell="sh", command="echo begun; read x; echo $x")
        t.read_until("begun")
        if i % 5 == 0:
            t.type("end\n")
            assert t.read_exit() == 0
        elif i % 5 == 1:
            t.reset()
        elif i % 5 == 2:
            o = Terminal(d, ident, observe=1)
            new = Terminal(d, ident, takeover=1)
            t.expect_taken_over()
            o.close()
            new.close()
        elif i % 5 == 3:
            t.close()
            output(d, ident).conn.close()
        delete(d, ident)
        t.close()
    procfs.wait_until(lambda: not d.children(), 10)
    procfs.wait_until(lambda: len(d.fds()) <= len(fds) + 1, 10)
    assert threads(d) <= max(tasks, 4)
    check_memory(d, rss, 2048)


# ---- races ----


def test_delete_and_connect_and_takeover_at_once(boxd):
    d = boxd()
    for turn in range(15):
        ident, t = opened(d, command="yes")
        results = []

        def act(what):
            try:
                if what == "delete":
                    results.append(d.request("DELETE", f"/pty/{ident}").status)
                elif what == "output":
                    output(d, ident).end()
                else:
                    Terminal(d, ident, gaps=True, **{what: 1}).wait_for_close()
            except (Closed, AssertionError, ConnectionError) as e:
                assert not isinstance(e, Late), e
        workers = [threading.Thread(target=act, args=(w,)) for w in
                   ("takeover", "delete", "observe", "takeover", "delete", "output")]
        for w in workers:
            w.start()
        for w in workers:
            w.join(20)
            assert not w.is_alive(), f"turn {turn}: somebody waits for ever"
        assert sorted(results) == [200, 404]
        t.close()
    procfs.wait_until(lambda: not d.children(), 5)


def test_the_shell_ends_while_its_client_types(boxd):
    d = boxd()
    ident = create(d, command="head -c 1 >/dev/null")
    for _ in range(20):
        t = Terminal(d, ident, since=1 << 60)
        for _ in range(20):
            try:
                t.type("x\n")
                t.control("resize", cols=5, rows=5)
                t.control("signal", signal="SIGWINCH")
                t.control("eof")
            except ConnectionError:
                break
        assert t.wait_for("exit").members["exit_code"] == 0
        assert t.wait_for_close() == (1000, "process exited")
        t.close()
        procfs.wait_until(lambda: look(d, ident)["viewers"] == 0)


def test_a_holder_that_vanishes_in_a_flood_leaves_the_shell_running(boxd):
    d = boxd()
    ident = create(d, command=FLOOD)
    for how in ("reset", "close"):
        t = Terminal(d, ident, since=1 << 60)
        t.wait_for("stdout")
        at = t.at
        getattr(t, how)()
        procfs.wait_until(lambda: look(d, ident)["viewers"] == 0)
        reach(d, ident, at + 3000000)
    delete(d, ident)


def test_descriptors_run_out(boxd):
    """What cannot be opened is an error that is told, and the daemon goes on."""
    d = boxd(prefix=["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"], errors_allowed=[r"pty|spawn|accept|net"])
    made, refusals = [], 0
    for _ in range(60):
        r = d.post("/pty", {"command": "cat"})
        assert r.status in (201, 503), r
        if r.status == 201:
            ident = r.json()["session_id"]
            made.append(ident)
            r = d.post(f"/pty/{ident}/input", "x")
            assert r.status in (200, 500, 503), r
            refusals += r.status != 200
    assert refusals > 0
    for ident in made:
        delete(d, ident)
    procfs.wait_until(lambda: not d.children())
    ident, t = opened(d, command="echo fine")
    assert t.read_exit() == 0


# ---- the end of the daemon ----


def test_a_shutdown_tells_all_terminals(boxd):
    d = boxd(limits={"proc_grace_ms": 1000})
    ident, t = opened(d)
    t.ready()
    o = Terminal(d, ident, observe=1)
    deaf, u = opened(d, command="trap '' HUP TERM; echo up; while :; do sleep 100; done")
    u.read_until("up")
    piped, v = opened(d, query={"pty": 0}, command="cat")
    v.wait_for("connected")
    s = output(d, ident)
    create(d)
    pids = [look(d, i)["pid"] for i in (ident, deaf, piped)]
    begin = now()
    d.signal(signal.SIGTERM)
    assert [x.read_exit(5) for x in (t, o, v, u)] == [-1] * 4
    assert s.end() == -1
    assert d.wait(5) == 0 and now() - begin < 4
    assert not any(procfs.alive(p) for p in pids)


def test_a_shutdown_does_not_wait_for_a_client_that_reads_nothing(boxd):
    d = boxd(limits={"proc_grace_ms": 300, "shutdown_flush_ms": 300})
    ident, t = opened(d, command=FLOOD, rcvbuf=4096)
    reach(d, ident, 500000)
    begin = now()
    d.signal(signal.SIGTERM)
    assert d.wait(5) == 0 and now() - begin < 3
    t.close()


def test_nothing_new_begins_while_it_shuts_down(boxd):
    d = boxd(limits={"proc_grace_ms": 1500})
    idle = create(d)
    ident, t = opened(d, command="trap '' HUP; echo up; while :; do sleep 100; done")
    t.read_until("up")
    with d.connect() as a, d.connect() as b:
        assert a.request("GET", "/ping").status == b.request("GET", "/ping").status == 200
        d.signal(signal.SIGTERM)
        d.wait_log("stopping")
        answers = []
        for c, path in ((a, "/pty"), (b, f"/pty/{idle}/input")):
            try:
                answers.append(c.request("POST", path, body="").status)
            except Closed:
                answers.append(None)
        assert all(x in (None, 503) for x in answers), answers
    assert t.read_exit(5) == -1
    assert d.wait(5) == 0


# ---- the log ----


def test_no_input_and_no_output_reaches_the_log(boxd):
    d = boxd("--log-level", "debug")
    ident, t = opened(d, command="echo secret''-of-output; head -n 1", label="secret-label", envs={"A": "secret-env"})
    t.type("secret-of-input\n")
    assert t.read_exit() == 0
    r = d.post(f"/pty/{ident}/input", "secret-of-http\n")
    assert r.status == 200
    text = "\n".join(d.log)
    assert not re.search("secret-(of|env|label)", text), text
