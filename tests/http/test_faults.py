"""When something is missing or too much: disk, descriptors, time, patience."""

import json
import os
import signal
import subprocess
import time

import pytest

import procfs
from boxd import sanitized
from wire import TERMINAL, Closed

LONG = bool(os.environ.get("BOXD_LONG"))
# A sanitizer keeps freed memory in quarantine and pads what is in use.
SLACK_KIB = 40000 if sanitized() else 3000
FEW_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=1:detect_leaks=1"}


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    where = tmp_path / "tiny"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "boxd-test", str(where)],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_loses_output_and_says_how_much(boxd, tiny_disk):
    d = boxd(state_dir=tiny_disk, limits={"hub_memory_bytes": 65536})
    ident = d.background("seq -f '%099.0f' 1 50000; exit 3")
    status = d.finished(ident, drained=True)
    assert (status["exit_code"], status["stdout_bytes"]) == (3, 5_000_000)
    whole = "".join("%099d\n" % i for i in range(1, 50001)).encode()
    kept, cursor, lost = b"", 0, 0
    while cursor < len(whole):
        body, after, gap = d.logs(ident, cursor)
        assert after == cursor + gap + len(body) and after > cursor
        assert body == whole[cursor + gap:after]
        kept, cursor, lost = kept + body, after, lost + gap
    assert lost > 0 and lost + len(kept) == len(whole)
    assert d.run("echo still fine").stdout == ["still fine"]


def test_an_owner_loses_nothing_on_a_full_disk(boxd, tiny_disk):
    (tiny_disk / "ballast").write_bytes(b"x" * 230_000)
    d = boxd(state_dir=tiny_disk, limits={"hub_owner_window_bytes": 65536})
    run = d.run("seq 1 200000")
    assert len(run.stdout) == 200000 and run.ok and run.gaps == []


def test_without_a_state_directory_commands_still_run(boxd, tmp_path):
    d = boxd()
    os.rmdir(d.state)
    assert d.run("seq 1 50000").stdout[-1] == "50000"
    ident = d.background("seq 1 1000000")
    assert d.finished(ident)["exit_code"] == 0
    d.state.mkdir()


def test_out_of_descriptors_it_waits_and_recovers(boxd):
    d = boxd(prefix=("prlimit", "--nofile=192:192"), limits={"http_accept_pause_ms": 10})
    with d.connect() as first:
        assert first.request("GET", "/ping").status == 200
        many = [d.connect() for _ in range(400)]
        cpu = cpu_ms(d.pid)
        time.sleep(1)
        assert cpu_ms(d.pid) - cpu < 500, "it spins while it cannot accept"
        # The reserve lets a client that is served already start commands, also after a while.
        for _ in range(3):
            s = first.stream("POST", "/command", body={"command": "echo reserve"})
            assert s.collect().stdout == ["reserve"]
        for c in many:
            c.close()
    assert d.get("/ping").status == 200
    assert d.run("echo back").stdout == ["back"]


def cpu_ms(pid):
    ticks = int(procfs.stat_field(pid, 14)) + int(procfs.stat_field(pid, 15))
    return ticks * 1000 // os.sysconf("SC_CLK_TCK")


def test_an_idle_daemon_uses_no_time(boxd):
    d = boxd()
    d.run("true")
    held = d.connect()
    before = cpu_ms(d.pid), switches(d.pid)
    time.sleep(1.5)
    assert cpu_ms(d.pid) - before[0] <= 20
    assert switches(d.pid) - before[1] <= 20, "it wakes up for nothing"
    held.close()


def switches(pid):
    return int(procfs.status(pid)["voluntary_ctxt_switches"])


def sockets(d):
    return sum(v.startswith("socket:") for v in d.fds().values())


def snapshot(d, idle):
    """What is left when all children and clients are gone; idle: sockets before there were any."""
    procfs.wait_until(lambda: d.children() == [] and sockets(d) == idle)
    return (len(d.fds()), sorted(p.name for p in d.state.rglob("*")))


@pytest.mark.seconds(3600 if LONG else 150)
def test_thousands_of_commands_leave_nothing_behind(boxd):
    d = boxd(env=FEW_QUARANTINE, limits={"proc_finished": 50, "log_burst": 5})

    body = json.dumps({"command": "echo out; exit 3", "shell": "sh", "background": True})

    def burst(n):
        with d.connect() as c:
            for _ in range(n):
                c.send(c.head("POST", "/command", body=body))
                run = c.stream_response().collect()
        d.finished(run.id)
        procfs.wait_until(lambda: d.children() == [])

    idle = sockets(d)
    burst(300)
    before, rss = snapshot(d, idle), d.rss_kib()
    burst(20000 if LONG else 2000)
    assert snapshot(d, idle) == before
    assert d.rss_kib() - rss < SLACK_KIB
    assert len(d.get("/command").json()) <= 50


def test_thousands_of_connections_leave_nothing_behind(boxd):
    d = boxd(env=FEW_QUARANTINE)

    def burst(n):
        for i in range(n):
            with d.connect() as c:
                if i % 3:
                    c.request("GET", "/ping")
                elif i % 2:
                    c.send(b"GET / HT")
                    c.reset()

    idle = sockets(d)
    burst(200)
    before, rss = snapshot(d, idle), d.rss_kib()
    burst(2000)
    assert snapshot(d, idle) == before
    assert d.rss_kib() - rss < SLACK_KIB


def test_streams_cut_by_their_clients_leave_nothing_behind(boxd):
    d = boxd(env=FEW_QUARANTINE, limits={"proc_finished": 20})

    def burst(n):
        for i in range(n):
            s = d.start("seq 1 2000", on_disconnect="kill" if i % 2 else "continue")
            ident = s.next().text
            o = d.events(ident, since=0)
            o.next()
            (s.conn.reset if i % 3 else s.conn.close)()
            (o.conn.close if i % 2 else o.conn.reset)()

    idle = sockets(d)
    burst(40)
    before, rss = snapshot(d, idle), d.rss_kib()
    burst(200)
    assert snapshot(d, idle) == before
    assert d.rss_kib() - rss < SLACK_KIB


# ---- the end ----


def test_TERM_ends_a_hundred_streams_properly(boxd):
    d = boxd()
    streams = [d.start(f"echo {i}; sleep 100") for i in range(100)]
    for i, s in enumerate(streams):
        assert s.wait_for("stdout").text == str(i)
    begin = time.monotonic()
    d.signal(signal.SIGTERM)
    for s in streams:
        events = list(s)
        assert events[-1].type == "error"
        assert events[-1]["error"]["traceback"] == ["signal: terminated"]
        assert s.conn.at_end()
        s.conn.close()
    assert d.wait() == 0 and time.monotonic() - begin < 10
    d.check_log()


def test_TERM_ends_observers_background_commands_and_idle_connections(boxd):
    d = boxd()
    ident = d.background("echo here; sleep 100")
    o = d.events(ident, since=0)
    o.wait_for("stdout")
    idle = d.connect()
    half = d.connect()
    half.send(b"GET /pi")
    pid = d.child_running("100")
    d.signal(signal.SIGTERM)
    assert list(o)[-1].type == "error"
    assert idle.at_end()
    assert d.wait(10) == 0
    assert not procfs.alive(pid)
    for c in (o.conn, idle, half):
        c.close()


def test_TERM_takes_commands_that_ignore_it(boxd):
    d = boxd(limits={"proc_grace_ms": 300})
    s = d.start("trap '' TERM; sleep 401 & echo $!; while :; do sleep 0.1; done")
    child = int(s.wait_for("stdout").text)
    d.signal(signal.SIGTERM)
    last = list(s)[-1]
    assert last["error"]["traceback"] == ["signal: killed"]
    assert d.wait(10) == 0
    procfs.wait_until(lambda: not procfs.alive(child))
    s.conn.close()


def test_a_client_that_does_not_read_cannot_prevent_the_end(boxd):
    d = boxd(limits={"shutdown_flush_ms": 300, "proc_grace_ms": 300})
    stuck = [d.start("yes", rcvbuf=4096) for _ in range(3)]
    for s in stuck:
        d.settled(s.next().text)
    begin = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait(10) == 0 and time.monotonic() - begin < 6
    for s in stuck:
        with pytest.raises(Closed):
            list(s)
        s.conn.close()


def test_a_second_TERM_is_as_good_as_one(boxd):
    d = boxd(limits={"proc_grace_ms": 1000})
    s = d.start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    s.wait_for("stdout")
    for _ in range(3):
        d.signal(signal.SIGTERM)
        time.sleep(0.05)
    assert d.wait(10) == 0
    s.conn.close()


def test_new_requests_are_refused_while_it_ends(boxd):
    d = boxd(limits={"proc_grace_ms": 1000})
    s = d.start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    s.wait_for("stdout")
    d.signal(signal.SIGTERM)
    d.wait_log("signal|shut|stopp|ending", 5)
    with pytest.raises((OSError, Closed)):
        with d.connect() as c:
            r = c.request("POST", "/command", body='{"command":"true"}')
            assert r.status == 503
            raise Closed("refused politely")
    assert list(s)[-1].type in TERMINAL
    assert d.wait(10) == 0
    s.conn.close()
