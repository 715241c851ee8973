"""What is said on the WebSocket of a terminal, and what runs behind it (contract 3.4-3.6)."""

import shutil

import pytest

import procfs
from wsclient import REPORTER, Terminal, alive, create, delete, look, opened, silent
from wsraw import BINARY, PING, PONG, TEXT, close_frame, frame


# ---- control ----


def test_resize(shared):
    ident, t = opened(shared)
    t.ready()
    t.control("resize", cols=120, rows=40)
    assert t.ask("stty size") == "40 120"
    assert [look(shared, ident)[k] for k in ("cols", "rows")] == [120, 40]
    t.leave()


def test_a_program_hears_of_a_resize(shared):
    _, t = opened(shared, command="trap 'stty size' WINCH; echo up; while :; do sleep 100 & wait $!; done")
    t.read_until("up\r\n")
    t.control("resize", cols=101, rows=33)
    assert t.read_until("\r\n") == b"33 101\r\n"
    t.leave()


@pytest.mark.parametrize("members", [
    {"cols": 0, "rows": 10}, {"cols": 10, "rows": 0}, {"cols": -1, "rows": 10}, {"cols": 10, "rows": -40},
    {"cols": 10}, {"rows": 10}, {}, {"cols": "10", "rows": "10"}, {"cols": 1.5, "rows": 2},
    {"cols": 65536, "rows": 10}, {"cols": None, "rows": 5}, {"cols": 1e300, "rows": 5}, {"cols": [], "rows": {}}],
    ids=str)
def test_a_size_that_is_none_is_ignored(shared, members):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.control("resize", **members)
    silent(t)
    assert [look(shared, ident)[k] for k in ("cols", "rows")] == [80, 24]
    delete(shared, ident)
    t.read_exit()


@pytest.mark.parametrize("cols,want", [(65535, 65535), (65537, 1), (70000, 4464)])
def test_a_size_is_cut_to_sixteen_bits(shared, cols, want):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.control("resize", cols=cols, rows=10)
    silent(t)
    assert [look(shared, ident)[k] for k in ("cols", "rows")] == [want, 10]
    delete(shared, ident)
    t.read_exit()


def test_a_size_outlives_the_shell(shared):
    ident, t = opened(shared, command="stty size; head -n 1")
    t.wait_for("connected")
    t.control("resize", cols=99, rows=9)
    t.type("\n")
    assert t.read_exit() == 0
    t = Terminal(shared, ident, since=t.at)
    assert t.read_until("\r\n") == b"9 99\r\n"
    t.leave()


@pytest.mark.parametrize("how", ["frame", "key"])
def test_an_interrupt_ends_the_foreground_job_and_the_shell_lives(shared, how):
    ident, t = opened(shared)
    t.ready()
    shell = look(shared, ident)["pid"]
    t.type("sleep 100\n")
    procfs.wait_until(lambda: procfs.children(shell) and
                      b"sleep" in procfs.cmdline(procfs.children(shell)[0]))
    if how == "key":
        t.type("\3")
    else:
        t.control("signal", signal="SIGINT")
    alive(t)
    assert look(shared, ident)["pid"] == shell
    t.leave()


def test_an_interrupt_also_works_when_the_daemon_ignores_it(boxd):
    """Contract 7.3 C19."""
    d = boxd(prefix=["/bin/sh", "-c", "trap '' INT QUIT HUP; exec \"$@\"", "sh"])
    ident, t = opened(d, command="sleep 100")
    t.wait_for("connected")
    procfs.wait_until(lambda: look(d, ident)["running"])
    t.type("\3")
    assert t.read_exit() == -1
    assert look(d, ident)["signal"] == 2


@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_signals_arrive(shared, mode):
    (shared.root / "reporter.py").write_text(REPORTER)
    query = {"pty": "0"} if mode == "pipe" else None
    ident, t = opened(shared, query=query, command="exec /usr/bin/python3 reporter.py")
    t.read_until("up")
    for name in ("INT", "TERM", "QUIT", "HUP", "USR1", "USR2", "WINCH", "CONT", "TSTP"):
        for given in (f"SIG{name}", name):
            t.control("signal", signal=given)
            t.read_until(f"got-SIG{name}")
    t.control("signal", signal="SIGKILL")
    assert t.read_exit() == -1
    assert look(shared, ident)["signal"] == 9


@pytest.mark.parametrize("members", [
    {"signal": "SIGSTOP"}, {"signal": "SIGSEGV"}, {"signal": "9"}, {"signal": 9}, {"signal": "sigint"}, {"signal": ""},
    {"signal": "SIG"}, {}, {"signal": None}, {"signal": ["SIGKILL"]}, {"signal": "SIGKILL "}, {"signal": "SIGSIGKILL"}],
    ids=str)
def test_what_is_no_signal_for_a_terminal_is_ignored(shared, members):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.control("signal", **members)
    silent(t)
    assert look(shared, ident)["running"] is True
    delete(shared, ident)
    t.read_exit()


@pytest.mark.parametrize("text", ['{"type":"nonsense"}', "{}", '{"type":""}', '{"type":null}',
                                  '{"type":5}', '{"type":"PING"}', '{"data":"x"}', '{"type":"connected"}', '{"type":"pong"}'])
def test_an_unknown_type_is_told_and_harms_nobody(shared, text):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.say(text)
    got = t.wait_for("error")
    assert got.members["code"] == "INVALID_FRAME" and got.members["error"]
    silent(t)
    delete(shared, ident)
    t.read_exit()


@pytest.mark.parametrize("payload", [
    "", "x", "{", '{"type":"ping"', "ping", "[]", '["ping"]', "1", '"ping"', "\0", '{"type":"stdin"}',
    '{"type":"stdin","data":5}', '{"type":"stdin","data":""}', '{"type":"stdin","data":"\\u0000"}',
    "[" * 100000, b"", b"\x01x", b"\x02x", b"\x03x\n", b"0x\n", b"\xffexit\n", b"\0"],
    ids=lambda p: repr(p[:20]))
def test_what_means_nothing_is_ignored(shared, payload):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    if isinstance(payload, str):
        t.say(payload, TEXT)
    else:
        t.say(payload, BINARY)
    silent(t)
    assert t.output == b""
    delete(shared, ident)
    t.read_exit()


def test_pings_of_either_kind_are_answered(shared):
    _, t = opened(shared, command="cat")
    t.wait_for("connected")
    silent(t)
    t.put(frame(PING, b"are you there"))
    assert t.next() == (PONG, b"are you there")
    t.leave()


@pytest.mark.parametrize("mode", ["pty", "pipe"])
def test_the_end_of_input_ends_a_program_that_reads_to_it(shared, mode):
    _, t = opened(shared, query={"pty": "0"} if mode == "pipe" else None, command="cat; echo bye")
    t.wait_for("connected")
    t.type("line\n")
    t.control("eof")
    assert t.read_exit() == 0
    want = b"line\nbye\n" if mode == "pipe" else b"line\r\nline\r\nbye\r\n"
    assert bytes(t.output) == want


def test_input_behind_the_end_of_input_is_ignored(shared):
    _, t = opened(shared, query={"pty": "0"}, command="cat; echo bye; sleep 0.1")
    t.wait_for("connected")
    t.control("eof")
    t.control("eof")
    t.type("late\n")
    t.control("stdin", data="late\n")
    assert t.read_exit() == 0
    assert t.output == b"bye\n"


# ---- pipes ----


def test_pipes_keep_the_streams_apart(shared):
    _, t = opened(shared, query={"pty": "0"}, command="tty; echo err >&2; echo $TERM; exit 5", envs={"TERM": ""})
    assert t.read_exit() == 5
    assert bytes(t.errors) == b"err\n"
    rest = bytes(t.output).replace(b"err\n", b"", 1)
    assert rest == b"not a tty\n\n"


def test_a_shell_reads_its_commands_from_a_pipe(shared):
    ident, t = opened(shared, query={"pty": "0"})
    assert t.wait_for("connected").members["mode"] == "pipe"
    t.type("X=5\necho $((X+1)); echo $X >&2\n")
    t.read_until("6\n")
    t.control("resize", cols=5, rows=5)
    silent(t)
    t.type("exit 9\n")
    assert t.read_exit() == 9
    assert t.errors == b"5\n" and t.output.replace(b"5\n", b"") == b"6\n"


# ---- shells ----


def box(path, *programs):
    """A directory for PATH with these programs."""
    path.mkdir()
    for name in programs:
        (path / name).symlink_to(shutil.which(name))
    return str(path)


def test_an_image_without_bash_gets_sh(boxd, tmp_path):
    d = boxd(env={"PATH": box(tmp_path / "bin", "sh", "stty")})
    ident, t = opened(d, command="echo $0; stty size")
    assert t.read_exit() == 0 and t.output == b"sh\r\n24 80\r\n"
    _, t = opened(d)
    t.ready()
    assert t.ask("echo $0") == "sh"
    t.leave()


def test_an_image_without_any_shell_is_told_and_the_terminal_is_free(boxd, tmp_path):
    d = boxd(env={"PATH": box(tmp_path / "bin")})
    ident = create(d)
    for query in ({}, {"takeover": 1}, {"pty": 0}):
        t = Terminal(d, ident, **query)
        got = t.receive()
        assert (got.type, got.members["code"]) == ("error", "START_FAILED") and got.members["error"]
        t.expect_cut()
        procfs.wait_until(lambda: look(d, ident)["viewers"] == 0)
    got = look(d, ident)
    assert (got["running"], got["held"], got["output_offset"]) == (False, False, 0)
    r = d.post(f"/pty/{ident}/input", "x")
    assert (r.status, r.json()["code"]) == (500, "RUNTIME_ERROR")


def test_a_directory_that_has_gone_is_told_when_the_shell_starts(shared):
    ident = create(shared, cwd="soon-gone")
    (shared.root / "soon-gone").rmdir()
    t = Terminal(shared, ident)
    assert t.receive().members["code"] == "START_FAILED"
    t.expect_cut()
    (shared.root / "soon-gone").mkdir()
    Terminal(shared, ident).ready().leave()


# ---- frames that are not allowed ----


@pytest.mark.parametrize("raw,code", [
    (frame(TEXT, b'{"type":"ping"}', key=None), 1002), (frame(BINARY, b"\0x", key=None), 1002),
    (frame(BINARY, b"\0x", rsv=2), 1002), (frame(3, b""), 1002), (frame(11, b""), 1002),
    (frame(TEXT, b"\xff"), 1007), (frame(TEXT, b'{"type":"\xed\xa0\x80"}'), 1007),
    (frame(PING, b"x" * 126), 1002), (frame(PING, b"", fin=False), 1002), (frame(0, b"x"), 1002),
    (frame(8, b"x"), 1002), (close_frame(999), 1002), (close_frame(1005), 1002), (close_frame(1006), 1002),
    (close_frame(5000), 1002), (close_frame(1000, b"\xff"), 1007),
    (frame(BINARY, b"", announce=1 << 21), 1009), (frame(TEXT, b"", announce=1 << 62), 1009),
], ids=lambda x: repr(x[:8]) if isinstance(x, bytes) else x)
def test_a_frame_that_is_not_allowed_ends_the_connection_and_not_the_shell(shared, raw, code):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.put(raw)
    assert t.wait_for_close()[0] == code
    t.close()
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 0)
    assert look(shared, ident)["running"] is True
    t = Terminal(shared, ident)
    t.type("still here\n")
    t.read_until("still here")
    t.leave()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4001, 4999])
def test_a_client_may_close_with_any_good_code(shared, code):
    ident, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.put(close_frame(code, b"bye"))
    t.expect_close(code)
    t.close()
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 0)


def test_a_client_that_answers_no_ping_loses_the_terminal_and_not_the_shell(boxd):
    d = boxd(limits={"ws_ping_ms": 50, "ws_idle_ms": 300})
    ident, t = opened(d, command="cat")
    t.wait_for("connected")
    procfs.wait_until(lambda: look(d, ident)["viewers"] == 0, 5)
    assert look(d, ident)["running"] is True
    t.close()
    lively = Terminal(d, ident)
    lively.wait_for("connected")
    for _ in range(12):
        while lively.next()[0] != PING:
            pass
        lively.put(frame(PONG, b""))
    assert look(d, ident)["viewers"] == 1
    lively.leave()
