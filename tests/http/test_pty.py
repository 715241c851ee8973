"""The terminal resource: create, list, look at, delete (contract 1.31-1.33)."""

import json
import os
import re
import signal
from datetime import datetime, timezone
from pathlib import Path

import pytest

import procfs
from wsclient import Terminal, create, delete, look, opened

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
NOBODY = "00000000-0000-4000-8000-000000000000"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="changing users needs root")


def run(d, command, query=None, **members):
    """What a terminal with this command prints, without carriage returns."""
    _, t = opened(d, query=query, command=command, **members)
    assert t.read_exit() == 0, bytes(t.output)
    return bytes(t.output).replace(b"\r\n", b"\n").decode()


# ---- create ----


@pytest.mark.parametrize("body", [None, "", "{}", "null", '{"cwd":null,"command":null,"cols":null}',
                                  '{"cwd":"","command":""}', '{"nobody_knows":1}'], ids=repr)
def test_a_terminal_needs_no_body(shared, body):
    r = shared.request("POST", "/pty", body=body)
    assert r.status == 201 and list(r.json()) == ["session_id"]
    assert UUID.match(r.json()["session_id"])
    assert r.field("content-type").startswith("application/json")


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain", "application/octet-stream"])
def test_the_content_type_of_a_create_does_not_matter(shared, kind):
    r = shared.post("/pty", '{"label":"typed"}', {"Content-Type": kind} if kind else {})
    assert r.status == 201 and look(shared, r.json()["session_id"])["label"] == "typed"


@pytest.mark.parametrize("body", [
    "[]", "1", '"text"', "true", "{", '{"cwd":}', "nonsense", '{"cwd":1}', '{"cwd":[]}', '{"command":{}}',
    '{"command":true}', '{"shell":5}', '{"label":[]}', '{"user":7}',
    '{"cols":0}', '{"cols":-1}', '{"cols":65536}', '{"cols":80.5}', '{"cols":"80"}', '{"cols":1e99}',
    '{"rows":0}', '{"rows":-24}', '{"rows":65536}', '{"rows":[]}',
    '{"envs":[]}', '{"envs":"A=1"}', '{"envs":{"A":1}}', '{"envs":{"":"x"}}', '{"envs":{"A=B":"x"}}',
    '{"uid":-1}', '{"uid":4294967295}', '{"uid":"0"}', '{"uid":0.5}', '{"gid":5}', '{"uid":0,"gid":-1}',
    '{"uid":0,"gid":4294967295}', '{"user":"root","uid":0}', '{"user":"nobody-has-this-name"}',
    '{"command":"a\\u0000b"}', '{"envs":{"A":"\\u0000"}}', b'{"label":"\xff\x00"}',
], ids=repr)
def test_a_body_that_cannot_be_used_is_refused(shared, body):
    before = len(shared.get("/pty").json())
    r = shared.post("/pty", body)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
    assert len(shared.get("/pty").json()) == before


def test_a_deeply_nested_body_is_refused(shared):
    r = shared.post("/pty", '{"x":' + "[" * 200 + "]" * 200 + "}")
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY")


@pytest.mark.parametrize("cols,rows", [(1, 1), (65535, 65535), (132, 43)])
def test_the_first_size_is_that_of_the_terminal(shared, cols, rows):
    assert run(shared, "stty size", cols=cols, rows=rows) == f"{rows} {cols}\n"


def test_the_usual_size_is_80_by_24(shared):
    assert run(shared, "stty size") == "24 80\n"
    ident = create(shared)
    assert [look(shared, ident)[k] for k in ("cols", "rows")] == [80, 24]


def test_one_of_cols_and_rows_leaves_the_other_as_usual(shared):
    assert run(shared, "stty size", cols=100) == "24 100\n"
    assert run(shared, "stty size", rows=50) == "50 80\n"


def test_the_environment_is_the_daemons_with_what_was_asked_for(boxd):
    d = boxd(env={"FROM_DAEMON": "d", "BOTH": "daemon"})
    out = run(d, 'echo "$FROM_DAEMON|$BOTH|$MINE"', envs={"BOTH": "client", "MINE": "a $b `c` \"d\" ä"})
    assert out == 'd|client|a $b `c` "d" ä\n'


def test_env_is_another_name_for_envs(shared):
    assert run(shared, "echo $A", env={"A": "1"}) == "1\n"


@pytest.mark.parametrize("given,mine,want", [
    (None, None, "xterm-256color"), ("vt220", None, "vt220"), (None, "dumb", "dumb"), ("vt220", "ansi", "ansi"),
])
def test_TERM_is_set_unless_somebody_else_has(boxd, given, mine, want):
    d = boxd(env={"TERM": given})
    assert run(d, "echo $TERM", **({"envs": {"TERM": mine}} if mine else {})) == want + "\n"


def test_the_token_does_not_reach_the_shell(boxd):
    d = boxd(token="the-secret-of-the-box", env={"EXECD_ACCESS_TOKEN": None})
    assert "the-secret-of-the-box" not in run(d, "env; cat /proc/$PPID/environ 2>/dev/null; true")


def test_the_shell_starts_in_the_workspace(shared):
    assert run(shared, "pwd") == f"{shared.root}\n"


@pytest.mark.parametrize("cwd,want", [
    ("deep/er/dir", "{root}/deep/er/dir"), ("{root}/abs", "{root}/abs"), ("$WHERE/x", "{root}/sub/dir/x"),
    ("a/../b", "{root}/b"), (".", "{root}"),
    ("with space/ä", "{root}/with space/ä"),
])
def test_the_directory_is_expanded_and_made_with_the_terminal(boxd, cwd, want):
    d = boxd(env={"WHERE": "sub/dir"})
    want = Path(want.format(root=d.root))
    ident = create(d, cwd=cwd.format(root=d.root), command="pwd")
    assert want.is_dir(), "not there before the shell is"
    assert os.path.normpath(look(d, ident)["cwd"]) == str(want)
    t = Terminal(d, ident)
    assert t.read_exit() == 0 and t.output.decode() == f"{want}\r\n"


def test_a_directory_named_by_the_requests_own_variables_has_to_be_there(shared):
    members = {"cwd": "$MINE/y", "envs": {"MINE": "of/request"}}
    r = shared.post("/pty", members)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r
    (shared.root / "of/request/y").mkdir(parents=True)
    assert run(shared, "pwd", **members) == f"{shared.root}/of/request/y\n"


def test_home_is_expanded(boxd, tmp_path):
    d = boxd(env={"HOME": str(tmp_path)})
    assert run(d, "pwd", cwd="~/in/home") == f"{tmp_path}/in/home\n"


def test_a_directory_outside_the_roots_is_not_made_and_none_is_no_place(shared):
    outside = f"/var/lib/boxd-test-{os.getpid()}"
    r = shared.post("/pty", {"cwd": outside})
    assert r.status in (400, 403), r
    assert not Path(outside).exists()


def test_a_directory_outside_the_roots_that_is_there_will_do(shared):
    assert run(shared, "pwd", cwd="/usr") == "/usr\n"


@pytest.mark.parametrize("cwd", ["file", "file/below", "x" * 300, "/dev/null"])
def test_what_cannot_be_a_directory_is_refused(shared, cwd):
    (shared.root / "file").write_text("")
    before = len(shared.get("/pty").json())
    r = shared.post("/pty", {"cwd": cwd})
    assert 400 <= r.status < 500, r
    assert len(shared.get("/pty").json()) == before


def test_one_object_answers_a_directory_that_cannot_be(shared):
    """Contract 7.3 C11: the reference sends an error and an id."""
    (shared.root / "file").write_text("")
    r = shared.post("/pty", {"cwd": "file/x"})
    assert set(json.loads(r.body)) >= {"code", "message"}


def test_a_link_out_of_the_roots_makes_nothing_behind_it(shared, tmp_path):
    (shared.root / "out").symlink_to("/var/lib")
    r = shared.post("/pty", {"cwd": f"out/boxd-test-{os.getpid()}"})
    assert r.status in (400, 403), r
    assert not Path(f"/var/lib/boxd-test-{os.getpid()}").exists()


@pytest.mark.parametrize("shell,want", [(None, "bash"), ("sh", "sh"), ("/bin/sh", "sh"), ("bash", "bash")])
def test_the_shell_is_bash_or_what_was_asked_for(shared, shell, want):
    members = {"shell": shell} if shell else {}
    assert run(shared, "echo $0; true", **members) == want + "\n"


def test_bash_reads_no_startup_files(boxd, tmp_path):
    for name in (".bashrc", ".profile", ".bash_profile"):
        (tmp_path / name).write_text("echo startup\n")
    d = boxd(env={"HOME": str(tmp_path), "BASH_ENV": None})
    _, t = opened(d)
    t.ready()
    assert b"startup" not in t.output
    t.leave()


def test_a_shell_that_is_not_there_is_told_when_it_starts(shared):
    ident = create(shared, shell="no-such-shell")
    t = Terminal(shared, ident)
    got = t.wait_for("error")
    assert got.members["code"] == "START_FAILED" and got.members["error"]
    t.expect_cut()


@ROOT_ONLY
@pytest.mark.parametrize("members,uid,gid", [
    ({"uid": 65534}, 65534, None), ({"uid": 12345, "gid": 54321}, 12345, 54321), ({"user": "nobody"}, 65534, None),
    ({"user": "65534"}, 65534, None), ({"uid": 0}, 0, 0),
], ids=str)
def test_a_terminal_may_be_somebody_elses(shared, members, uid, gid):
    out = run(shared, "id -u; id -g; echo x > /dev/tty; stat -c %u $(tty)", cwd="/", **members).split()
    assert int(out[0]) == uid and (gid is None or int(out[1]) == gid), out
    assert out[1] != "0" or uid == 0
    assert out[2] == "x", "its own terminal is open to it"
    assert int(out[3]) == uid


@ROOT_ONLY
def test_a_directory_that_is_made_belongs_to_the_user(shared):
    shared.root.chmod(0o777)
    create(shared, cwd="theirs/deep", uid=65534)
    made = shared.root / "theirs"
    assert made.stat().st_uid == 65534 and (made / "deep").stat().st_uid == 65534


def test_label_and_command_are_told_and_may_be_anything(shared):
    ident = create(shared, label="Lädchen \"1\"\n", command="echo ä")
    got = look(shared, ident)
    assert (got["label"], got["command"]) == ("Lädchen \"1\"\n", "echo ä")


# ---- look at ----


def test_a_fresh_terminal_does_not_run(shared):
    ident = create(shared)
    got = look(shared, ident)
    assert (got["session_id"], got["running"], got["output_offset"]) == (ident, False, 0)
    assert (got["oldest_offset"], got["mode"], got["held"], got["viewers"]) == (0, "pty", False, 0)
    assert got["cwd"] == str(shared.root)
    assert not {"pid", "exit_code", "signal", "label", "command"} & set(got)
    created = datetime.fromisoformat(got["created_at"].replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - created).total_seconds()) < 20


def test_a_running_terminal_says_so(shared):
    ident, t = opened(shared)
    t.ready()
    got = look(shared, ident)
    assert got["running"] is True and got["held"] is True and got["viewers"] == 1
    assert got["output_offset"] >= t.at
    assert t.ask("echo $$") == str(got["pid"])
    t.leave()
    assert procfs.wait_until(lambda: look(shared, ident)["held"] is False)
    assert look(shared, ident)["running"] is True and look(shared, ident)["viewers"] == 0


@pytest.mark.parametrize("command,code,signo", [
    ("true", 0, None), ("exit 42", 42, None), ("kill -9 $$", -1, 9), ("kill -TERM $$", -1, 15)])
def test_how_it_ended_is_told(shared, command, code, signo):
    ident, t = opened(shared, command=command)
    assert t.read_exit() == code
    got = look(shared, ident)
    assert (got["running"], got["exit_code"], got.get("signal")) == (False, code, signo)
    assert "pid" not in got and got["held"] is False


def test_the_list_has_the_oldest_first_and_says_the_same_as_each(boxd):
    d = boxd()
    assert d.get("/pty").json() == []
    idents = [create(d, label=str(i)) for i in range(5)]
    assert d.get("/pty").json() == [look(d, i) for i in idents]
    delete(d, idents[2])
    assert [p["label"] for p in d.get("/pty").json()] == ["0", "1", "3", "4"]


@pytest.mark.parametrize("path", ["", "/{id}"])
def test_HEAD_is_answered_like_GET(shared, path):
    path = "/pty" + path.format(id=create(shared))
    r, h = shared.get(path), shared.request("HEAD", path)
    assert (h.status, h.body) == (200, b"")
    assert h.field("content-type") == r.field("content-type")


@pytest.mark.parametrize("ident", [NOBODY, "x", "%2e%2e", "0" * 36, NOBODY + "0", "a%2Fb", "x" * 2000])
@pytest.mark.parametrize("method,rest,body", [
    ("GET", "", None), ("DELETE", "", None), ("GET", "/ws", None), ("GET", "/output", None),
    ("POST", "/input", "x"), ("POST", "/resize", '{"cols":1,"rows":1}'), ("POST", "/signal", '{"signal":"INT"}'),
])
def test_an_unknown_terminal_is_404(shared, method, rest, body, ident):
    r = shared.request(method, f"/pty/{ident}{rest}", body=body)
    assert r.status == 404 and r.json()["code"] in ("CONTEXT_NOT_FOUND", "NOT_FOUND"), r
    if len(ident) == 36:
        assert r.json()["code"] == "CONTEXT_NOT_FOUND"


def test_ids_are_taken_as_they_are(shared):
    ident = create(shared)
    assert shared.get(f"/pty/{ident.upper()}").status == (404 if ident.upper() != ident else 200)
    assert shared.get(f"/pty/{ident[:-1]}").status == 404
    assert shared.get(f"/pty/%{ord(ident[0]):02x}{ident[1:]}").status == 200


@pytest.mark.parametrize("method,path,allow", [
    ("PUT", "/pty", {"GET", "HEAD", "POST"}), ("DELETE", "/pty", {"GET", "HEAD", "POST"}),
    ("POST", "/pty/x", {"GET", "HEAD", "DELETE"}), ("POST", "/pty/x/ws", {"GET", "HEAD"}),
    ("GET", "/pty/x/input", {"POST"}), ("GET", "/pty/x/resize", {"POST"}), ("DELETE", "/pty/x/output", {"GET", "HEAD"}),
])
def test_other_methods_are_405(shared, method, path, allow):
    r = shared.request(method, path, body="" if method != "GET" else None)
    assert r.status == 405 and {m.strip() for m in r.field("allow").split(",")} == allow


# ---- delete ----


def test_a_terminal_that_never_ran_is_deleted_once(shared):
    ident = create(shared)
    delete(shared, ident)
    for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/ws")):
        r = shared.request(method, f"/pty/{ident}{path}")
        assert (r.status, r.json()["code"]) == (404, "CONTEXT_NOT_FOUND"), r


def test_a_delete_ends_the_shell_and_tells_who_is_connected(shared):
    ident, t = opened(shared)
    t.ready()
    pid = look(shared, ident)["pid"]
    delete(shared, ident)
    assert shared.get(f"/pty/{ident}").status == 404, "forgotten at once"
    assert t.read_exit(3) == -1
    assert not procfs.alive(pid)


def test_a_delete_of_a_terminal_nobody_looks_at_ends_its_shell(shared):
    ident, t = opened(shared)
    t.ready()
    pid = look(shared, ident)["pid"]
    t.leave()
    delete(shared, ident)
    procfs.wait_until(lambda: procfs.state(pid) is None, 3)


@pytest.mark.parametrize("command", [
    "trap '' HUP TERM INT; echo up; while :; do sleep 100; done",
    "setsid sleep 4711 & echo up; wait",
    "setsid sh -c 'trap \"\" HUP TERM; sleep 4712; :' & echo up; sleep 4713",
    "sleep 4714 & kill -STOP $!; echo up; kill -STOP $$",
], ids=["ignores", "setsid", "deaf", "stopped"])
def test_a_delete_reaches_what_does_not_want_to_go(shared, command):
    def offspring():
        """The shell of the terminal and all below it, by the mark in their environment."""
        mark, found = ident.encode(), []
        for name in os.listdir("/proc"):
            try:
                if name.isdigit() and mark in procfs.environ(int(name)) and procfs.alive(int(name)):
                    found.append(int(name))
            except (OSError, ProcessLookupError):
                pass
        return found
    ident = "mark-%d" % os.getpid() + str(hash(command) & 0xffff)
    pty, t = opened(shared, command=command, envs={"MARK": ident})
    t.read_until("up\r\n")
    procfs.wait_until(offspring)
    delete(shared, pty)
    assert t.read_exit(3) == -1
    procfs.wait_until(lambda: not offspring(), 3)


def test_a_delete_while_output_floods_answers_at_once(shared):
    ident, t = opened(shared, command="yes")
    t.wait_for("stdout")
    delete(shared, ident)
    assert t.read_exit(5) == -1


def test_a_shell_that_was_killed_leaves_its_terminal(shared):
    ident, t = opened(shared)
    t.ready()
    os.kill(look(shared, ident)["pid"], signal.SIGKILL)
    assert t.read_exit() == -1
    got = look(shared, ident)
    assert (got["running"], got["exit_code"], got["signal"]) == (False, -1, 9)
    t = Terminal(shared, ident, since=got["output_offset"])
    t.ready()
    assert look(shared, ident)["running"] is True
    t.leave()


def test_the_documentation_of_the_interface_names_every_route(shared):
    paths = shared.get("/openapi.json").json()["paths"]
    assert {p: set(paths[p]) for p in paths if p.startswith("/pty")} == {
        "/pty": {"post", "get"}, "/pty/{id}": {"get", "delete"}, "/pty/{id}/ws": {"get"},
        "/pty/{id}/output": {"get"}, "/pty/{id}/input": {"post"}, "/pty/{id}/resize": {"post"},
        "/pty/{id}/signal": {"post"}}


def test_a_terminal_has_the_members_that_are_documented(shared):
    spec = shared.get("/openapi.json").json()["components"]["schemas"]["Pty"]["properties"]
    ident, t = opened(shared, label="x", command="kill -9 $$")
    assert t.read_exit() == -1
    assert set(look(shared, ident)) <= set(spec)
    assert set(look(shared, create(shared))) <= set(spec)
