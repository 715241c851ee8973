"""Shell sessions as a resource, and the event streams of their runs (contract 1.23-1.25, 2)."""

import json
import os
import re
import time
import uuid

import pytest

import procfs
from sessions import UUID, Session, ended, running

SSE = "text/event-stream"
ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="other users need root")


# ---- create ----


@pytest.mark.parametrize("body", [
    None, "", "null", "{}", " \n{}\n", '{"cwd":null,"envs":null,"uid":null,"gid":null,"user":null,"shell":null,"label":null}',
    '{"cwd":""}', '{"wat":[1,{}]}', "{} trailing",
], ids=repr)
def test_a_session_needs_nothing(shared, body):
    with shared.connect() as c:
        r = c.request("POST", "/session", body=body)
        assert (r.status, r.field("content-type")) == (200, "application/json; charset=utf-8"), r
        assert list(r.json()) == ["session_id"] and UUID.match(r.json()["session_id"])
        assert c.request("GET", f"/session/{r.json()['session_id']}").status == 200


def test_the_body_may_come_in_chunks(shared):
    with shared.connect() as c:
        c.send(b"POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"9\r\n{\"label\":\r\n6\r\n\"two\"}\r\n0\r\n\r\n")
        r = c.response()
        assert shared.get(f"/session/{r.json()['session_id']}").json()["label"] == "two"


def test_every_session_has_an_id_of_its_own(shared):
    assert len({Session(shared).id for _ in range(50)}) == 50


def test_no_shell_is_started_before_the_first_run(boxd):
    d = boxd()
    s = Session(d)
    assert d.children() == [] and "pid" not in s.info()


BAD = {
    "not JSON": "cwd=/",
    "cut off": '{"cwd":"/tmp"',
    "an array": "[]",
    "a string": '"/tmp"',
    "a number": "5",
    "true": "true",
    "number cwd": '{"cwd":5}',
    "array cwd": '{"cwd":["/"]}',
    "NUL in cwd": '{"cwd":"/\\u0000"}',
    "undefined variable in cwd": '{"cwd":"$NO_SUCH_VARIABLE_HERE/x"}',
    "array envs": '{"envs":["A=b"]}',
    "text envs": '{"envs":"A=b"}',
    "number in envs": '{"envs":{"A":5}}',
    "empty name in envs": '{"envs":{"":"x"}}',
    "= in a name": '{"envs":{"A=B":"x"}}',
    "NUL in a value": '{"envs":{"A":"\\u0000"}}',
    "text uid": '{"uid":"0"}',
    "negative uid": '{"uid":-1}',
    "uid over 32 bits": '{"uid":4294967296}',
    "uid that means none": '{"uid":4294967295}',
    "fractional uid": '{"uid":0.5}',
    "gid without uid": '{"gid":0}',
    "negative gid": '{"uid":0,"gid":-1}',
    "user and uid": '{"user":"root","uid":0}',
    "number user": '{"user":0}',
    "unknown user": '{"user":"nobody-of-this-name"}',
    "number shell": '{"shell":5}',
    "empty shell": '{"shell":""}',
    "NUL in shell": '{"shell":"sh\\u0000"}',
    "number label": '{"label":5}',
    "NUL in label": '{"label":"\\u0000"}',
    "too deep": '{"x":' + "[" * 80 + "]" * 80 + "}",
    "cwd outside that is missing": '{"cwd":"/no/such/place"}',
    "cwd outside that is a file": '{"cwd":"/etc/passwd"}',
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_to_create_with(shared, name):
    before = len(shared.get("/session").json())
    with shared.connect() as c:
        r = c.request("POST", "/session", body=BAD[name])
        assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
        assert len(r.json()["message"]) < 300
        assert c.request("GET", "/ping").status == 200
    assert len(shared.get("/session").json()) == before


@pytest.mark.parametrize("cwd", ["/".join(["abcdefg"] * 600), "x" * 256], ids=["path", "name"])
def test_a_cwd_that_is_too_long_is_a_bad_path(shared, cwd):
    r = shared.post("/session", {"cwd": cwd})
    assert (r.status, r.json()["code"]) == (400, "INVALID_PATH"), r


@pytest.mark.parametrize("cwd", ["new/deep/er", "ROOT/abs/olute", "ROOT/./dots/../dots", "never/../there", "ROOT/with space/€", "ROOT"])
def test_cwd_is_made_inside_the_roots(shared, cwd):
    where = cwd.replace("ROOT", str(shared.root))
    s = Session(shared, cwd=where)
    path = os.path.normpath(os.path.join(shared.root, where))
    assert os.path.isdir(path)
    assert s.out("pwd -P") == [os.path.realpath(path)]
    assert os.stat(path).st_mode & 0o777 == 0o755
    assert s.info()["cwd"] == path


def test_a_session_without_cwd_begins_in_the_workspace(shared):
    assert Session(shared).out("pwd") == [str(shared.root)]


@pytest.mark.parametrize("cwd", ["/", "/usr/bin", "/usr//bin/"])
def test_cwd_may_be_any_directory_that_exists(shared, cwd):
    assert Session(shared, cwd=cwd).out("pwd -P") == [os.path.realpath(cwd)]


def test_cwd_expands_home_and_variables(boxd):
    d = boxd(env={"HOME": "/usr", "WHERE": "bin"})
    assert Session(d, cwd="~/lib").out("pwd") == ["/usr/lib"]
    assert Session(d, cwd="~/$WHERE").out("pwd") == ["/usr/bin"]
    assert Session(d, cwd="/${PLACE}/lib", envs={"PLACE": "usr"}).out("pwd") == ["/usr/lib"]


def test_a_file_in_the_place_of_cwd_is_refused(shared):
    (shared.root / "file").write_text("x")
    for cwd in ("file", "file/below"):
        r = shared.post("/session", {"cwd": cwd})
        assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r


@needs_root
def test_cwd_is_made_with_the_rights_of_the_user(shared):
    r = shared.post("/session", {"cwd": "his", "uid": 65534})
    assert (r.status, r.json()["code"]) == (403, "PERMISSION_DENIED"), r
    (shared.root / "open").mkdir()
    (shared.root / "open").chmod(0o777)
    s = Session(shared, cwd="open/his", uid=65534, gid=12345)
    st = os.stat(shared.root / "open" / "his")
    assert (st.st_uid, st.st_gid) == (65534, 12345)
    assert s.out("touch f; stat -c %u:%g f; pwd") == ["65534:12345", str(shared.root / "open" / "his")]


@needs_root
@pytest.mark.parametrize("members,want", [
    ({"uid": 65534, "gid": 12345}, ["65534", "12345"]), ({"user": "nobody"}, ["65534", "65534"]),
    ({"uid": 54321}, ["54321", "54321"]), ({"user": "nobody", "gid": 7}, ["65534", "7"]), ({"uid": 0}, ["0", "0"]),
], ids=str)
def test_a_session_runs_as(shared, members, want):
    s = Session(shared, cwd="/", **members)
    assert s.out("id -u; id -g") == want
    assert s.run("exit 3").exit_code == 3
    assert s.out("id -u; id -g; echo x >/dev/stdout") == want + ["x"], "after a new shell"


@needs_root
def test_a_user_has_his_home_and_name(shared):
    assert Session(shared, user="nobody", cwd="/").out('echo "$HOME $USER $LOGNAME"') == ["/nonexistent nobody nobody"]


@pytest.mark.parametrize("key", ["envs", "env"])
def test_variables_are_there_and_exported(shared, key):
    s = Session(shared, **{key: {"A": "a 'b' $HOME `x`\n€", "EMPTY": "", "NONE": None, "PATH": os.environ["PATH"]}})
    want = ["a 'b' $HOME `x`", "€", "set", "unset"]
    ask = 'sh -c \'echo "$A"; echo "${EMPTY-un}set"; echo "${NONE-un}set"\''
    assert s.out(ask) == want
    assert s.run("exit 1").exit_code == 1
    assert s.out(ask) == want


def test_the_env_file_counts_for_sessions(boxd, tmp_path):
    (tmp_path / "envs").write_text("FROM_FILE=yes\nBOTH=file\n")
    d = boxd(env={"EXECD_ENVS": str(tmp_path / "envs")})
    assert Session(d, envs={"BOTH": "request"}).out("echo $FROM_FILE $BOTH") == ["yes request"]


@pytest.mark.parametrize("shell,name", [("sh", "sh"), ("bash", "bash"), ("/bin/bash", "bash"), ("dash", "dash"), ("/bin/sh", "sh")])
def test_the_shell_can_be_chosen(shared, shell, name):
    s = Session(shared, shell=shell)
    assert s.out("echo ${BASH_VERSION:+bash}") == (["bash"] if name == "bash" else ["\n"])
    assert s.info()["shell"] == name
    assert name in os.path.basename(os.readlink(f"/proc/{s.info()['pid']}/exe")) or name == "sh"


# ---- list, look at ----


def test_the_list_is_oldest_first_and_says_the_same_as_a_look_at_one(boxd):
    d = boxd()
    assert d.get("/session").json() == []
    all_of = [Session(d, label=f"number {i}") for i in range(5)]
    assert [s["session_id"] for s in d.get("/session").json()] == [s.id for s in all_of]
    assert [s["label"] for s in d.get("/session").json()] == [f"number {i}" for i in range(5)]
    assert d.get("/session").json() == [s.info() for s in all_of]
    assert all_of[2].delete().status == 200
    assert [s["label"] for s in d.get("/session").json()] == [f"number {i}" for i in (0, 1, 3, 4)]


def test_what_a_session_says_of_itself(boxd):
    d = boxd()
    s = Session(d, label="ü\u2028<x>", cwd="/usr")
    fresh = s.info()
    stamp = fresh.pop("created_at")
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", stamp)
    assert fresh == {"session_id": s.id, "label": "ü\u2028<x>", "running": False, "queued": 0, "runs": 0, "cwd": "/usr"}
    pid = int(s.out("cd bin; echo $$")[0])
    used = s.info()
    assert used.pop("used_at") >= used.pop("created_at") == stamp
    assert used == {**fresh, "runs": 1, "cwd": "/usr/bin", "shell": "bash", "pid": pid}
    assert s.run("exit 5").exit_code == 5
    gone = s.info()
    assert "pid" not in gone and gone["runs"] == 2 and gone["cwd"] == "/usr/bin"


def test_what_a_session_says_while_it_runs(boxd):
    d = boxd()
    s = Session(d)
    first = running(s, "echo ready; while [ ! -e go ]; do sleep 0.01; done")
    rest = [s.start(f"echo {i}") for i in range(3)]
    info = s.info()
    assert (info["running"], info["queued"], info["runs"]) == (True, 3, 0)
    (d.root / "go").touch()
    assert ended(first).ok and [ended(r).stdout for r in rest] == [["0"], ["1"], ["2"]]
    assert (s.info()["running"], s.info()["queued"], s.info()["runs"]) == (False, 0, 4)


def test_without_a_label_there_is_none(shared):
    assert "label" not in Session(shared).info()


# ---- delete ----

UNKNOWN = ["nope", str(uuid.UUID(int=0)), "0" * 32, "%2f", "..", "x" * 1000]


@pytest.mark.parametrize("ident", UNKNOWN, ids=lambda x: x[:20])
@pytest.mark.parametrize("method,tail,body", [("GET", "", None), ("DELETE", "", None), ("POST", "/run", '{"command":"true"}'),
                                              ("POST", "/run", "nonsense")])
def test_an_unknown_id_is_404(shared, ident, method, tail, body):
    r = shared.request(method, f"/session/{ident}{tail}", body=body)
    assert r.status == 404, r
    assert r.json()["code"] == "CONTEXT_NOT_FOUND" or ident == "..", r


def test_a_second_delete_is_404(shared):
    s = Session(shared)
    r = s.delete()
    assert (r.status, r.body, r.field("content-length")) == (200, b"", "0")
    for _ in range(2):
        r = s.delete()
        assert (r.status, r.json()["code"]) == (404, "CONTEXT_NOT_FOUND")
    assert s.get().status == 404
    s.refuse(404, "CONTEXT_NOT_FOUND", command="true")
    assert s.id not in {x["session_id"] for x in shared.get("/session").json()}


def test_a_delete_kills_the_shell(boxd):
    d = boxd()
    s = Session(d)
    pid = int(s.out("echo $$")[0])
    assert s.delete().status == 200
    procfs.wait_until(lambda: not procfs.alive(pid), 5)
    procfs.wait_until(lambda: d.children() == [], 5)


def test_the_id_may_be_percent_encoded(shared):
    s = Session(shared)
    encoded = "".join(f"%{ord(c):02x}" for c in s.id)
    assert shared.get(f"/session/{encoded}").json()["session_id"] == s.id


def test_an_interrupt_without_a_run_is_409(shared):
    s = Session(shared)
    for _ in range(2):
        r = s.interrupt()
        assert (r.status, r.json()["code"]) == (409, "COMMAND_NOT_RUNNING"), r
        assert s.out("echo still") == ["still"]


@pytest.mark.parametrize("method,target", [("PUT", "/session"), ("GET", "/session/x/run"), ("PATCH", "/session/x"),
                                           ("POST", "/session/x"), ("POST", "/session//run"), ("DELETE", "/session")])
def test_what_is_no_route(shared, method, target):
    assert shared.request(method, target).status in (404, 405)


# ---- run: the body ----

BAD_RUN = {
    "no body": "",
    "null": "null",
    "not JSON": "command=ls",
    "an array": "[]",
    "a string": '"ls"',
    "no command": "{}",
    "empty command": '{"command":""}',
    "null command": '{"command":null}',
    "number command": '{"command":5}',
    "NUL in the command": '{"command":"a\\u0000b"}',
    "empty code": '{"code":""}',
    "number code": '{"code":5}',
    "number cwd": '{"command":"ls","cwd":5}',
    "NUL in cwd": '{"command":"ls","cwd":"/\\u0000"}',
    "missing cwd": '{"command":"ls","cwd":"/no/such/place"}',
    "missing relative cwd": '{"command":"ls","cwd":"nothing-there"}',
    "cwd that is a file": '{"command":"ls","cwd":"/etc/passwd"}',
    "undefined variable in cwd": '{"command":"ls","cwd":"$NO_SUCH_VARIABLE_HERE"}',
    "text timeout": '{"command":"ls","timeout":"5"}',
    "negative timeout": '{"command":"ls","timeout":-1}',
    "negative timeout_ms": '{"command":"ls","timeout_ms":-1}',
    "fractional timeout": '{"command":"ls","timeout":1.5}',
    "huge timeout": '{"command":"ls","timeout":99999999999999999999}',
    "timeout over the limit": '{"command":"ls","timeout":2592000001}',
    "number merge_stderr": '{"command":"ls","merge_stderr":1}',
    "command one byte too long": json.dumps({"command": "#" * 131072}),
}


@pytest.mark.parametrize("name", BAD_RUN)
def test_refuses_a_run_with(shared, name):
    s = Session(shared)
    with shared.connect() as c:
        r = c.request("POST", f"/session/{s.id}/run", body=BAD_RUN[name])
        assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
        assert len(r.json()["message"]) < 300
        assert s.info()["runs"] == 0 and s.info()["running"] is False
        assert s.run("echo good", conn=c).stdout == ["good"]


TOLERATED = {
    "unknown keys": '{"command":"echo ok","background":true,"envs":{"x":[1,2]}}',
    "duplicate keys, the last wins": '{"command":"echo no","command":"echo ok"}',
    "keys in another case": '{"Command":"echo ok","CWD":"/"}',
    "null members": '{"command":"echo ok","cwd":null,"timeout":null,"timeout_ms":null,"code":null,"merge_stderr":null}',
    "bytes after the value": '{"command":"echo ok"} trailing',
    "the older names": '{"code":"echo ok","timeout_ms":60000}',
    "the older and the newer name": '{"command":"echo ok","code":"echo no"}',
    "the newer and the older name": '{"code":"echo no","command":"echo ok"}',
    "timeout 0": '{"command":"echo ok","timeout":0}',
    "longest timeout": '{"command":"echo ok","timeout":2592000000}',
    "empty cwd": '{"command":"echo ok","cwd":""}',
    "longest command": json.dumps({"command": "echo ok".ljust(131071)}),
}


@pytest.mark.parametrize("name", TOLERATED)
def test_tolerates(shared, name):
    s = Session(shared)
    with shared.connect() as c:
        stream = c.stream("POST", f"/session/{s.id}/run", body=TOLERATED[name])
        assert ended(stream).stdout == ["ok"]


@pytest.mark.parametrize("command", [" ", "\n\n", "\t", "# only a comment", ":", "\\\n"], ids=repr)
def test_a_command_that_does_nothing_succeeds(shared, command):
    run = Session(shared).run(command)
    assert run.ok and run.stdout == run.stderr == []


def test_the_older_timeout_counts(shared):
    begin = time.monotonic()
    run = Session(shared).run(code="sleep 20", timeout_ms=200)
    assert run.exit_code == -1 and time.monotonic() - begin < 5


# ---- run: the stream ----


@pytest.mark.parametrize("accept", [None, SSE], ids=["bare", "standard"])
def test_framing_and_promises_of_a_run(shared, accept):
    s = Session(shared)
    run = s.run("echo out; sleep 0.05; echo err >&2", accept=accept)
    kinds = [e.type for e in run.events if e.type != "ping"]
    assert kinds == ["init", "stdout", "stderr", "execution_complete"]
    assert run.events[1].type == "ping" and run.id == s.id == run.events[0].text
    assert type(run.last["execution_time"]) is int and 50 <= run.last["execution_time"] < 10000
    run = s.run("echo out; exit 7", accept=accept)
    assert run.id == s.id and run.stdout == ["out"]
    assert run.error == {"ename": "CommandExecError", "evalue": "7", "traceback": ["exit status 7"]}


def test_every_run_of_a_session_has_the_same_id(shared):
    s = Session(shared)
    assert {s.run(c).id for c in ("true", "false", "exit 3", "kill -9 $$", "true")} == {s.id}


def test_ids_of_events_grow(shared):
    s = Session(shared)
    first, second = (s.run("echo a; echo b; printf c", accept=SSE) for _ in range(2))
    for run in (first, second):
        ids = [e.id for e in run.events if e.type == "stdout"]
        assert len(ids) == 3 and ids == sorted(set(ids))
    assert run.stdout == ["a", "b", "c"]


def test_runs_may_share_a_connection(shared):
    s = Session(shared)
    with shared.connect() as c:
        for i in range(20):
            assert s.run(f"echo {i}", conn=c).stdout == [str(i)]
        assert c.request("GET", "/ping").status == 200


def test_init_and_a_ping_come_at_once_also_when_the_run_has_to_wait(boxd):
    d = boxd()
    s = Session(d)
    first = running(s, "echo ready; while [ ! -e go ]; do sleep 0.01; done")
    begin = time.monotonic()
    second = s.start("echo second")
    assert [second.next().type, second.next().type] == ["init", "ping"]
    assert time.monotonic() - begin < 2
    (d.root / "go").touch()
    assert ended(first).ok
    assert [e.type for e in second] == ["stdout", "execution_complete"]
    second.conn.close()


def test_pings_keep_waiting_and_running_streams_alive(boxd):
    d = boxd(limits={"stream_ping_ms": 50})
    s = Session(d)
    first, second = s.start("sleep 0.6"), s.start("true")
    for stream in (first, second):
        run = ended(stream)
        assert run.ok and len([e for e in run.events if e.type == "ping"]) >= 6


def test_output_arrives_when_it_is_written(shared):
    s = Session(shared)
    stream = s.start("echo now; sleep 100")
    begin = time.monotonic()
    assert stream.wait_for("stdout").text == "now"
    assert time.monotonic() - begin < 2
    stream.conn.close()


def test_the_end_comes_without_a_delay(shared):
    s = Session(shared)
    s.run("true")
    times = []
    for _ in range(5):
        begin = time.monotonic()
        s.run("echo quick")
        times.append(time.monotonic() - begin)
    assert min(times) < 0.1, f"a run takes {min(times):.3f} s: something waits"


def test_the_first_run_after_init_can_be_interrupted_at_once(shared):
    s = Session(shared)
    stream = s.start("sleep 30")
    assert stream.next().text == s.id
    assert s.interrupt().status == 200
    assert [e for e in stream][-1]["error"]["evalue"] == "-1"
    stream.conn.close()


# ---- the cwd of a run ----


def test_the_cwd_of_a_run_stays(shared):
    s = Session(shared, cwd="/tmp")
    assert s.out("pwd") == ["/tmp"]
    assert s.out("pwd", cwd="/usr") == ["/usr"]
    assert s.out("pwd") == ["/usr"]
    assert s.info()["cwd"] == "/usr"
    assert s.out("cd bin", cwd="/usr") == []
    assert s.out("pwd") == ["/usr/bin"]
    s.refuse(400, "INVALID_REQUEST_BODY", command="pwd", cwd="/nowhere")
    assert s.out("pwd") == ["/usr/bin"]
    assert s.run("exit 9", cwd="/").exit_code == 9
    assert s.run("pwd").ok


@pytest.mark.parametrize("name", ["with space", "a'b", 'a"b', "$HOME", "`x`", "-P", "~", "new\nline", "€", "*", "a\\b", "tail "])
def test_directories_of_any_name(shared, name):
    path = shared.root / "dirs" / name
    path.mkdir(parents=True, exist_ok=True)
    s = Session(shared, cwd=str(shared.root / "dirs"))
    assert s.run("cd './" + name.replace("'", "'\\''") + "'").ok
    assert "\n".join(s.out("pwd")) == str(path)
    assert s.info()["cwd"] == str(path)
    assert s.run("exit 1").exit_code == 1
    assert "\n".join(s.out("pwd")) == str(path), "after a new shell"
    if "$" not in name:
        s = Session(shared)
        assert "\n".join(s.out("pwd", cwd=str(path))) == str(path)


def test_the_directory_may_vanish(shared):
    (shared.root / "vanishing").mkdir()
    s = Session(shared, cwd="vanishing")
    assert s.out("echo there") == ["there"]
    (shared.root / "vanishing").rmdir()
    assert s.out("echo still here") == ["still here"]
    assert s.run("exit 4").exit_code == 4
    run = s.run("echo after")
    assert run.stdout == ["after"] or run.exit_code is None, run.events
    assert s.out("pwd", cwd="/usr") == ["/usr"]


# ---- the end-to-end list of the SDKs (contract 6.4, 02c) ----


def test_two_sessions_know_nothing_of_each_other(shared):
    a, b = Session(shared, cwd="/tmp"), Session(shared)
    assert a.out("pwd") == ["/tmp"]
    a.out("export WHO=a")
    b.out("export WHO=b")
    assert a.out("cd /usr; echo $WHO") == ["a"] and b.out("echo $WHO") == ["b"]
    assert a.out("pwd") == ["/usr"] and b.out("pwd") == [str(shared.root)]
    run = a.run("exit 7")
    assert run.error["evalue"] == "7" and not run.ok
    assert a.out("echo $WHO") == ["a"]
    assert a.delete().status == b.delete().status == 200
