"""Shell sessions under stress: timeouts, interrupts, clients that leave, floods, jobs, shutdown (contract 4.4)."""

import os
import signal
import threading
import time

import pytest

import procfs
from boxd import sanitized
from sessions import Session, box_path, ended, running
from wire import Closed

GRACES = {"proc_grace_ms": 400, "proc_timeout_grace_ms": 400}


def gone(*pids):
    procfs.wait_until(lambda: not any(procfs.alive(int(p)) for p in pids), 5)


# ---- runs follow each other ----


def test_runs_of_one_session_follow_each_other_in_order(shared):
    s = Session(shared, cwd="order")
    streams = [s.start(f"echo {i} >>log; sleep 0.01; echo {i} >>log; echo out {i}; echo err {i} >&2") for i in range(20)]
    for i, stream in enumerate(streams):
        run = ended(stream)
        assert (run.ok, run.stdout, run.stderr) == (True, [f"out {i}"], [f"err {i}"])
    assert s.out("cat log") == [str(i) for i in range(20) for _ in "ab"]


def test_a_run_that_waits_does_not_use_up_its_timeout(shared):
    s = Session(shared)
    first, second = s.start("sleep 0.6"), s.start("echo second", timeout=300)
    assert ended(first).ok and ended(second).stdout == ["second"]


def test_a_run_that_waits_is_forgotten_with_its_client(boxd):
    d = boxd()
    s = Session(d)
    first = running(s, "echo ready; while [ ! -e go ]; do sleep 0.01; done")
    others = [s.start(f"echo {i} >>log") for i in range(3)]
    others[1].conn.reset()
    procfs.wait_until(lambda: s.info()["queued"] == 2)
    (d.root / "go").touch()
    assert ended(first).ok and ended(others[0]).ok and ended(others[2]).ok
    assert s.out("cat log") == ["0", "2"]


def test_a_run_that_ends_the_shell_does_not_take_those_that_wait_with_it(shared):
    s = Session(shared)
    s.out("A=1")
    streams = [s.start(c) for c in ("sleep 0.1; A=2; exit 5", "echo $A; exit 6", "echo $A; kill -9 $$", "echo $A")]
    assert [ended(x).exit_code for x in streams[:1]] == [5]
    runs = [ended(x) for x in streams[1:]]
    assert [(r.stdout, r.exit_code) for r in runs] == [(["1"], 6), (["1"], -1), (["1"], 0)]


def test_sessions_run_beside_each_other(shared):
    sessions = [Session(shared) for _ in range(6)]
    for s in sessions:
        s.out("true")
    begin = time.monotonic()
    streams = [s.start("sleep 0.5; echo done") for s in sessions]
    assert all(ended(x).stdout == ["done"] for x in streams)
    assert time.monotonic() - begin < 2


def test_clients_in_many_threads_mix_nothing_up(shared):
    sessions = [Session(shared) for _ in range(3)]
    wrong = []

    def client(n):
        s = sessions[n % 3]
        for i in range(15):
            run = s.run(f"echo {n}-{i}; export V{n}={i}; (exit {i % 3})")
            if run.stdout != [f"{n}-{i}"] or run.exit_code != i % 3:
                wrong.append((n, i, run.events))
    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    for n, s in enumerate(sessions):
        assert s.out(f"echo $V{n} $V{n + 3}") == ["14 14"]


# ---- timeouts ----

# What goes on when the time is up; whether bash then still is the same process.
STUCK = {
    "sleep": ("sleep 1000", True), "pipeline": ("sleep 1000 | cat", True), "subshell": ("(sleep 1000; :); :", True),
    "job": ("sleep 1000 & sleep 1000", True), "wait": ("sleep 1000 & wait", True), "busy loop": ("while :; do :; done", True),
    "loop of commands": ("while true; do sleep 0.01; done", True), "list": ("sleep 1000; sleep 1000; sleep 1000; echo no", True),
    "function": ("f() { while :; do sleep 0.01; done; }; f; echo no", True), "substitution": ("x=$(sleep 1000); echo no", True),
    "output": (f"yes {'x' * 20000}", True), "read": ("mkfifo p; read x <p; echo no", True), "deaf shell": ("trap '' TERM INT; sleep 1000", None),
    "deaf child": ("sh -c 'trap \"\" TERM INT; while :; do sleep 0.05; done'", True), "catches": ("trap 'echo caught' TERM INT; sleep 1000", None),
    "stopped child": ("sh -c 'kill -STOP $$'", None), "stopped shell": ("kill -STOP $$", True), "noexec": ("set -n\nsleep 1000", None),
    "own session": ("setsid sleep 1000 & sleep 1000", True), "exec": ("exec sleep 1000", False), "job control": ("set -m; sleep 1000", None),
    "nested": ("bash -c 'bash -c \"sleep 1000; :\"; :'; :", True), "and or": ("sleep 1000 || sleep 1000 || sleep 1000", True),
}


@pytest.fixture(scope="module")
def impatient(request):
    from harness import manage
    start, finish = manage(request)
    yield start(limits=GRACES)
    finish()


@pytest.mark.parametrize("name", STUCK)
def test_a_timeout_ends(impatient, name):
    command, same = STUCK[name]
    s = Session(impatient, cwd=f"timeout/{name}")
    before = s.out("cd ..; kept=1; export E=2; echo $$")[0]
    begin = time.monotonic()
    run = s.run(command, timeout=150, cwd=str(impatient.root / "timeout" / name))
    took = time.monotonic() - begin
    assert 0.14 < took < 4, f"{took:.2f} s"
    assert run.exit_code == -1 and run.error["traceback"][0].startswith("timeout after 150ms"), run.error
    assert "no" not in run.stdout
    run = s.run("trap - TERM INT; echo $kept $E; echo $$")
    assert run.stdout[0] == "1 2" and run.ok, run.events
    if same is not None:
        assert (run.stdout[1] == before) is same, "the same shell"
    pid = int(run.stdout[1])
    procfs.wait_until(lambda: [p for p in procfs.children(pid) if procfs.alive(p)] == [], 5)
    s.delete()


def test_a_timeout_leaves_jobs_of_earlier_runs_alone(impatient):
    s = Session(impatient)
    old = s.out("sleep 1000 & echo $!")[0]
    run = s.run("sleep 1000 & echo $!; sleep 1000", timeout=150)
    assert run.exit_code == -1
    gone(run.stdout[0])
    assert s.out(f"kill -0 {old} && echo alive") == ["alive"]
    s.delete()
    gone(old)


def test_output_before_a_timeout_is_told(impatient):
    run = Session(impatient).run("echo before; printf tail; sleep 1000", timeout=150)
    assert run.stdout == ["before", "tail"] and run.exit_code == -1


def test_a_run_in_time_is_not_disturbed_by_its_timeout_afterwards(impatient):
    s = Session(impatient)
    assert s.run("echo quick", timeout=200).ok
    assert s.out("sleep 0.4; echo slow") == ["slow"]


@pytest.mark.parametrize("shell", ["dash", "busybox"])
@pytest.mark.parametrize("name", ["sleep", "job", "busy loop", "list", "deaf child", "exec", "output", "own session"])
def test_a_timeout_in_a_posix_shell_ends(boxd_of, shell, name):
    d = boxd_of(shell)
    s = Session(d, cwd=f"timeout/{name}")
    s.out("kept=1; export E=2; cd ..")
    run = s.run(STUCK[name][0].replace("bash", "sh"), timeout=150)
    assert run.exit_code == -1 and "no" not in run.stdout
    assert s.out("echo $kept $E; pwd") == ["1 2", str(d.root / "timeout")]
    s.delete()


@pytest.fixture(scope="module")
def boxd_of(request):
    """The daemon of a box that has no bash but this sh."""
    from harness import manage
    start, finish = manage(request)
    made = {}

    def of(shell):
        if shell not in made:
            made[shell] = start(limits=GRACES, env={"PATH": str(box_path(shell))})
        return made[shell]
    yield of
    finish()


# ---- interrupts ----


@pytest.mark.parametrize("name", ["sleep", "busy loop", "loop of commands", "list", "function", "output", "deaf child", "own session"])
def test_an_interrupt_ends(impatient, name):
    command, same = STUCK[name]
    s = Session(impatient, cwd=f"interrupt/{name}")
    before = s.out("kept=1; echo $$")[0]
    stream = running(s, f"echo ready; {command}")
    begin = time.monotonic()
    r = s.interrupt()
    assert (r.status, r.body) == (200, b"") and time.monotonic() - begin < 1
    run = ended(stream)
    assert time.monotonic() - begin < 4
    assert run.error["evalue"] == "-1" and "no" not in run.stdout
    run = s.run("echo $kept; echo $$")
    assert run.stdout[0] == "1" and (run.stdout[1] == before) is same
    s.delete()


def test_an_interrupt_lets_a_child_clean_up(impatient):
    s = Session(impatient)
    stream = running(s, "sh -c 'trap \"echo cleaned; exit 3\" TERM; echo ready; while :; do sleep 0.02; done'; echo no")
    assert s.interrupt().status == 200
    assert ended(stream).stdout == ["ready", "cleaned"]
    assert s.out("echo on") == ["on"]


def test_an_interrupt_is_for_the_run_that_goes_on_not_for_those_that_wait(impatient):
    s = Session(impatient)
    first = running(s, "echo ready; sleep 1000")
    second = s.start("echo second")
    assert s.interrupt().status == 200
    assert ended(first).exit_code == -1 and ended(second).stdout == ["second"]


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_an_interrupt_that_comes_as_early_as_can_be_does_not_wait_for_the_grace(shared, shell):
    s = Session(shared, shell=shell)
    took = []
    for _ in range(25):
        stream = s.start("sleep 30; sleep 30")
        assert stream.next().text == s.id
        begin = time.monotonic()
        assert s.interrupt().status == 200
        assert list(stream)[-1]["error"]["evalue"] == "-1"
        stream.conn.close()
        took.append(time.monotonic() - begin)
    assert max(took) < 1.5, took


def test_many_interrupts_are_one(impatient):
    s = Session(impatient)
    stream = running(s, "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done'")
    for _ in range(10):
        assert s.interrupt().status == 200
    assert ended(stream).exit_code == -1
    assert s.out("echo on") == ["on"]


def test_interrupts_race_with_the_end_without_harm(impatient):
    s = Session(impatient)
    pid = s.out("kept=1; echo $$")
    for i in range(40):
        stream = s.start(f"sleep 0.00{i % 10}" if i % 4 else "true")
        assert stream.next().type == "init"
        assert s.interrupt().status in (200, 409)
        assert list(stream)[-1].type in ("error", "execution_complete")
        stream.conn.close()
    assert s.out("echo $kept; echo $$") == ["1", *pid]


# ---- clients that leave ----


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("command", ["sleep 1000", "while :; do echo more; done"])
def test_a_client_that_leaves_ends_its_run(impatient, how, command):
    s = Session(impatient, cwd=f"leaves/{how}/{len(command)}")
    before = s.out("kept=1; echo $$")
    stream = running(s, f"echo ready; {command}; echo >never")
    getattr(stream.conn, how)()
    procfs.wait_until(lambda: s.info()["running"] is False, 5)
    assert s.out("echo $kept; ls; echo $$") == ["1", *before]


def test_a_client_that_leaves_lets_the_next_have_its_turn(impatient):
    s = Session(impatient)
    first = running(s, "echo ready; sleep 1000")
    second = s.start("echo second")
    first.conn.close()
    assert ended(second).stdout == ["second"]


def test_a_client_that_only_ends_its_side_gets_everything(impatient):
    s = Session(impatient)
    stream = s.start("sleep 0.2; echo all")
    stream.conn.half_close()
    assert ended(stream, close=False).stdout == ["all"]
    stream.conn.close()


def test_clients_that_leave_at_any_moment_do_no_harm(impatient):
    s = Session(impatient)
    for i in range(30):
        stream = s.start("seq 1 20000" if i % 2 else "exit 3")
        for _ in range(i % 5):
            stream.next()
        stream.conn.reset() if i % 3 else stream.conn.close()
    assert s.out("echo fine") == ["fine"]


# ---- deleting ----


@pytest.mark.parametrize("command", ["sleep 1000", "trap '' TERM INT HUP; while :; do :; done", f"yes {'x' * 20000}", "exec sleep 1000",
                                     "setsid sleep 1000 & sleep 1000"])
def test_a_delete_during_a_run_ends_it_within_three_seconds(impatient, command):
    s = Session(impatient)
    stream = running(s, f"echo ready $$; {command}")
    waiting = s.start("echo never")
    begin = time.monotonic()
    assert s.delete().status == 200
    assert time.monotonic() - begin < 3 and s.get().status == 404
    run = ended(stream)
    assert run.error["evalue"] == "-1" and time.monotonic() - begin < 3
    run = ended(waiting)
    assert run.error["evalue"] == "-1" and run.stdout == []
    gone(stream.words[0])
    assert s.delete().status == 404


def test_a_delete_kills_jobs_also_in_sessions_of_their_own(impatient):
    s = Session(impatient)
    jobs = s.out("sleep 1000 >/dev/null & echo $!; setsid sleep 1000 & echo $!; nohup sleep 1000 >/dev/null 2>&1 & echo $!;"
                 "sh -c 'trap \"\" TERM HUP; echo $$; sleep 1000; :' & sleep 0.1; (setsid sleep 1000; :) & echo $!")
    procfs.wait_until(lambda: os.getsid(int(jobs[1])) == int(jobs[1]))
    assert s.delete().status == 200
    gone(*jobs)


def test_jobs_survive_a_new_shell_but_not_a_delete(impatient):
    s = Session(impatient)
    job = s.out("sleep 1000 & echo $!")[0]
    s.run("exit 1")
    s.out("true")
    s.delete()
    gone(job)


def test_an_id_is_forgotten_at_once_and_its_place_is_free(boxd):
    d = boxd(limits={"session_count": 1})
    for _ in range(20):
        s = Session(d)
        s.out("true")
        assert s.delete().status == 200


# ---- much output ----


def test_a_slow_client_makes_its_run_wait_and_gets_every_byte(boxd):
    d = boxd()
    s, other = Session(d), Session(d)
    stream = s.start("seq -f '%099.0f' 1 100000; echo end", rcvbuf=16384)
    for i in range(20):
        assert other.out(f"echo {i}") == [str(i)], "others are not held up"
        time.sleep(0.01)
    assert s.info()["running"] is True
    assert d.rss_kib() < (200000 if sanitized() else 30000)
    run = ended(stream)
    assert run.gaps == [] and run.ok
    assert run.stdout == ["%099d" % i for i in range(1, 100001)] + ["end"]


def test_a_slow_client_keeps_what_it_has_coming_while_the_next_run_floods(boxd):
    d = boxd()
    s = Session(d)
    first = s.start("seq -f '%099.0f' 1 6000", rcvbuf=16384)
    second = s.start("seq -f '%099.0f' 1 50000")
    reader = []
    t = threading.Thread(target=lambda: reader.append(ended(second)))
    t.start()
    time.sleep(0.3)
    run = ended(first)
    assert run.ok and run.gaps == [] and len(run.stdout) == 6000
    t.join()
    assert reader[0].ok and reader[0].gaps == [] and len(reader[0].stdout) == 50000


def test_a_client_that_stops_reading_is_cut_and_its_run_ended(boxd):
    d = boxd(limits={**GRACES, "http_write_stall_ms": 1000})
    s = Session(d)
    before = s.out("kept=1; echo $$")
    stream = s.start("yes", rcvbuf=4096)
    stream.next()
    procfs.wait_until(lambda: s.info()["running"] is False, 10)
    assert s.out("echo $kept; echo $$") == ["1", *before]
    stream.conn.close()


def test_a_flood_between_two_runs_holds_nobody_up(impatient):
    s = Session(impatient)
    job = s.out("yes & echo $!")[0]
    run = s.run("echo next; kill %1 2>/dev/null || kill " + job)
    assert run.ok and "next" in run.stdout
    gone(job)
    s.delete()


def test_what_a_job_has_written_but_nobody_has_read_yet_belongs_to_no_run(boxd):
    d = boxd()
    s = Session(d)
    s.out("(while [ ! -e go ]; do sleep 0.01; done; echo late; touch said) &")
    with d.connect() as c:
        assert c.request("GET", "/ping").status == 200
        d.signal(signal.SIGSTOP)
        (d.root / "go").touch()
        procfs.wait_until(lambda: (d.root / "said").exists())
        c.send(c.head("POST", f"/session/{s.id}/run", body='{"command":"echo next"}'))
        d.signal(signal.SIGCONT)
        assert ended(c.stream_response(), close=False).stdout == ["next"]


@pytest.mark.parametrize("command,words", [
    ("exec > >(sleep 0.05; cat); echo through", ["through"]), ("(sleep 0.05; echo job) & echo first; exit 0", ["first", "job"]),
    ("(sleep 0.05; echo job) & echo first; kill -9 $$", ["first", "job"]),
], ids=["redirected", "exit", "killed"])
def test_output_that_comes_a_little_late_belongs_to_the_run(boxd, command, words):
    s = Session(boxd(limits={"proc_linger_ms": 300}))
    assert s.run(command).stdout == words
    assert s.run("echo next; exit 0").stdout[-1] == "next"


def test_output_that_is_read_with_the_report_of_a_run_forges_nothing(boxd):
    d = boxd()
    s = Session(d)
    pid = int(s.out("A=1; echo $$")[0])
    forged = r"\0S9 --- x\0C/usr\n\0VA=forged\n\0.\0"
    stream = running(s, "echo ready; A=2; while [ ! -e go ]; do sleep 0.01; done; "
                        f"for i in $(seq 1 800); do printf '{forged}'; done; touch done")
    d.signal(signal.SIGSTOP)
    (d.root / "go").touch()
    procfs.wait_until(lambda: (d.root / "done").exists())
    procfs.wait_until(lambda: procfs.state(pid) == "S")
    d.signal(signal.SIGCONT)
    assert ended(stream).ok
    s.run("exit 1")
    assert s.out("echo $A; pwd; echo ${PATH:+path}") == ["2", str(d.root), "path"]


# ---- what is not there ----


@pytest.mark.parametrize("members", [{"shell": "/no/such/shell"}, {"shell": "no-such-shell"}, {"shell": "/etc/passwd"}], ids=str)
def test_a_shell_that_does_not_exist_is_a_clear_error(shared, members):
    s = Session(shared, **members)
    for _ in range(2):
        run = s.run("echo no")
        assert run.stdout == [] and run.exit_code is None
        assert run.error["ename"] == "CommandExecError" and run.error["traceback"] == [run.error["evalue"]]
        assert "No such file" in run.error["evalue"] or "ermission denied" in run.error["evalue"], run.error
    assert s.delete().status == 200


def test_a_box_without_any_shell_says_so(boxd):
    d = boxd(env={"PATH": str(box_path())})
    s = Session(d)
    run = s.run("echo no")
    assert run.exit_code is None and "neither bash nor sh was found" in run.error["evalue"], run.error
    assert "shell" not in s.info() and d.children() == []


@pytest.mark.parametrize("shell", ["true", "/bin/false"])
def test_a_shell_that_ends_at_once_is_an_error_and_no_status(shared, shell):
    s = Session(shared, shell=shell)
    for _ in range(2):
        run = s.run("echo no")
        assert run.exit_code is None and run.stdout == []
        assert run.error["evalue"] == f"the shell ended before it began: exit status {int(shell != 'true')}"


def test_a_run_does_not_suffer_from_a_shell_that_died_before_it(boxd):
    d = boxd()
    s = Session(d)
    for shell in ("first", "second"):
        s.out("A=1")
        pid = int(s.out("echo $$")[0])
        with d.connect() as c:
            assert c.request("GET", "/ping").status == 200
            d.signal(signal.SIGSTOP)
            c.send(c.head("POST", f"/session/{s.id}/run", body='{"command":"echo $A $$; exit 4"}'))
            os.kill(pid, signal.SIGKILL)
            procfs.wait_until(lambda: procfs.state(pid) == "Z")
            d.signal(signal.SIGCONT)
            run = ended(c.stream_response(), close=False)
        assert run.exit_code == 4 and run.stdout[0].split()[0] == "1" and run.stdout[0].split()[1] != str(pid), shell


def test_a_program_that_is_no_shell_is_an_error(impatient, shell="cat"):
    s = Session(impatient, shell=shell)
    begin = time.monotonic()
    run = s.run("echo no", timeout=300)
    assert not run.ok and "no" not in run.stdout and time.monotonic() - begin < 5
    s.delete()


# ---- the end of the daemon ----


@pytest.mark.parametrize("command", ["sleep 1000", "trap '' TERM INT; sleep 1000", "sleep 1000 & setsid sleep 1000 & sleep 1000"])
def test_a_shutdown_ends_runs_and_shells(boxd, command):
    d = boxd(limits=GRACES)
    s, idle = Session(d), Session(d)
    idle.out("sleep 1000 & echo $!")
    stream = running(s, f"echo ready $$; {command}")
    waiting = s.start("echo never")
    shells = [stream.words[0], idle.info()["pid"]]
    begin = time.monotonic()
    d.signal(signal.SIGTERM)
    run = ended(stream)
    assert run.error["evalue"] == "-1"
    assert ended(waiting).stdout == []
    assert d.wait() == 0 and time.monotonic() - begin < 5
    gone(*shells)


def test_during_a_shutdown_nothing_new_begins(boxd):
    d = boxd(limits={"proc_grace_ms": 1500})
    s = Session(d)
    stream = running(s, "trap '' TERM INT HUP; echo ready; sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'")
    with d.connect() as c:
        assert c.request("GET", "/ping").status == 200
        d.signal(signal.SIGTERM)
        d.wait_log("stopping")
        try:
            r = c.request("POST", f"/session/{s.id}/run", body='{"command":"echo no"}')
            assert r.status == 503, r
        except Closed:
            pass
    ended(stream)
    assert d.wait() == 0


def test_two_signals_end_it_at_once(boxd):
    d = boxd(limits={"proc_grace_ms": 60000})
    s = Session(d)
    stream = running(s, "echo ready $$; trap '' TERM INT; sh -c 'trap \"\" TERM INT; while :; do sleep 0.05; done'")
    d.signal(signal.SIGTERM)
    d.wait_log("stopping")
    begin = time.monotonic()
    d.signal(signal.SIGTERM)
    assert d.wait() == 0 and time.monotonic() - begin < 5
    stream.conn.close()
    gone(stream.words[0])


# ---- nothing stays behind ----


@pytest.mark.seconds(120)
def test_two_hundred_sessions_leave_nothing_behind(boxd):
    d = boxd(limits=GRACES, env={"ASAN_OPTIONS": "quarantine_size_mb=1"})

    def burst(n):
        for i in range(n):
            s = Session(d, shell="sh" if i % 2 else "bash", envs={"I": str(i)})
            assert s.run("echo $I; sleep 100 & (exit 3)" if i % 3 else "echo $I; exit 3").exit_code == 3
            assert s.delete().status == 200
        procfs.wait_until(lambda: d.children() == [])
        assert d.get("/session").json() == []
        # The connections of the requests end a little later than their clients.
        procfs.wait_until(lambda: len([v for v in d.fds().values() if v.startswith("socket:")]) == idle)
        assert int(procfs.status(d.pid)["Threads"]) <= 4, "the loop and the disk threads"
        return len(d.fds()), sorted(p.name for p in d.state.rglob("*"))

    idle = len([v for v in d.fds().values() if v.startswith("socket:")])
    before, rss = burst(20), d.rss_kib()
    assert burst(200) == before
    assert d.rss_kib() - rss < (20000 if sanitized() else 2000)


def test_shells_that_end_between_runs_are_noticed(impatient):
    s = Session(impatient)
    s.out("A=1")
    # Its state is reported after the end of a run; what comes after the next one has it surely.
    pid = int(s.out("echo $$")[0])
    os.kill(pid, signal.SIGKILL)
    procfs.wait_until(lambda: "pid" not in s.info(), 5)
    assert s.out("echo $A") == ["1"]
    s.out("(sleep 0.1; kill -9 $$) &")
    procfs.wait_until(lambda: "pid" not in s.info(), 5)
    assert s.out("echo $A") == ["1"]


def test_an_idle_session_uses_no_time(boxd):
    d = boxd()
    s = Session(d)
    pid = int(s.out("sleep 1000 & echo $$")[0])

    def spent():
        return [int(procfs.status(p)["voluntary_ctxt_switches"]) for p in (pid, d.pid)]

    def unchanged_for(seconds):
        before = spent()
        time.sleep(seconds)
        return sum(spent()) - sum(before) <= 1
    # The shell reports its state after the run.
    procfs.wait_until(lambda: unchanged_for(0.05))
    assert unchanged_for(0.7), "it wakes up for nothing"
