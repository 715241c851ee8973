"""The limits of shell sessions, at the limit and one past it (include/boxd/limits.h)."""

import time

import pytest

import procfs
from sessions import Session, ended, running


def test_session_count(boxd):
    d = boxd(limits={"session_count": 3})
    all_of = [Session(d) for _ in range(3)]
    for _ in range(2):
        r = d.post("/session", {})
        assert (r.status, r.json()["code"]) == (429, "TOO_MANY"), r
    assert all_of[1].delete().status == 200
    s = Session(d)
    assert d.post("/session", {}).status == 429
    assert s.out("echo in") == all_of[0].out("echo in") == ["in"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_session_queue(boxd, limit):
    d = boxd(limits={"session_queue": limit})
    s = Session(d)
    first = running(s, "echo ready; while [ ! -e go ]; do sleep 0.01; done")
    waiting = [s.start(f"echo {i}") for i in range(limit)]
    for _ in range(2):
        s.refuse(429, "TOO_MANY", command="echo too many")
    other = Session(d)
    assert other.out("echo other") == ["other"]
    (d.root / "go").touch()
    assert ended(first).ok
    assert [ended(w).stdout for w in waiting] == [[str(i)] for i in range(limit)]
    assert s.out("echo again") == ["again"]


def test_session_idle_ms(boxd):
    d = boxd(limits={"session_idle_ms": 400})
    unused, used, busy = Session(d), Session(d), Session(d)
    pid = int(used.out("sleep 1000 & echo $$")[0])
    begin = time.monotonic()
    stream = running(busy, "echo ready; sleep 1; echo end")
    procfs.wait_until(lambda: unused.get().status == used.get().status == 404, 5)
    assert time.monotonic() - begin < 0.95, "while the other still runs"
    procfs.wait_until(lambda: not procfs.alive(pid), 5)
    assert ended(stream).stdout == ["ready", "end"]
    for _ in range(5):
        assert busy.run("sleep 0.1").ok, "use keeps it"
    procfs.wait_until(lambda: busy.get().status == 404, 5)
    procfs.wait_until(lambda: d.children() == [], 5)


def test_session_idle_ms_0_keeps_them(boxd):
    d = boxd(limits={"session_idle_ms": 0})
    s = Session(d)
    s.out("true")
    time.sleep(0.3)
    assert s.get().status == 200


def test_session_timeout_ms(boxd):
    d = boxd(limits={"session_timeout_ms": 1000})
    s = Session(d)
    assert s.run("sleep 0.8; echo in time").stdout == ["in time"]
    begin = time.monotonic()
    run = s.run("sleep 1000")
    assert 0.95 < time.monotonic() - begin < 4
    assert run.exit_code == -1 and run.error["traceback"][0].startswith("timeout after 1000ms")
    assert s.run("sleep 1.2; echo longer", timeout=5000).stdout == ["longer"], "one that is named counts more"
    assert s.run("sleep 1000", timeout=0).exit_code == -1


def test_session_state_bytes(boxd):
    d = boxd(limits={"session_state_bytes": 65536})
    s = Session(d)
    s.out("small=1; export BIG=$(head -c 30000 /dev/zero | tr '\\0' b)")
    assert s.run("exit 3").exit_code == 3
    assert s.out("echo $small ${#BIG}") == ["1 30000"]
    run = s.run("small=2; BIG=$(head -c 100000 /dev/zero | tr '\\0' b)")
    assert run.ok
    assert s.out("echo $small ${#BIG}") == ["2 100000"], "the shell itself keeps it"
    assert s.run("exit 3").exit_code == 3
    assert s.out("echo $small ${#BIG}") == ["1 30000"], "what does not fit is not kept: the state of before"
    assert s.out("small=3; BIG=") == []
    assert s.run("exit 3").exit_code == 3
    assert s.out("echo $small ${#BIG}") == ["3 0"]
