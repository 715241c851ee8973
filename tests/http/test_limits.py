"""
Every limit that shows from outside, at the limit and one past it (include/boxd/limits.h). Those of
files and searches are in test_limits_files.py.
"""

import json
import re
import time
from pathlib import Path

import pytest

import procfs
from boxd import ROOT
from wire import Closed, Late

# Limits without a test here, and why.
ELSEWHERE = {
    "HTTP_FD_RESERVE": "test_faults: out of descriptors",
    "HTTP_HEAD_MS": "test_http_core: too slow",
    "HTTP_BODY_MS": "test_http_core: too slow",
    "HTTP_IDLE_MS": "test_http_core: idle connections",
    "HTTP_WRITE_STALL_MS": "test_stream: an owner that stalls",
    "HTTP_ACCEPT_PAUSE_MS": "test_faults: out of descriptors",
    "HTTP_LINGER_MS": "test_http_core: the 413 reaches a client that is still sending",
    "FS_SLICE_MS": "fairness: test_files_faults, pings while the disk is busy",
    "FS_WALK_BYTES": "memory: test_files_search and test_files_grep, slow readers",
    "HTTP_OUT_BYTES": "memory: test_stream, a slow owner",
    "HUB_SEGMENT_BYTES": "internal: unit tests of outhub",
    "HUB_MEMORY_BYTES": "memory: test_stream, a slow owner",
    "PROC_PIPE_BYTES": "best effort: unit tests of proc",
    "PROC_READ_BYTES": "internal: unit tests of proc",
    "SHUTDOWN_FLUSH_MS": "test_faults: a client that does not read",
    "WORK_THREADS": "internal: unit tests of work",
    "WORK_QUEUE": "internal: unit tests of work",
}


def test_every_limit_is_tested_somewhere():
    table = (ROOT / "include" / "boxd" / "limits.h").read_text()
    names = re.findall(r"\bLIMIT\((\w+), \d", table)
    here = "".join(p.read_text() for p in Path(__file__).parent.glob("test_limits*.py"))
    assert len(names) > 40
    assert [n for n in names if n not in ELSEWHERE and n.lower() not in here] == []
    assert [n for n in ELSEWHERE if n not in names] == []


# ---- http ----


def head_of(c, n):
    """A request for /ping whose head has exactly n bytes."""
    empty = c.head("GET", "/ping", {"A": ""})
    raw = c.head("GET", "/ping", {"A": "x" * (n - len(empty))})
    assert len(raw) == n
    return raw


@pytest.mark.parametrize("limit", [1024, 4000])
def test_http_head_bytes(boxd, limit):
    d = boxd(limits={"http_head_bytes": limit})
    with d.connect() as c:
        c.send(head_of(c, limit))
        assert c.response().status == 200
        c.send(head_of(c, limit + 1))
        assert c.response().status == 431


def test_http_target_bytes(boxd):
    d = boxd(limits={"http_target_bytes": 256})
    with d.connect() as c:
        assert c.request("GET", "/ping?" + "x" * 250).status == 200
        assert c.request("GET", "/ping?" + "x" * 251).status == 414


def test_http_fields(boxd):
    d = boxd(limits={"http_fields": 16})
    with d.connect() as c:
        assert c.request("GET", "/ping", [(f"A{i}", "x") for i in range(15)]).status == 200
        assert c.request("GET", "/ping", [(f"A{i}", "x") for i in range(16)]).status == 431


def test_http_body_bytes(boxd):
    d = boxd(limits={"http_body_bytes": 2000})
    body = json.dumps({"command": "echo fits"})
    with d.connect() as c:
        assert c.stream("POST", "/command", body=body.ljust(2000)).collect().stdout == ["fits"]
        assert c.request("POST", "/command", body=body.ljust(2001)).status == 413
    for n, status in ((2000, 200), (2001, 413)):
        with d.connect() as c:
            piece = body.ljust(n).encode()
            c.send(b"POST /command HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                   b"3e8\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (piece[:1000], n - 1000, piece[1000:]))
            assert c.response_head().status == status


def test_http_trailer_bytes(boxd):
    d = boxd(limits={"http_trailer_bytes": 256})
    for n, status in ((200, 400), (300, 431)):
        with d.connect() as c:
            c.send(b"POST /command HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                   b"2\r\n{}\r\n0\r\nA: %s\r\n\r\n" % (b"x" * n))
            assert c.response().status == status


def test_http_connections(boxd):
    d = boxd(limits={"http_connections": 16})
    inside = [d.connect() for _ in range(16)]
    for c in inside:
        assert c.request("GET", "/ping").status == 200
    extra = d.connect()
    extra.send(extra.head("GET", "/ping"))
    try:
        assert extra.response(deadline=0.5).status == 503
    except (Late, Closed) as e:
        waits = isinstance(e, Late)
        inside.pop().close()
        if waits:
            assert extra.response().status == 200
    for c in inside:
        assert c.request("GET", "/ping").status == 200
        c.close()
    extra.close()
    procfs.wait_until(lambda: reachable(d))


def reachable(d):
    try:
        return d.get("/ping").status == 200
    except (Closed, Late, OSError):
        return False


# ---- json ----


def test_json_depth(boxd):
    d = boxd(limits={"json_depth": 8})
    for depth, status in ((8, 200), (9, 400)):
        body = '{"command":"true","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
        with d.connect() as c:
            c.send(c.head("POST", "/command", body=body))
            assert c.response_head().status == status, depth


def test_json_values(boxd):
    d = boxd(limits={"json_values": 100})
    # The object, the command and the array are three.
    for n, status in ((97, 200), (98, 400)):
        body = json.dumps({"command": "true", "x": [0] * n})
        with d.connect() as c:
            c.send(c.head("POST", "/command", body=body))
            assert c.response_head().status == status, n


# ---- stream ----


def test_stream_line_bytes(boxd):
    d = boxd(limits={"stream_line_bytes": 1024})
    for n, pieces in ((1023, [1023]), (1024, [1024]), (1025, [1024, 1]), (2048, [1024, 1024]),
                      (2049, [1024, 1024, 1])):
        run = d.run(f"head -c {n} /dev/zero | tr '\\0' x; echo; echo end")
        assert [len(t) for t in run.stdout] == [*pieces, 3], n


def test_stream_ping_ms(boxd):
    d = boxd(limits={"stream_ping_ms": 100})
    pings = [e for e in d.run("sleep 1.05").events if e.type == "ping"]
    assert 6 <= len(pings) <= 12


def test_stream_count(boxd):
    d = boxd(limits={"stream_count": 16})
    streams = [d.start("sleep 100") for _ in range(15)]
    first = streams[0].next().text
    streams.append(d.events(first, since=0))
    d.refuse(429, "TOO_MANY", command="true")
    r = d.get(f"/command/{first}/events")
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY")
    assert d.get("/ping").status == 200 and d.get(f"/command/{first}/logs").status == 200
    streams.pop().conn.close()
    procfs.wait_until(lambda: starts(d))
    for s in streams:
        s.conn.close()


def starts(d):
    """Is there room for a stream again?"""
    with d.connect() as c:
        c.send(c.head("POST", "/command", body='{"command":"true"}'))
        return c.response_head().status == 200


def test_a_refused_stream_starts_no_command(boxd):
    d = boxd(limits={"stream_count": 16})
    streams = [d.start("sleep 100") for _ in range(16)]
    mark = d.dir / "mark"
    d.refuse(429, "TOO_MANY", command=f"touch {mark}")
    assert len(d.children()) == 16 and not mark.exists()
    for s in streams:
        s.conn.close()


# ---- output ----


def test_hub_log_bytes(boxd):
    d = boxd(limits={"hub_log_bytes": 1_000_000, "hub_memory_bytes": 65536, "hub_segment_bytes": 4096})
    ident = d.background("head -c 900000 /dev/zero")
    d.finished(ident, drained=True)
    body, cursor, gap = d.logs(ident)
    while cursor < 900_000:
        more, cursor, lost = d.logs(ident, cursor)
        body, gap = body + more, gap + lost
    assert (len(body), gap) == (900_000, 0)
    ident = d.background("head -c 3000000 /dev/zero")
    d.finished(ident, drained=True)
    _, _, gap = d.logs(ident)
    assert 1_900_000 <= gap <= 2_200_000


def test_hub_owner_window_bytes(boxd):
    for window in (65536, 1 << 20):
        d = boxd(limits={"hub_owner_window_bytes": window, "http_out_bytes": 16384, "proc_pipe_bytes": 4096,
                         "hub_log_bytes": 1 << 22})
        s = d.start("yes", rcvbuf=4096)
        ident = s.next().text
        assert d.settled(ident) < window + 6_000_000, "the window does not bound the lead"
        s.conn.close()
        d.interrupt(ident)


# ---- commands ----


def test_proc_running(boxd):
    d = boxd(limits={"proc_running": 5})
    ids = [d.background("sleep 100") for _ in range(5)]
    d.refuse(429, "TOO_MANY", command="true")
    d.refuse(429, "TOO_MANY", command="true", background=True)
    assert d.interrupt(ids[0]).status == 200
    d.finished(ids[0])
    assert d.run("echo room").stdout == ["room"]


def test_proc_finished(boxd):
    d = boxd(limits={"proc_finished": 5})
    ids = [d.run("true").id for _ in range(5)]
    assert all(d.get(f"/command/status/{i}").status == 200 for i in ids)
    ids.append(d.run("true").id)
    assert [d.get(f"/command/status/{i}").status for i in ids] == [404] + [200] * 5
    assert d.get(f"/command/{ids[0]}/logs").status == 404
    running = d.background("sleep 100")
    for _ in range(7):
        d.run("true")
    assert d.status(running)["running"] is True, "a running command is never evicted"


def test_proc_finished_ms(boxd):
    d = boxd(limits={"proc_finished_ms": 1000})
    ident = d.run("true").id
    begin = time.monotonic()
    assert d.get(f"/command/status/{ident}").status == 200
    procfs.wait_until(lambda: d.get(f"/command/status/{ident}").status == 404, 5)
    assert 0.8 < time.monotonic() - begin < 4


def test_an_evicted_command_can_be_read_to_its_end(boxd):
    d = boxd(limits={"proc_finished": 1})
    ident = d.run("seq 1 1000").id
    s = d.events(ident, since=0)
    assert s.next().type == "init"
    for _ in range(3):
        d.run("true")
    assert d.get(f"/command/status/{ident}").status == 404
    assert len([e for e in s if e.type == "stdout"]) == 1000
    s.conn.close()


def evicts_by_size(boxd, **limits):
    d = boxd(limits=limits)
    ids = []
    for _ in range(6):
        ids.append(d.background("head -c 60000 /dev/zero" if "proc_finished_disk_bytes" not in limits
                                else "head -c 400000 /dev/zero"))
        d.finished(ids[-1], drained=True)
    states = [d.get(f"/command/status/{i}").status for i in ids]
    assert states[-1] == 200 and states[0] == 404 and states == sorted(states, reverse=True), states


def test_proc_finished_memory_bytes(boxd):
    evicts_by_size(boxd, proc_finished_memory_bytes=131072)


def test_proc_finished_disk_bytes(boxd):
    evicts_by_size(boxd, proc_finished_disk_bytes=1_000_000, hub_memory_bytes=65536, hub_segment_bytes=4096)


def test_proc_command_bytes(boxd):
    d = boxd(limits={"proc_command_bytes": 300})
    assert d.run("echo fits".ljust(300)).stdout == ["fits"]
    d.refuse(400, "INVALID_REQUEST_BODY", command="echo fits".ljust(301))
    assert d.run(argv=["echo", "x" * 300]).ok
    d.refuse(400, "INVALID_REQUEST_BODY", argv=["echo", "x" * 301])
    longest = boxd()
    assert longest.run("echo fits".ljust(131071)).stdout == ["fits"]
    longest.refuse(400, "INVALID_REQUEST_BODY", command="echo fits".ljust(131072))


def test_proc_args(boxd):
    d = boxd(limits={"proc_args": 10})
    assert d.run(argv=["echo", *"123456789"]).stdout == ["1 2 3 4 5 6 7 8 9"]
    d.refuse(400, "INVALID_REQUEST_BODY", argv=["echo", *"1234567890"])


def test_proc_envs(boxd):
    d = boxd(limits={"proc_envs": 10})
    assert d.run("env | grep -c ^MANY_", envs={f"MANY_{i}": "x" for i in range(10)}).stdout == ["10"]
    d.refuse(400, "INVALID_REQUEST_BODY", command="true", envs={f"MANY_{i}": "x" for i in range(11)})


def test_arguments_too_long_for_the_kernel_are_an_error_of_the_start(boxd):
    run = boxd().run("true", envs={f"V{i}": "x" * 100000 for i in range(60)})
    assert run.exit_code is None and "rgument list too long" in run.error["evalue"]


def test_proc_env_file_bytes(boxd, tmp_path):
    path = tmp_path / "envs"
    d = boxd(limits={"proc_env_file_bytes": 4096}, env={"EXECD_ENVS": str(path)})
    path.write_text("A=fits\n".ljust(4095, "#") + "\n")
    assert d.run("echo ${A:-none}").stdout == ["fits"]
    path.write_text("A=fits\n".ljust(4096, "#") + "\n")
    assert d.run("echo ${A:-none}").stdout == ["none"]


def test_proc_timeout_max_ms(boxd):
    d = boxd(limits={"proc_timeout_max_ms": 5000})
    assert d.run("true", timeout=5000).ok
    assert "timeout" in d.refuse(400, "INVALID_REQUEST_BODY", command="true", timeout=5001)


def test_proc_grace_ms(boxd):
    for grace in (100, 800):
        d = boxd(limits={"proc_grace_ms": grace})
        s = d.start("trap '' TERM; echo ready; while :; do sleep 0.02; done")
        ident = s.next().text
        s.wait_for("stdout")
        begin = time.monotonic()
        d.interrupt(ident)
        list(s)
        s.conn.close()
        assert grace * 0.9 <= (time.monotonic() - begin) * 1000 < grace + 1500


def test_proc_timeout_grace_ms(boxd):
    for grace in (100, 800):
        d = boxd(limits={"proc_timeout_grace_ms": grace})
        begin = time.monotonic()
        d.run("trap '' TERM; while :; do sleep 0.02; done", timeout=100)
        assert 100 + grace * 0.9 <= (time.monotonic() - begin) * 1000 < 100 + grace + 1500


def test_proc_linger_ms(boxd):
    for linger in (0, 600):
        d = boxd(limits={"proc_linger_ms": linger})
        begin = time.monotonic()
        run = d.run("(sleep 0.25; echo late) & (sleep 30) & echo leader")
        took = time.monotonic() - begin
        assert run.stdout == (["leader", "late"] if linger else ["leader"])
        assert linger * 0.9 <= took * 1000 < linger + 1500


# ---- log ----


def test_log_burst(boxd):
    d = boxd("--log-level", "debug", limits={"log_burst": 3})
    for _ in range(60):
        with d.connect() as c:
            c.send(b"bad\r\n\r\n")
            assert c.response().status == 400
    d.stop()
    sites = {}
    for line in d.log:
        if m := re.match(r"^(\S{19})\S* \w+ (\w+) (\w+)", line):
            sites[m.groups()] = sites.get(m.groups(), 0) + 1
    assert len(d.log) > 3
    assert max(sites.values()) <= 3 * 4, "a site may log three lines a second, and a function has few sites"
