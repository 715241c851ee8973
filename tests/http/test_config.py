"""Command line, environment and configuration file (DESIGN 3.8, contract 5.1 to 5.4)."""

import errno
import json
import os
import re
import signal
import time

import pytest

import procfs
from boxd import BIN, ROOT, invoke

TOKEN = "configured-secret-42"


def printed(*args, **kw):
    status, out, err = invoke("--print-config", *args, **kw)
    assert status == 0, err
    return json.loads(out)


def write(tmp_path, whole, name="c.json"):
    path = tmp_path / name
    path.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return path


# ---- precedence ----


def test_defaults_are_the_documented_ones():
    c = printed()
    assert c["listen"] == ["127.0.0.1:44772"]
    assert c["root"] == "/workspace"
    assert c["log_level"] == "info"
    assert not c["allow_unauthenticated"]


def test_the_flag_beats_the_environment_and_that_the_file(tmp_path):
    path = write(tmp_path, {"root": "/from-file", "log_level": "warn", "listen": ["127.0.0.1:1"]})
    assert printed("--config", path)["root"] == "/from-file"
    env = {"BOXD_ROOT": "/from-env", "BOXD_LOG_LEVEL": "error"}
    c = printed("--config", path, env=env)
    assert (c["root"], c["log_level"], c["listen"]) == ("/from-env", "error", ["127.0.0.1:1"])
    c = printed("--config", path, "--root", "/from-flag", env=env)
    assert (c["root"], c["log_level"]) == ("/from-flag", "error")


def test_the_config_file_may_be_named_by_the_environment(tmp_path):
    path = write(tmp_path, {"root": "/from-file"})
    assert printed(env={"BOXD_CONFIG": path})["root"] == "/from-file"


def test_repeated_flags_add_up():
    c = printed("--listen", "127.0.0.1:1", "--listen=unix:/x", "--allow-host", "a", "--allow-host", "b",
                "--allow", "/srv:ro", "--allow", "/data")
    assert c["listen"] == ["127.0.0.1:1", "unix:/x"]
    assert c["allow_host"] == ["a", "b"]


def test_limits_come_from_the_file(tmp_path):
    path = write(tmp_path, {"limits": {"http_fields": 50, "proc_args": 7}})
    c = printed("--config", path)
    assert (c["limits"]["http_fields"], c["limits"]["proc_args"]) == (50, 7)


@pytest.mark.parametrize("how", ["file", "env", "execd", "config"])
def test_print_config_masks_the_token(tmp_path, how):
    (tmp_path / "t").write_text(TOKEN)
    args, env = [], {}
    if how == "file":
        args = ["--token-file", tmp_path / "t"]
    elif how == "config":
        args = ["--config", write(tmp_path, {"token": TOKEN})]
    else:
        env = {"BOXD_TOKEN" if how == "env" else "EXECD_ACCESS_TOKEN": TOKEN}
    status, out, err = invoke("--print-config", *args, env=env)
    assert status == 0 and TOKEN not in out + err
    assert json.loads(out)["token"] == "***"


# ---- what is refused ----

BAD = {
    "unknown flag": ["--wat"],
    "positional argument": ["wat"],
    "flag without its value": ["--listen"],
    "address without a port": ["--listen", "127.0.0.1"],
    "address with a name": ["--listen", "box.example:80"],
    "address with a large port": ["--listen", "127.0.0.1:65536"],
    "address with a bad port": ["--listen", "127.0.0.1:8x"],
    "unix address that is empty": ["--listen", "unix:"],
    "log level": ["--log-level", "loud"],
    "config that is missing": ["--config", "DIR/nothing"],
    "config that is a directory": ["--config", "DIR"],
    "token file that is missing": ["--token-file", "DIR/nothing"],
    "token file that is empty": ["--token-file", "DIR/empty"],
    "relative root": ["--root", ""],
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_with_status_2_and_one_line(tmp_path, name):
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o600)
    status, out, err = invoke(*[a.replace("DIR", str(tmp_path)) for a in BAD[name]])
    assert status == 2, (out, err)
    assert len(err.strip().splitlines()) == 1 and err.strip(), err


BAD_FILES = {
    "not JSON": "{nope",
    "empty": "",
    "an array": "[]",
    "trailing comma": '{"root":"/x",}',
    "unknown key": '{"rooot":"/x"}',
    "unknown limit": '{"limits":{"wat":1}}',
    "limit below its minimum": '{"limits":{"http_fields":1}}',
    "limit above its maximum": '{"limits":{"http_fields":129}}',
    "limit as text": '{"limits":{"http_fields":"50"}}',
    "limit with a fraction": '{"limits":{"http_fields":50.5}}',
    "limits as an array": '{"limits":[]}',
    "root as a number": '{"root":5}',
    "listen as a number": '{"listen":5}',
    "listen of numbers": '{"listen":[5]}',
    "bool as text": '{"allow_unauthenticated":"yes"}',
    "log level": '{"log_level":"loud"}',
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_refuses_a_bad_file_and_names_the_matter(tmp_path, name):
    path = write(tmp_path, BAD_FILES[name])
    status, _, err = invoke("--print-config", "--config", path)
    assert status == 2 and len(err.strip().splitlines()) == 1, err
    m = re.search(r'"(rooot|wat|http_fields|root|listen|allow_unauthenticated|log_level)"', BAD_FILES[name])
    if m and name not in ("trailing comma",):
        assert m[1] in err, f"the line does not name {m[1]}: {err}"


@pytest.mark.parametrize("env", [{"BOXD_LOG_LEVEL": "loud"}, {"BOXD_LISTEN": "nowhere"}], ids=str)
def test_refuses_a_bad_environment(env):
    status, _, err = invoke("--print-config", env=env)
    assert status == 2 and len(err.strip().splitlines()) == 1, err


def test_a_bad_start_never_prints_the_token(tmp_path):
    path = write(tmp_path, {"token": TOKEN, "wat": 1})
    _, out, err = invoke("--config", path)
    assert TOKEN not in out + err


# ---- asking ----


def rows():
    """(name, default, min, max) of every row of the limits table."""
    text = (ROOT / "include" / "boxd" / "limits.h").read_text()
    found = re.findall(r'LIMIT\((\w+), (\d+), (\d+), (\d+), "', text)
    assert len(found) > 40
    return [(n, int(a), int(b), int(c)) for n, a, b, c in found]


def test_print_limits_shows_every_row():
    status, out, _ = invoke("--print-limits")
    assert status == 0
    for name, default, low, high in rows():
        lines = [x for x in out.splitlines() if re.match(rf"{name}\b", x, re.I)]
        assert len(lines) == 1, name
        for number in (default, low, high):
            assert re.search(rf"\b{number}\b", lines[0]), (lines[0], number)


def test_every_limit_can_be_set_to_its_bounds(tmp_path):
    for pick in (2, 3):
        path = write(tmp_path, {"limits": {r[0].lower(): r[pick] for r in rows()}})
        status, out, err = invoke("--print-config", "--config", path)
        assert status == 0, err


def test_version_and_help():
    status, out, _ = invoke("--version")
    assert status == 0 and re.search(r"\d+\.\d+\.\d+", out)
    status, out, _ = invoke("--help")
    assert status == 0
    for flag in ("--listen", "--root", "--allow", "--state-dir", "--token-file", "--allow-unauthenticated",
                 "--allow-host", "--allow-origin", "--config", "--log-level", "--print-config", "--print-limits"):
        assert flag in out, flag


# ---- starting ----


def test_the_missing_root_is_created(tmp_path, boxd):
    root = tmp_path / "a" / "b"
    d = boxd("--listen", "127.0.0.1:0", "--root", root, "--state-dir", tmp_path, basics=False)
    assert root.is_dir()
    assert d.run("pwd").stdout == [str(root)]


def test_port_0_is_reported_as_the_real_port(daemon):
    assert daemon.address[1] > 1023
    assert daemon.get("/ping").status == 200


def test_the_environment_can_say_where_to_listen(tmp_path, boxd):
    d = boxd(basics=False, env={"BOXD_LISTEN": "127.0.0.1:0", "BOXD_ROOT": tmp_path / "r",
                                "BOXD_STATE_DIR": tmp_path})
    assert d.get("/ping").status == 200


def test_nothing_is_written_to_stdout(boxd):
    d = boxd()
    d.run("echo hi")
    d.stop()
    assert d.process.stdout.read() == b""


def test_the_state_directory_is_left_clean(boxd):
    d = boxd()
    d.run("seq 1 300000 >/dev/null; echo done")
    d.background("seq 1 300000")
    d.stop()
    assert [p for p in d.state.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_ends_it_with_status_0(boxd, number):
    d = boxd()
    d.signal(number)
    assert d.wait(5) == 0
    d.check_log()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE])
def test_other_signals_do_not(daemon, number):
    daemon.signal(number)
    assert daemon.get("/ping").status == 200


# ---- the reference's name ----


@pytest.fixture
def execd(tmp_path):
    link = tmp_path / "execd"
    link.symlink_to(BIN)
    return link


def test_called_execd_it_takes_the_references_flags(tmp_path, execd, boxd):
    for args in (["-port=0"], ["--port", "0"], ["-port", "0", "-log-level=7", "--jupyter-host=http://127.0.0.1:1"],
                 ["--port=0", "-graceful-shutdown-timeout=3s", "-jupyter-idle-poll-interval", "200ms"],
                 ["-port=0", "tail", "-f", "/dev/null"]):
        d = boxd(*args, binary=execd, basics=False,
                 env={"BOXD_ROOT": tmp_path / "r", "BOXD_STATE_DIR": tmp_path,
                      "EXECD_API_GRACE_SHUTDOWN": "3s"})
        assert d.address[0] == "0.0.0.0"
        d.addresses[0] = ("127.0.0.1", d.address[1])
        assert d.get("/ping").status == 200
        d.stop()


def test_called_execd_it_prints_the_references_defaults(execd):
    c = printed(binary=execd)
    assert c["listen"] == ["0.0.0.0:44772"]


@pytest.mark.parametrize("args", [["-port=x"], ["-port=70000"], ["-nope"], ["-jupyter-host=ftp://x"],
                                  ["-graceful-shutdown-timeout=3"], ["-log-level=x"]], ids=" ".join)
def test_called_execd_it_still_refuses_nonsense(execd, args):
    status, _, err = invoke(*args, binary=execd)
    assert status == 2 and err


# ---- the box's main process ----


def test_with_a_command_it_ends_with_the_commands_status(boxd):
    d = boxd(command=["sh", "-c", "sleep 0.3; exit 7"])
    assert d.wait() == 7
    d.check_log()


def test_signals_reach_the_main_process(boxd):
    d = boxd(command=["sh", "-c", "trap 'exit 9' TERM; touch ready; while :; do sleep 0.05; done"])
    procfs.wait_until(lambda: (d.root / "ready").exists() or (d.dir / "ready").exists())
    d.signal(signal.SIGTERM)
    assert d.wait() == 9
    d.check_log()


def test_a_main_process_that_a_signal_ends_gives_128_and_the_signal(boxd):
    d = boxd(command=["sleep", "100"])
    d.child_running("sleep")
    d.signal(signal.SIGTERM)
    assert d.wait() == 128 + signal.SIGTERM
    d.check_log()


def test_a_main_process_that_cannot_start_ends_the_start(tmp_path):
    begin = time.monotonic()
    status, _, err = invoke("--listen", "127.0.0.1:0", "--root", tmp_path / "r", "--state-dir", tmp_path, "--",
                            "/nonexistent/program")
    assert status not in (0, None) and os.strerror(errno.ENOENT) in err
    assert time.monotonic() - begin < 5


def test_no_log_level_hides_where_it_listens(boxd):
    d = boxd("--log-level", "error")
    assert d.get("/ping").status == 200
    assert d.run("true").ok
    assert [line for line in d.log if " info " in line and "listening" not in line] == []
