"""Limits of terminals, at the limit and one past it (include/boxd/limits.h)."""

import time

import pytest

import procfs
from boxd import now
from test_pty_http import output, type_, whole
from wsclient import Terminal, create, delete, handshake, look, opened, refused, target


def test_pty_count(boxd):
    d = boxd(limits={"pty_count": 3})
    idents = [create(d) for _ in range(3)]
    r = d.post("/pty", None)
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY")
    delete(d, idents[1])
    idents[1] = create(d)
    assert d.post("/pty", None).status == 429
    assert len(d.get("/pty").json()) == 3
    assert [look(d, i)["running"] for i in idents] == [False] * 3


def test_pty_count_lets_the_oldest_go_that_has_ended(boxd):
    d = boxd(limits={"pty_count": 3})
    running, t = opened(d, command="cat")
    ended = create(d, command="true")
    watched = create(d, command="true")
    for ident in (ended, watched):
        type_(d, ident, "")
        whole(d, ident)
    o = Terminal(d, watched, observe=1)
    o.wait_for("connected")
    fresh = create(d)
    assert d.get(f"/pty/{ended}").status == 404, "it had ended"
    assert d.post("/pty", None).status == 429, "one runs, one is watched, one is about to start"
    assert {p["session_id"] for p in d.get("/pty").json()} == {running, watched, fresh}
    o.close()
    t.close()


@pytest.mark.parametrize("limit", [65536, 100000, 1 << 20])
def test_pty_replay_bytes(boxd, limit):
    segment = 4096
    d = boxd(limits={"pty_replay_bytes": limit, "hub_segment_bytes": segment})
    n = 2 * limit
    ident = create(d, command=f"head -c {n} /dev/zero | tr '\\0' x; head -n 1")
    assert look(d, ident)["oldest_offset"] == 0
    t = Terminal(d, ident)
    while len(t.output) < n:
        t.receive()
    t.leave()
    got = look(d, ident)
    kept = got["output_offset"] - got["oldest_offset"]
    assert limit <= kept <= limit * 5 // 4 and got["output_offset"] == n
    t = Terminal(d, ident, since=0)
    t.wait_for("connected")
    assert (t.start, len(t.output)) == (got["oldest_offset"], kept)
    t.leave()
    t = Terminal(d, ident, since=got["oldest_offset"] + 1)
    t.wait_for("connected")
    assert (t.start, len(t.output)) == (got["oldest_offset"] + 1, kept - 1)
    t.leave()


@pytest.mark.parametrize("limit", [4096, 10000])
def test_pty_input_bytes(boxd, limit):
    d = boxd(limits={"pty_input_bytes": limit})
    ident, t = opened(d, command="stty raw -echo; echo up; exec sleep 100")
    t.read_until("up")
    r = d.post(f"/pty/{ident}/input", b"x" * (limit + 1))
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY"), "more than ever fits"
    assert type_(d, ident, b"x" * limit)["accepted"] == limit
    # What the kernel takes does not count.
    for _ in range(100000 // limit + 2):
        r = d.post(f"/pty/{ident}/input", b"x" * limit)
        if r.status == 429:
            break
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY")
    delete(d, ident)
    t.read_exit()


def test_pty_input_bytes_of_one_message(boxd):
    d = boxd(limits={"pty_input_bytes": 4096})
    _, t = opened(d, command="stty raw -echo; echo up; exec cat")
    t.read_until("up")
    t.type(b"y" * 4096)
    t.read_until(b"y" * 4096)
    t.type(b"y" * 4097)
    got = t.wait_for("error")
    assert got.members["code"] == "STDIN_WRITE_FAILED" and got.members["error"]
    t.expect_cut()


def test_pty_spec_bytes(boxd):
    d = boxd(limits={"pty_spec_bytes": 4096})
    limit = 4096
    most = 0
    for n in range(limit - 64, limit + 2):
        if d.post("/pty", {"label": "x" * n}).status == 201:
            most = n
    assert limit - 64 <= most < limit
    for members in ({"label": "x" * (most + 1)}, {"command": "x" * limit}, {"envs": {"A": "x" * limit}},
                    {"envs": {f"V{i}": "" for i in range(2000)}}):
        r = d.post("/pty", members)
        assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r


def test_pty_viewers(boxd):
    d = boxd(limits={"pty_viewers": 3})
    ident, t = opened(d, command="cat")
    t.wait_for("connected")
    o = Terminal(d, ident, observe=1)
    o.wait_for("connected")
    s = output(d, ident)
    refused(d, target(ident, observe=1), 429, "TOO_MANY")
    refused(d, f"/pty/{ident}/output", 429, "TOO_MANY", [])
    refused(d, target(ident), 409, "ALREADY_CONNECTED")
    assert look(d, ident)["viewers"] == 3
    s.conn.close()
    procfs.wait_until(lambda: look(d, ident)["viewers"] == 2)
    Terminal(d, ident, observe=1).wait_for("connected")


def test_pty_viewers_do_not_keep_a_holder_from_being_replaced(boxd):
    d = boxd(limits={"pty_viewers": 1})
    ident, t = opened(d)
    t.ready()
    new = Terminal(d, ident, takeover=1)
    t.expect_taken_over()
    new.ready()
    refused(d, target(ident, takeover=1), 400, "BAD_REQUEST", handshake(Sec_WebSocket_Version="7"))
    new.leave()


@pytest.mark.parametrize("limit", [50, 800])
def test_pty_stall_ms(boxd, limit):
    d = boxd(limits={"pty_stall_ms": limit})
    ident, t = opened(d, rcvbuf=4096, command="seq -f %08.0f 1 90000000")
    t.wait_for("connected")
    last, since, longest, end = -1, now(), 0, now() + 8
    while last < 4000000 and now() < end:
        at = look(d, ident)["output_offset"]
        if at != last:
            longest, last, since = max(longest, now() - since), at, now()
        time.sleep(0.005)
    assert longest < limit / 1000 + 0.5 and last >= 4000000
    assert limit < 500 or longest > limit / 1000 * 0.8
    t.reset()
    delete(d, ident)


def test_pty_idle_ms(boxd):
    d = boxd(limits={"pty_idle_ms": 400})
    ident, t = opened(d, command="cat")
    t.wait_for("connected")
    pid = look(d, ident)["pid"]
    time.sleep(0.6)
    assert look(d, ident)["running"] is True, "somebody is connected"
    t.leave()
    begin = now()
    procfs.wait_until(lambda: d.get(f"/pty/{ident}").status == 404, 5)
    assert 0.2 < now() - begin < 2
    procfs.wait_until(lambda: procfs.state(pid) is None, 3)


def test_pty_idle_ms_0_is_never(boxd):
    d = boxd(limits={"pty_idle_ms": 0, "pty_finished_ms": 100})
    ident = create(d, command="cat")
    type_(d, ident, "")
    time.sleep(0.4)
    assert look(d, ident)["running"] is True
    delete(d, ident)


@pytest.mark.parametrize("run", [True, False], ids=["ended", "never began"])
def test_pty_finished_ms(boxd, run):
    d = boxd(limits={"pty_finished_ms": 400})
    ident = create(d, command="true")
    o = Terminal(d, ident, observe=1) if not run else None
    if run:
        type_(d, ident, "")
        assert whole(d, ident)[1] == 0
    else:
        o.wait_for("connected")
        time.sleep(0.6)
        assert look(d, ident)["running"] is False, "somebody is connected"
        o.leave()
    begin = now()
    procfs.wait_until(lambda: d.get(f"/pty/{ident}").status == 404, 5)
    assert 0.2 < now() - begin < 2
