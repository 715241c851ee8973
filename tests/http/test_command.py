"""POST /command: what runs, as whom, where and with which environment (contract 1.19, 4.1, 4.6)."""

import grp
import os
import pwd
import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest

import procfs

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")


def printf(text):
    """A command that writes exactly these characters."""
    quoted = "".join(c if c.isalnum() or c in " %." else "\\%03o" % ord(c) for c in text)
    return f"printf '{quoted.replace('%', '%%')}'"


# ---- results ----


def test_echo_is_one_event_without_a_newline(shared):
    run = shared.run("echo hello world")
    assert run.stdout == ["hello world"] and run.stderr == [] and run.ok
    assert [e.type for e in run.events] == ["init", "ping", "stdout", "execution_complete"]
    assert isinstance(run.last["execution_time"], int) and run.last["execution_time"] >= 0
    status = shared.status(run.id)
    assert status["id"] == run.id and status["running"] is False and status["exit_code"] == 0


VECTORS = {
    "a\n\nb\n\n\nc\n": ["a", "\n", "b", "\n", "\n", "c"],
    "a\n\nb\n\n\nc\n\r\nd\n": ["a", "\n", "b", "\n", "\n", "c", "\n", "d"],
    "line1\nprog 10%\rprog 20%\rprog 30%\nlast\n": ["line1", "prog 10%", "prog 20%", "prog 30%", "last"],
    "tail1\r\ntail2\n": ["tail1", "tail2"],
    "tail": ["tail"],
    "one\ntail": ["one", "tail"],
    "a\r": ["a"],
    "\n": ["\n"],
    "\r\n": ["\n"],
    "\r\r\n\n": ["\n", "\n", "\n"],
    "": [],
}


@pytest.mark.parametrize("text", VECTORS, ids=repr)
def test_output_is_cut_into_lines(shared, text):
    assert shared.run(printf(text) if text else "true").stdout == VECTORS[text]


@pytest.mark.parametrize("text", [t for t in VECTORS if t], ids=repr)
def test_lines_of_stderr_are_cut_alike(shared, text):
    run = shared.run(printf(text) + " >&2")
    assert run.stderr == VECTORS[text] and run.stdout == []


@pytest.mark.parametrize("first,second,want", [
    ("a\r", "\nb\n", ["a", "b"]), ("\r", "\n", ["\n"]), ("a\r", "b\n", ["a", "b"]), ("ab", "c\n", ["abc"]),
    ("a\n", "\nb", ["a", "\n", "b"]),
], ids=repr)
def test_a_line_end_split_over_two_reads_is_one(shared, first, second, want):
    assert shared.run(f"{printf(first)}; sleep 0.1; {printf(second)}").stdout == want


def test_both_streams_are_told_apart(shared):
    run = shared.run("echo out; echo err >&2; echo out2; echo err2 >&2")
    assert (run.stdout, run.stderr) == (["out", "out2"], ["err", "err2"])


@pytest.mark.parametrize("code", [1, 2, 3, 42, 127, 128, 137, 255])
def test_an_exit_status_is_told_exactly(shared, code):
    run = shared.run(f"echo before; exit {code}")
    assert run.stdout == ["before"]
    assert run.error == {"ename": "CommandExecError", "evalue": str(code),
                         "traceback": [f"exit status {code}"]}
    status = shared.status(run.id)
    assert (status["exit_code"], status["error"]) == (code, f"exit status {code}")
    assert status.get("signal", 0) in (0, None, "")


@pytest.mark.parametrize("name,word", [("TERM", "terminated"), ("KILL", "killed"), ("INT", "interrupt"),
                                       ("HUP", "hangup"), ("SEGV", "segmentation fault")])
def test_a_signal_is_not_an_exit_status(shared, name, word):
    run = shared.run(f"kill -{name} $$")
    assert run.error["ename"] == "CommandExecError" and run.error["evalue"] == "-1"
    assert re.match(rf"^signal: {word}( \(core dumped\))?$", run.error["traceback"][0])
    status = shared.status(run.id)
    assert status["exit_code"] == -1 and status["error"] == run.error["traceback"][0]
    assert status["signal"]


def test_an_unknown_program_is_the_shells_127(shared):
    run = shared.run("no-such-program-xyz --flag")
    assert run.exit_code == 127 and "no-such-program-xyz" in run.stderr[0]
    assert run.error["ename"] == "CommandExecError"


def test_the_status_record_is_complete(shared):
    run = shared.run("echo 12345; echo 123 >&2; sleep 0.05; exit 4")
    s = shared.status(run.id)
    assert s["content"] == "echo 12345; echo 123 >&2; sleep 0.05; exit 4"
    assert (s["stdout_bytes"], s["stderr_bytes"]) == (6, 4)
    assert 50 <= s["duration_ms"] < 5000
    assert s["timed_out"] is False and s["oom_killed"] is False
    times = [datetime.fromisoformat(s[k].replace("Z", "+00:00")) for k in ("started_at", "finished_at")]
    assert all(t.tzinfo for t in times)
    assert 0.04 < (times[1] - times[0]).total_seconds() < 5
    assert abs(times[1].timestamp() - time.time()) < 30


def test_while_it_runs_the_record_says_so(shared):
    s = shared.start("sleep 100")
    ident = s.wait_for("init").text
    status = shared.status(ident)
    assert status["running"] is True
    assert "exit_code" not in status and "finished_at" not in status and "error" not in status
    assert shared.interrupt(ident).status == 200
    assert list(s)[-1].type == "error"
    s.conn.close()


def test_an_unknown_id_is_404_everywhere(shared):
    for ident in ("0" * 32, "nope", "x" * 500):
        for method, target in (("GET", f"/command/status/{ident}"), ("GET", f"/command/{ident}/logs"),
                               ("GET", f"/command/{ident}/events"), ("DELETE", f"/command?id={ident}")):
            r = shared.request(method, target)
            assert (r.status, r.json()["code"]) == (404, "COMMAND_NOT_FOUND"), target


def test_commands_are_listed(boxd):
    d = boxd()
    first = d.run("echo listed").id
    second = d.background("sleep 100")
    by_id = {row["id"]: row for row in d.get("/command").json()}
    assert set(by_id) == {first, second}
    assert by_id[first]["running"] is False and by_id[first]["exit_code"] == 0
    assert by_id[second]["running"] is True


def test_the_id_of_init_is_usable_before_anything_else_arrives(shared):
    for _ in range(20):
        s = shared.start("sleep 100")
        ident = s.next().text
        assert shared.status(ident)["running"] is True
        assert shared.interrupt(ident).status == 200
        assert list(s)[-1].type == "error"
        s.conn.close()


def test_ids_differ(shared):
    ids = {shared.run("true").id for _ in range(30)}
    assert len(ids) == 30 and all(re.match(r"^[0-9a-f]{32}$", i) for i in ids)


def test_many_at_once_do_not_mix(shared):
    streams = [shared.start(f"for i in 1 2 3; do echo {n}-$i; done; exit {n % 7}") for n in range(60)]
    for n, s in enumerate(streams):
        run = s.collect()
        s.conn.close()
        assert run.stdout == [f"{n}-{i}" for i in (1, 2, 3)] and run.exit_code == n % 7


# ---- the process ----


def test_the_shell_is_bash_where_there_is_one(shared):
    assert shared.run("echo $0 ${BASH_VERSION:+bash}").stdout == [
        "bash bash" if shutil.which("bash") else "sh"]


def path_without_bash(d):
    """A PATH with sh and a few tools and nothing else."""
    tools = d / "bin"
    tools.mkdir()
    for name in ("sh", "env", "sleep", "cat", "ls"):
        (tools / name).symlink_to(os.path.realpath(shutil.which(name)))
    return str(tools)


def test_without_bash_it_is_sh(boxd, tmp_path):
    d = boxd(env={"PATH": path_without_bash(tmp_path)})
    run = d.run("echo $0; echo ${BASH_VERSION:-none}; ls /proc/self/exe")
    assert run.stdout[0].endswith("sh") and not run.stdout[0].endswith("bash") and run.ok


def test_without_any_shell_the_start_fails_and_says_so(boxd, tmp_path):
    d = boxd(env={"PATH": str(tmp_path)})
    run = d.run("echo never")
    assert run.error and run.exit_code is None and run.error["traceback"] == [run.error["evalue"]]
    s = d.status(run.id)
    assert s["running"] is False and s["exit_code"] == 255 and s["error"]


def test_without_PATH_commands_still_run(boxd):
    assert boxd(env={"PATH": None}).run("echo fine; ls / >/dev/null").stdout == ["fine"]


def test_a_shell_can_be_chosen(shared):
    assert shared.run("echo $0", shell="sh").stdout == ["sh"]
    assert shared.run("echo $0", shell="/bin/sh").stdout in (["/bin/sh"], ["sh"])


def test_the_default_shell_can_be_configured(boxd):
    assert boxd(env={"BOXD_SHELL": "/bin/sh"}).run("echo ${BASH_VERSION:-posix} $0").stdout[0].endswith("sh")


def test_a_shell_that_is_missing_is_a_start_failure(shared):
    run = shared.run("true", shell="no-such-shell")
    assert run.exit_code is None and run.error["traceback"] == [run.error["evalue"]]
    assert "No such file" in run.error["evalue"]


def test_a_whole_script_may_be_given(shared):
    script = "set -eu\nf() {\n  printf '%s\\n' \"$1\"\n}\nf 'a  b'\nf \"it's\"\ncat <<'X'\n$HOME `x`\nX\n"
    assert shared.run(script).stdout == ["a  b", "it's", "$HOME `x`"]


def test_argv_runs_without_a_shell(shared):
    run = shared.run(argv=["printf", "%s|", "a b", "$HOME", "*", "", "'q'"])
    assert run.stdout == ["a b|$HOME|*||'q'|"]
    assert shared.status(run.id)["content"]


def test_argv_keeps_exit_statuses_and_bytes(shared):
    assert shared.run(argv=["sh", "-c", "exit 9"]).exit_code == 9
    assert shared.run(argv=["/bin/echo", "ä\u2028"]).stdout == ["ä\u2028"]


@pytest.mark.parametrize("argv,word", [
    (["no-such-program"], "No such file"), (["/etc/passwd"], "ermission denied"),
    (["/"], "ermission denied"),
], ids=str)
def test_a_program_that_cannot_start_is_no_exit_127(shared, argv, word):
    run = shared.run(argv=argv)
    assert [e.type for e in run.events if e.type != "ping"] == ["init", "error"]
    assert run.error["ename"] == "CommandExecError" and run.exit_code is None
    assert run.error["traceback"] == [run.error["evalue"]] and word in run.error["evalue"]
    s = shared.status(run.id)
    assert (s["running"], s["exit_code"]) == (False, 255) and word in s["error"]


def test_the_child_has_exactly_three_descriptors(boxd):
    d = boxd()
    held = [d.start("sleep 100") for _ in range(3)]
    others = [d.connect() for _ in range(20)]
    s = d.start(argv=["sleep", "101"])
    s.wait_for("init")
    pid = d.child_running("101")
    fds = procfs.fds(pid)
    assert set(fds) == {0, 1, 2}, fds
    assert fds[0] == "/dev/null" and fds[1].startswith("pipe:") and fds[2].startswith("pipe:")
    assert fds[1] != fds[2]
    for x in [*held, s]:
        x.conn.close()
    for c in others:
        c.close()


@pytest.mark.parametrize("prefix", [
    (), ("sh", "-c", "trap '' INT QUIT HUP PIPE TERM USR1 CHLD; exec \"$@\"", "sh"),
], ids=["plain", "all signals ignored on entry"])
def test_the_child_starts_with_default_signals(boxd, prefix):
    d = boxd(prefix=prefix)
    s = d.start(argv=["sleep", "102"])
    s.wait_for("init")
    status = procfs.status(d.child_running("102"))
    assert int(status["SigIgn"], 16) == 0 and int(status["SigBlk"], 16) == 0
    assert int(status["SigCgt"], 16) == 0
    s.conn.close()
    assert d.run("kill -INT $$").error["traceback"] == ["signal: interrupt"]
    assert d.run("yes | head -1").stdout == ["y"]


def test_the_child_leads_its_own_group(shared):
    s = shared.start(argv=["sleep", "103"])
    s.wait_for("init")
    pid = shared.child_running("103")
    assert os.getpgid(pid) == pid and os.getpgid(shared.pid) != pid
    assert procfs.status(pid)["Umask"] == "0022"
    s.conn.close()


def test_stdin_is_at_its_end(shared):
    assert shared.run("cat; echo end; read x || echo eof").stdout == ["end", "eof"]


def test_the_daemon_never_becomes_the_childs_terminal(shared):
    assert shared.run("test -t 0 || test -t 1 || test -t 2; echo $?").stdout == ["1"]


# ---- directory ----


def test_the_workspace_is_the_default_directory(shared):
    assert shared.run("pwd").stdout == [str(shared.root)]
    assert shared.run("pwd", cwd="").stdout == [str(shared.root)]
    assert shared.run("pwd", cwd=None).stdout == [str(shared.root)]


def test_a_directory_can_be_given(shared):
    assert shared.run("pwd", cwd="/tmp").stdout == ["/tmp"]
    assert shared.run("pwd", cwd="/").stdout == ["/"]


def test_a_relative_directory_starts_at_the_workspace(shared):
    (shared.root / "sub").mkdir(exist_ok=True)
    assert shared.run("pwd", cwd="sub").stdout == [str(shared.root / "sub")]


def test_tilde_and_variables_are_expanded(boxd, tmp_path):
    (tmp_path / "work space").mkdir()
    d = boxd(env={"HOME": str(tmp_path), "BASE": "/nonexistent"})
    want = [str(tmp_path / "work space")]
    assert d.run("pwd", cwd="~").stdout == [str(tmp_path)]
    assert d.run("pwd", cwd="~/work space").stdout == want
    assert d.run("pwd", cwd="$HOME/work space").stdout == want
    assert d.run("pwd", cwd="${HOME}/work space/").stdout[0].rstrip("/") == want[0]
    # A variable that only the request defines, and one it redefines.
    assert d.run("pwd", cwd="$WHERE/work space", envs={"WHERE": str(tmp_path)}).stdout == want
    assert d.run("pwd", cwd="$BASE/work space", envs={"BASE": str(tmp_path)}).stdout == want


@pytest.mark.parametrize("cwd,word", [
    ("/nonexistent/x", ""), ("/etc/passwd", ""),
    ("$UNDEFINED_B/$UNDEFINED_A", "UNDEFINED_A,UNDEFINED_B"),
])
def test_a_bad_directory_is_refused_before_anything_starts(shared, cwd, word):
    for background in (False, True):
        message = shared.refuse(400, "INVALID_REQUEST_BODY", command="true", cwd=cwd, background=background)
        assert word in message.replace(", ", ",")


def test_tilde_without_a_home_is_refused(boxd):
    boxd(env={"HOME": None}).refuse(400, "INVALID_REQUEST_BODY", command="true", cwd="~")


def test_PWD_agrees_with_the_directory(shared):
    assert shared.run("echo $PWD", cwd="/tmp").stdout == ["/tmp"]


# ---- environment ----


def test_variables_of_the_request_are_seen_once(shared):
    assert shared.run("echo ${VAR_X:-__EMPTY__}").stdout == ["__EMPTY__"]
    assert shared.run("echo ${VAR_X:-__EMPTY__}", envs={"VAR_X": "injected"}).stdout == ["injected"]
    assert shared.run("echo ${VAR_X:-__EMPTY__}").stdout == ["__EMPTY__"]


def test_values_arrive_unchanged(shared):
    values = {"A": "a b", "B": "$HOME `id` \"x\" 'y'", "C": "tab\tnl\nend", "D": "",
              "E": "ä\u2028€", "F": "x=y=z"}
    out = shared.run(argv=["env", "-0"], envs=values).stdout
    seen = dict(x.split("=", 1) for x in "\n".join(out).split("\0") if "=" in x)
    for k, v in values.items():
        assert seen[k] == v, k


def test_the_request_beats_the_file_and_that_the_daemon(boxd, tmp_path):
    envs = tmp_path / "envs"
    envs.write_text("ONE=file\nTWO=file\n")
    d = boxd(env={"EXECD_ENVS": str(envs), "ONE": "daemon", "TWO": "daemon", "THREE": "daemon"})
    assert d.run("echo $ONE $TWO $THREE", envs={"TWO": "request"}).stdout == ["file request daemon"]
    assert d.run("env | grep -c ^TWO=", envs={"TWO": "request"}).stdout == ["1"]


def test_the_envs_file_is_read_before_every_command(boxd, tmp_path):
    envs = tmp_path / "my envs"
    d = boxd(env={"EXECD_ENVS": "$WHERE/my envs", "WHERE": str(tmp_path), "OUTER": "deep"})
    assert d.run("echo ${A:-none}").stdout == ["none"], "a missing file is no error"
    envs.write_text("  # comment\n\n A=first\nB=in $OUTER ${OUTER} $NOPE.\nQ=\"quoted\"\n"
                    "C=x=y\nnonsense\nD=$A\n")
    assert d.run('echo "$A|$B|$Q|$C|$D"').stdout == ['first|in deep deep .|"quoted"|x=y|']
    envs.write_text("A=second")
    assert d.run("echo ${A:-none} ${B:-gone}").stdout == ["second gone"]
    d.run(f"echo A=third > '{envs}'")
    assert d.run("echo $A").stdout == ["third"]
    envs.unlink()
    assert d.run("echo ${A:-none}").stdout == ["none"]


def test_the_envs_file_may_use_the_home_directory(boxd, tmp_path):
    (tmp_path / "e").write_text("FROM=home")
    assert boxd(env={"EXECD_ENVS": "~/e", "HOME": str(tmp_path)}).run("echo $FROM").stdout == ["home"]


@pytest.mark.parametrize("kind", ["fifo", "directory", "binary"])
def test_an_odd_envs_file_stops_nothing(boxd, tmp_path, kind):
    path = tmp_path / "e"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(bytes(range(256)) * 10)
    d = boxd(env={"EXECD_ENVS": str(path)})
    assert d.run("echo runs").stdout == ["runs"]
    assert d.get("/ping").status == 200


# ---- users ----


@ROOT_ONLY
def test_a_user_brings_its_groups_home_and_name(shared):
    user = next(u for u in pwd.getpwall() if u.pw_uid not in (0,) and u.pw_name == "nobody")
    run = shared.run('id -u; id -g; id -G; echo "$HOME $USER $LOGNAME"', uid=user.pw_uid, cwd="/")
    groups = {user.pw_gid} | {g.gr_gid for g in grp.getgrall() if user.pw_name in g.gr_mem}
    assert run.stdout[:2] == [str(user.pw_uid), str(user.pw_gid)]
    assert set(map(int, run.stdout[2].split())) == groups
    assert run.stdout[3] == f"{user.pw_dir} {user.pw_name} {user.pw_name}"


@ROOT_ONLY
def test_a_group_replaces_the_primary_one(shared):
    run = shared.run("id -u; id -g", uid=pwd.getpwnam("nobody").pw_uid, gid=12345, cwd="/")
    assert run.stdout == [str(pwd.getpwnam("nobody").pw_uid), "12345"]


@ROOT_ONLY
def test_an_unknown_user_never_gets_group_0(shared):
    run = shared.run("id -u; id -g; id -G", uid=54321, cwd="/")
    assert run.stdout == ["54321", "54321", "54321"]


@ROOT_ONLY
def test_groups_of_the_daemon_do_not_reach_a_user(boxd):
    d = boxd(prefix=("setpriv", "--groups=0,4,27,4242"))
    assert "4242" in d.run("id -G").stdout[0].split()
    assert d.run("id -G", uid=54321, cwd="/").stdout == ["54321"]
    assert "4242" not in d.run("id -G", uid=pwd.getpwnam("nobody").pw_uid, cwd="/").stdout[0].split()


@ROOT_ONLY
def test_the_callers_home_wins_over_the_users(shared):
    run = shared.run("echo $HOME $USER", uid=54321, cwd="/", envs={"HOME": "/mine", "USER": "me"})
    assert run.stdout == ["/mine me"]


@ROOT_ONLY
def test_a_dropped_user_cannot_come_back(shared):
    run = shared.run("grep -E '^(Uid|Gid|CapEff|CapPrm)' /proc/self/status", uid=54321, cwd="/")
    rows = dict(x.split(":", 1) for x in run.stdout)
    assert set(rows["Uid"].split()) == {"54321"} and set(rows["Gid"].split()) == {"54321"}
    assert int(rows["CapEff"], 16) == 0 and int(rows["CapPrm"], 16) == 0


@ROOT_ONLY
def test_background_commands_change_users_too(shared):
    ident = shared.background("id -u", uid=54321, cwd="/")
    shared.finished(ident)
    assert shared.logs(ident)[0] == b"54321\n"


@ROOT_ONLY
def test_a_user_without_access_to_the_directory_is_a_start_failure(boxd, tmp_path):
    closed = Path(boxd().dir) / "closed"
    closed.mkdir(mode=0o700)
    run = boxd().run("pwd", uid=54321, cwd=str(closed))
    assert run.exit_code is None and "ermission denied" in run.error["evalue"]


@ROOT_ONLY
def test_without_privilege_a_change_of_user_is_a_start_failure(boxd):
    d = boxd()
    d.dir.chmod(0o755)
    d.root.chmod(0o777)
    d.state.chmod(0o777)
    low = boxd(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"), basics=False,
               env={"BOXD_LISTEN": "127.0.0.1:0", "BOXD_ROOT": d.root, "BOXD_STATE_DIR": d.state})
    assert low.run("id -u").stdout == ["65534"]
    run = low.run("id -u", uid=0)
    assert run.exit_code is None and "not permitted" in run.error["evalue"]
    assert low.run("id -u", uid=65534).exit_code in (0, None)


# ---- timeouts ----


def test_a_timeout_is_told_as_one(shared):
    run = shared.run("echo begin; sleep 100", timeout=300)
    assert run.stdout == ["begin"]
    assert (run.error["ename"], run.error["evalue"]) == ("CommandExecError", "-1")
    assert run.error["traceback"][0].startswith("timeout after")
    s = shared.status(run.id)
    assert s["timed_out"] is True and s["exit_code"] == -1 and "timeout after" in s["error"]
    assert 250 <= s["duration_ms"] < 5000


def test_a_timeout_that_is_not_reached_changes_nothing(shared):
    run = shared.run("sleep 0.1; echo done", timeout=60000)
    assert run.ok and shared.status(run.id)["timed_out"] is False
    assert shared.run("echo none", timeout=0).ok


def test_a_timeout_takes_the_children_too(boxd):
    d = boxd()
    run = d.run("sleep 201 & sleep 202 & echo $! ; wait", timeout=300)
    assert run.error["traceback"][0].startswith("timeout after")
    procfs.wait_until(lambda: d.children() == [])


def test_a_command_that_ignores_TERM_is_killed_after_its_timeout(boxd):
    d = boxd(limits={"proc_timeout_grace_ms": 200})
    begin = time.monotonic()
    run = d.run("trap '' TERM; echo deaf; while :; do sleep 0.05; done", timeout=200)
    assert run.error["evalue"] == "-1" and run.error["traceback"][0].startswith("timeout after")
    assert "killed" in run.error["traceback"][0]
    assert time.monotonic() - begin < 5


def test_a_command_that_exits_well_upon_its_timeout_still_timed_out(shared):
    run = shared.run("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", timeout=200)
    assert run.stdout == ["bye"]
    assert run.error["evalue"] == "-1" and run.error["traceback"][0].startswith("timeout after")
    assert shared.status(run.id)["timed_out"] is True


def test_background_commands_have_timeouts_too(shared):
    ident = shared.background("sleep 100", timeout=200)
    s = shared.finished(ident)
    assert s["timed_out"] is True and s["exit_code"] == -1
    assert "timeout after" in s["error"]
