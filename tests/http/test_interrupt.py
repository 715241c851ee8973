"""DELETE /command: TERM to the group, then KILL to the tree (contract 1.20, 4.3)."""

import os
import time

import pytest

import procfs


def running(d, command, **members):
    """A foreground command that has said "ready"."""
    s = d.start(command, **members)
    s.ident = s.next().text
    e = s.wait_for("stdout")
    s.words = e.text.split()
    assert s.words[0] == "ready"
    return s


def ended(s):
    events = list(s)
    s.conn.close()
    return events[-1]


def test_an_interrupt_ends_a_command_at_once(shared):
    s = running(shared, "echo ready; sleep 30")
    begin = time.monotonic()
    r = shared.interrupt(s.ident)
    assert (r.status, r.body, r.field("content-length")) == (200, b"", "0")
    last = ended(s)
    assert time.monotonic() - begin < 3
    assert last["error"] == {"ename": "CommandExecError", "evalue": "-1", "traceback": ["signal: terminated"]}
    status = shared.status(s.ident)
    assert (status["running"], status["exit_code"], status["error"]) == (False, -1, "signal: terminated")
    assert shared.run("echo next").stdout == ["next"]


def test_the_request_does_not_wait_for_the_command(boxd):
    d = boxd(limits={"proc_grace_ms": 2000})
    s = running(d, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    begin = time.monotonic()
    assert d.interrupt(s.ident).status == 200
    assert time.monotonic() - begin < 1
    last = ended(s)
    assert 1.5 < time.monotonic() - begin < 8
    assert last["error"]["traceback"] == ["signal: killed"] and last["error"]["evalue"] == "-1"


def test_a_command_may_clean_up_and_choose_its_status(shared):
    s = running(shared, "trap 'echo cleaning; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    assert shared.interrupt(s.ident).status == 200
    events = list(s)
    s.conn.close()
    assert [e.text for e in events if e.type == "stdout"] == ["cleaning"]
    assert events[-1]["error"]["evalue"] == "7"


def test_background_commands_are_interrupted_too(shared):
    ident = shared.background("sleep 30")
    assert shared.interrupt(ident).status == 200
    status = shared.finished(ident, 10)
    assert (status["exit_code"], status["error"]) == (-1, "signal: terminated")


def test_a_second_interrupt_is_harmless(boxd):
    d = boxd(limits={"proc_grace_ms": 500})
    s = running(d, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    for _ in range(5):
        assert d.interrupt(s.ident).status == 200
    assert ended(s)["error"]["traceback"] == ["signal: killed"]


def test_a_finished_command_is_409_and_nothing_is_signalled(shared):
    run = shared.run("echo done")
    for _ in range(2):
        r = shared.interrupt(run.id)
        assert (r.status, r.json()["code"]) == (409, "COMMAND_NOT_RUNNING")
        assert "not running" in r.json()["message"]
    ident = shared.background("exit 3")
    shared.finished(ident)
    assert shared.interrupt(ident).status == 409
    assert shared.status(ident)["exit_code"] == 3


def test_survivors_of_a_finished_command_are_not_signalled(boxd):
    d = boxd()
    run = d.run("sleep 30 >/dev/null 2>&1 & echo $!")
    pid = int(run.stdout[0])
    assert d.interrupt(run.id).status == 409
    assert procfs.alive(pid)


@pytest.mark.parametrize("target", ["/command", "/command?id=", "/command?", "/command?x=1", "/command?id"])
def test_without_an_id_it_is_MISSING_QUERY(shared, target):
    r = shared.request("DELETE", target)
    assert (r.status, r.json()["code"]) == (400, "MISSING_QUERY")


def test_an_unknown_id_is_404(shared):
    r = shared.interrupt("fake-123")
    assert (r.status, r.json()["code"]) == (404, "COMMAND_NOT_FOUND")


def test_the_id_may_be_percent_encoded(shared):
    s = running(shared, "echo ready; sleep 30")
    encoded = "".join(f"%{ord(c):02X}" for c in s.ident)
    assert shared.interrupt(encoded).status == 200
    assert ended(s).type == "error"


def test_the_whole_group_goes(boxd):
    d = boxd()
    s = running(d, "sleep 301 & a=$!; (sleep 302; :) & b=$!; echo ready $a $b; wait")
    assert d.interrupt(s.ident).status == 200
    assert ended(s).type == "error"
    procfs.wait_until(lambda: not any(procfs.alive(int(p)) for p in s.words[1:]), 5)


def test_every_member_of_the_group_is_asked_before_it_is_killed(shared):
    s = running(shared, "trap 'wait; echo leader cleans; exit 5' TERM; "
                        "(trap 'echo child cleans; exit' TERM; echo ready; while :; do sleep 0.05; done) & "
                        "while :; do sleep 0.05; done")
    assert shared.interrupt(s.ident).status == 200
    events = list(s)
    s.conn.close()
    assert [e.text for e in events if e.type == "stdout"] == ["child cleans", "leader cleans"]
    assert events[-1]["error"]["evalue"] == "5"


def test_a_descendant_in_a_session_of_its_own_goes_too(boxd):
    d = boxd(limits={"proc_grace_ms": 300})
    s = running(d, "trap '' TERM; setsid sleep 303 & echo ready $!; while :; do sleep 0.1; done")
    pid = int(s.words[1])
    procfs.wait_until(lambda: os.getsid(pid) == pid)
    assert d.interrupt(s.ident).status == 200
    assert ended(s)["error"]["traceback"] == ["signal: killed"]
    procfs.wait_until(lambda: not procfs.alive(pid), 5)


def test_members_of_the_group_that_ignore_TERM_are_killed(boxd):
    d = boxd(limits={"proc_grace_ms": 300})
    s = running(d, "(trap '' TERM; echo ready $BASHPID; while :; do sleep 0.1; done) & wait")
    assert d.interrupt(s.ident).status == 200
    ended(s)
    procfs.wait_until(lambda: not procfs.alive(int(s.words[1])), 5)


def test_a_stopped_command_can_be_ended(boxd):
    d = boxd(limits={"proc_grace_ms": 300})
    s = running(d, "echo ready $$; kill -STOP $$; echo never")
    procfs.wait_until(lambda: procfs.state(int(s.words[1])) == "T")
    assert d.interrupt(s.ident).status == 200
    assert ended(s)["error"]["evalue"] == "-1"


def test_a_command_that_nobody_reads_can_be_interrupted(boxd):
    d = boxd()
    s = d.start("yes", rcvbuf=4096)
    ident = s.next().text
    assert d.interrupt(ident).status == 200
    assert d.finished(ident, 10)["exit_code"] == -1
    s.conn.close()


def test_interrupts_race_with_the_end_without_harm(boxd):
    d = boxd()
    for i in range(60):
        s = d.start("true" if i % 2 else "sleep 0.005")
        ident = s.next().text
        assert d.interrupt(ident).status in (200, 409)
        assert list(s)[-1].type in ("error", "execution_complete")
        s.conn.close()
    assert d.children() == []
