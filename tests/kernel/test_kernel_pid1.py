"""boxd as the init of a box, and as a subreaper: everything that dies is reaped."""

import os
import shutil
import signal
import subprocess

import pytest

import procfs


def unshared():
    """Can this test make a PID namespace?"""
    tool = shutil.which("unshare")
    if not tool:
        return "unshare is not installed"
    done = subprocess.run([tool, "-pf", "--mount-proc", "true"], capture_output=True, text=True)
    return done.stderr.strip() or "unshare is refused" if done.returncode else None


REFUSED = unshared()
pid1 = pytest.mark.skipif(REFUSED is not None, reason=f"no PID namespace: {REFUSED}")
INIT = ("unshare", "-pf", "--mount-proc", "--kill-child")
# Each round leaves two processes to whoever adopts orphans.
ORPHANS = "for i in 1 2 3 4 5 6 7 8; do sh -c '(sleep 0.1 &) ; setsid sleep 0.15 >/dev/null 2>&1 &' ; done"


@pytest.fixture
def init(boxd):
    d = boxd(prefix=INIT)
    yield d
    # unshare passes on what its child ended with.
    d.signal(signal.SIGTERM)
    assert d.wait(15) == 0
    d.check_log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pid1
def test_as_PID_1_it_ends_on_a_polite_signal(boxd, number):
    d = boxd(prefix=INIT)
    assert procfs.status(d.pid)["NSpid"].split()[-1] == "1"
    assert d.run("echo $PPID").stdout == ["1"]
    d.signal(number)
    assert d.wait(15) == 0
    d.check_log()


@pid1
def test_as_PID_1_it_reaps_orphans(init):
    for _ in range(5):
        assert init.run(ORPHANS).ok
    procfs.wait_until(lambda: init.children() == [], 10)
    assert init.run("ps -e -o stat= | grep -c Z || true").stdout == ["0"]


@pid1
def test_as_PID_1_it_never_takes_an_orphan_for_a_command(init):
    streams = [init.start(f"(sleep 0.05; exit 9) & (sleep 0.0{i % 9} &) ; exit {i}") for i in range(60)]
    for i, s in enumerate(streams):
        run = s.collect()
        s.conn.close()
        assert run.exit_code == i


@pid1
def test_as_PID_1_it_ends_with_everything_it_started(boxd):
    d = boxd(prefix=INIT)
    assert d.run("setsid sleep 60 >/dev/null 2>&1 & echo started").ok
    d.start("sleep 61").conn.close()
    inside = d.children()
    assert inside
    d.signal(signal.SIGTERM)
    assert d.wait(15) == 0
    procfs.wait_until(lambda: not any(procfs.alive(p) for p in inside))


@pid1
def test_as_PID_1_with_a_command_it_ends_with_its_status(boxd):
    d = boxd(prefix=INIT, command=["sh", "-c", "(sleep 60 &); sleep 0.5; exit 5"])
    assert d.get("/ping").status == 200
    assert d.wait(15) == 5
    d.check_log()


@pid1
def test_as_PID_1_it_forwards_signals_to_the_command(boxd):
    d = boxd(prefix=INIT, command=["sh", "-c", "trap 'exit 11' USR1; echo > up; while :; do sleep 0.05; done"])
    procfs.wait_until(lambda: (d.root / "up").exists() or (d.dir / "up").exists())
    d.signal(signal.SIGUSR1)
    assert d.wait(15) == 11
    d.check_log()


def test_as_a_subreaper_it_reaps_orphans(boxd):
    d = boxd()
    for _ in range(5):
        assert d.run(ORPHANS).ok
    procfs.wait_until(lambda: d.children() == [], 10)


def test_orphans_are_adopted_and_not_killed(boxd):
    d = boxd()
    pid = int(d.run("sh -c 'sleep 60 >/dev/null 2>&1 & echo $!'").stdout[0])
    procfs.wait_until(lambda: pid in d.children())
    os.kill(pid, signal.SIGTERM)
    procfs.wait_until(lambda: d.children() == [])
    assert d.get("/ping").status == 200
