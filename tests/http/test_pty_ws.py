"""The WebSocket of a terminal: handshake, connection, replay, takeover, observers (contract 3)."""

import threading

import pytest

import procfs
from boxd import sanitized
from wsclient import (Terminal, alive, create, delete, handshake, look, opened, refused, silent,
                      target)
from wsraw import BINARY, close_frame, deflated, fragments, frame

NOBODY = "00000000-0000-4000-8000-000000000000"


# ---- before the upgrade ----


@pytest.mark.parametrize("query", ["", "?takeover=1", "?observe=1", "?since=x"])
@pytest.mark.parametrize("valid", [True, False])
def test_an_unknown_terminal_is_404_whatever_the_handshake(shared, query, valid):
    fields = handshake() if valid else []
    refused(shared, f"/pty/{NOBODY}/ws{query}", 404, "CONTEXT_NOT_FOUND", fields)


@pytest.mark.parametrize("query", ["", "?takeover=0", "?takeover=true", "?takeover=", "?takeover=11",
                                   "?takeover=%31%31"])
@pytest.mark.parametrize("valid", [True, False])
def test_a_held_terminal_is_409_before_the_handshake_is_looked_at(shared, query, valid):
    ident, t = opened(shared)
    t.ready()
    fields = handshake() if valid else handshake(Sec_WebSocket_Key=None)
    refused(shared, f"/pty/{ident}/ws{query}", 409, "ALREADY_CONNECTED", fields)
    alive(t)
    t.leave()


@pytest.mark.parametrize("changed", [
    {"Upgrade": None}, {"Connection": None}, {"Connection": "keep-alive"}, {"Upgrade": "h2c"},
    {"Upgrade": None, "Connection": None}], ids=str)
def test_a_takeover_that_is_no_upgrade_is_409_and_harms_nobody(shared, changed):
    ident, t = opened(shared)
    t.ready()
    refused(shared, target(ident, takeover=1), 409, "ALREADY_CONNECTED", handshake(**changed))
    alive(t)
    t.leave()


BAD_HANDSHAKES = [
    {"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Key": "short"}, {"Sec_WebSocket_Key": ""},
    {"Sec_WebSocket_Version": None}, {"Sec_WebSocket_Version": "12"}, {"Sec_WebSocket_Version": "8"},
    {"Sec_WebSocket_Version": "13x"}, {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ"}]


@pytest.mark.parametrize("changed", BAD_HANDSHAKES, ids=str)
def test_a_takeover_with_a_bad_handshake_is_400_and_harms_nobody(shared, changed):
    ident, t = opened(shared)
    t.ready()
    refused(shared, target(ident, takeover=1), 400, "BAD_REQUEST", handshake(**changed))
    alive(t)
    t.leave()


@pytest.mark.parametrize("changed", BAD_HANDSHAKES + [
    {"Upgrade": None}, {"Connection": None}, {"Upgrade": "h2c"}, {"Connection": "close"}], ids=str)
def test_a_bad_handshake_is_400_and_leaves_the_terminal_free(shared, changed):
    ident = create(shared)
    refused(shared, target(ident), 400, "BAD_REQUEST", handshake(**changed))
    got = look(shared, ident)
    assert (got["running"], got["held"], got["viewers"]) == (False, False, 0)
    Terminal(shared, ident).ready().leave()


@pytest.mark.parametrize("method", ["HEAD"])
def test_the_other_method_that_reaches_it_is_no_handshake(shared, method):
    ident = create(shared)
    assert shared.request(method, target(ident), handshake()).status == 400


def test_an_old_http_is_no_handshake(shared):
    ident = create(shared)
    with shared.connect() as c:
        r = c.request("GET", target(ident), handshake(), version="1.0")
    assert (r.status, r.json()["code"]) == (400, "BAD_REQUEST")


def test_field_values_are_read_as_lists_without_regard_to_case(shared):
    ident = create(shared)
    t = Terminal(shared, ident)
    t.leave()
    with shared.connect() as c:
        c.send(c.head("GET", target(ident), handshake(Upgrade="WebSocket", Connection="keep-alive, UPGRADE")))
        assert c.response_head().status == 101


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
def test_a_page_of_somebody_else_is_kept_out(shared, origin):
    ident = create(shared)
    refused(shared, target(ident), 403, "FORBIDDEN", handshake(Origin=origin))
    assert look(shared, ident)["running"] is False


def test_a_page_of_the_daemons_own_is_let_in(shared):
    host = "%s:%d" % shared.address
    Terminal(shared, create(shared), fields=[("Origin", f"http://{host}")]).ready().leave()


def test_an_origin_can_be_allowed(boxd):
    d = boxd("--allow-origin", "https://app.example")
    Terminal(d, create(d), fields=[("Origin", "https://app.example")]).ready().leave()


def test_the_token_is_asked_for_before_anything_else(boxd):
    d = boxd(token="the-token-of-this-box")
    ident = create(d)
    d.token, token = None, d.token
    for path in (target(ident), target(ident, takeover=1), target(NOBODY)):
        refused(d, path, 401, "UNAUTHORIZED")
    t = Terminal(d, ident, fields=[("Authorization", f"Bearer {token}")])
    t.ready().leave()


def test_no_extension_and_no_protocol_is_agreed_upon(shared):
    ident = create(shared)
    t = Terminal(shared, ident, fields=[("Sec-WebSocket-Protocol", "tty"),
                                        ("Sec-WebSocket-Extensions", "permessage-deflate")])
    assert t.reply.field("sec-websocket-extensions") is None
    assert t.reply.field("sec-websocket-protocol") is None
    t.ready()
    t.put(frame(BINARY, deflated(b"\0true\n"), rsv=4))
    assert t.wait_for_close()[0] == 1002


# ---- connected ----


def test_the_connected_frame(shared):
    ident, t = opened(shared)
    got = t.wait_for("connected").members
    assert (got["session_id"], got["mode"], got["offset"]) == (ident, "pty", 0)
    assert "observer" not in got
    t.leave()


@pytest.mark.parametrize("value,mode", [("0", "pipe"), ("1", "pty"), ("", "pty"), ("00", "pty"), ("false", "pty")])
def test_pty_0_and_nothing_else_means_pipes(shared, value, mode):
    ident, t = opened(shared, query={"pty": value}, command="cat")
    assert t.wait_for("connected").members["mode"] == mode
    assert look(shared, ident)["mode"] == mode
    delete(shared, ident)
    t.read_exit()


def test_later_connections_inherit_the_mode(shared):
    ident, t = opened(shared, query={"pty": "0"}, command="cat")
    t.wait_for("connected")
    t.leave()
    t = Terminal(shared, ident)
    assert t.wait_for("connected").members["mode"] == "pipe"
    t.control("eof")
    assert t.read_exit() == 0
    t = Terminal(shared, ident)
    assert t.wait_for("connected").members["mode"] == "pty", "whoever starts it again says how"
    t.control("eof")
    assert t.read_exit() == 0


def test_what_is_typed_is_echoed_and_run(shared):
    _, t = opened(shared)
    t.ready()
    t.type("echo he''llo\n")
    assert b"echo he''llo" in t.read_until("hello\r\n")
    t.leave()


def test_input_may_come_as_text(shared):
    _, t = opened(shared, command="cat")
    t.wait_for("connected")
    t.control("stdin", data="typed ä€😀\n")
    assert t.read_until("😀\r\n") == "typed ä€😀\r\n".encode()
    t.leave()


def test_input_is_passed_on_as_it_is(shared):
    every = bytes(range(256))
    _, t = opened(shared, command="stty raw -echo; echo up; head -c 256 | od -An -v -tu1")
    t.read_until("up")
    t.type(every)
    assert t.read_exit() == 0
    assert bytes(map(int, t.output[t.searched:].split())) == every


def test_output_is_passed_on_as_it_is(shared):
    (shared.root / "every").write_bytes(bytes(range(256)) * 300)
    _, t = opened(shared, command="stty raw; cat every")
    assert t.read_exit() == 0
    assert bytes(t.output) == bytes(range(256)) * 300


def test_fragmented_input_is_put_together(shared):
    _, t = opened(shared, command="stty -echo; echo up; head -n 1")
    t.read_until("up\r\n")
    t.put(*fragments(BINARY, b"\0" + b"piece" * 100 + b"\n", 7))
    assert t.read_exit() == 0
    assert t.output[t.searched:] == b"piece" * 100 + b"\r\n"


# ---- the end ----


@pytest.mark.parametrize("mode", ["pty", "pipe"])
@pytest.mark.parametrize("command,code", [
    ("true", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", -1),
    ("kill -TERM $$", -1), ("nothing-like-that", 127)])
def test_the_exit_is_told_with_its_code(shared, command, code, mode):
    _, t = opened(shared, query={"pty": "0"} if mode == "pipe" else None, command=command)
    assert t.read_exit() == code
    assert t.frames[0] == "connected"


@pytest.mark.parametrize("mode", ["pty", "pipe"])
@pytest.mark.parametrize("how", ["", " & wait $!; kill -9 $$"], ids=["exits", "dies"])
def test_the_exit_comes_behind_the_last_byte(shared, mode, how):
    for n in (1, 4095, 65536, 300000):
        _, t = opened(shared, query={"pty": "0"} if mode == "pipe" else None,
                      command=f"head -c {n} /dev/zero | tr '\\0' x{how}")
        assert t.read_exit() == (-1 if how else 0)
        assert bytes(t.output) == b"x" * n


def test_output_of_a_program_that_outlives_its_shell_by_little_is_not_waited_for(shared):
    _, t = opened(shared, query={"pty": "0"}, command="sleep 30 & echo now")
    assert t.read_exit(5) == 0 and t.output == b"now\n"


def test_an_interactive_shell_ends_with_the_end_of_input(shared):
    _, t = opened(shared, envs={"PS1": "prompt> "})
    t.read_until("prompt> ")  # before it, the terminal is not the line editor's yet
    t.type("\4")
    assert t.read_exit() == 0


def test_the_shell_goes_on_when_its_client_leaves(shared):
    ident, t = opened(shared)
    t.ready()
    t.type("(while [ ! -e gate ]; do sleep 0.02; done; echo af''ter)\n")
    pid = look(shared, ident)["pid"]
    at = t.at
    t.leave()
    (shared.root / "gate").write_text("")
    t = Terminal(shared, ident, since=at)
    t.read_until("after")
    assert look(shared, ident)["pid"] == pid
    t.leave()


@pytest.mark.parametrize("how", ["reset", "close", "half_close", "leave"])
def test_a_client_that_goes_in_whatever_way_frees_the_terminal(shared, how):
    ident, t = opened(shared)
    t.ready()
    getattr(t, how)()
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 0)
    t = Terminal(shared, ident, since=t.at)
    alive(t)
    t.leave()


def test_connecting_again_starts_a_new_shell_behind_the_old_output(shared):
    ident, t = opened(shared)
    t.ready()
    t.type("X=1; exit 3\n")
    assert t.read_exit() == 3
    old = bytes(t.output)
    assert look(shared, ident)["output_offset"] == len(old) == t.at
    again = Terminal(shared, ident, since=0)
    again.wait_for("connected")
    assert bytes(again.output) == old and again.start == 0
    assert again.ask('echo "[$X]"') == "[]"
    assert again.at == len(again.output), "offsets go on where they were"
    again.leave()


def test_a_command_is_run_again_by_whoever_connects(shared):
    ident, t = opened(shared, command="echo run; exit 7")
    assert t.read_exit() == 7
    t = Terminal(shared, ident, since=0)
    assert t.read_exit() == 7
    assert (t.start, bytes(t.output)) == (0, b"run\r\n" * 2)
    t = Terminal(shared, ident, since=10)
    assert t.read_exit() == 7
    assert (t.start, bytes(t.output)) == (10, b"run\r\n")


# ---- replay ----


@pytest.fixture(scope="module")
def ten(shared):
    """A terminal with ten bytes of output, whose program waits."""
    ident, t = opened(shared, command="stty -echo; printf abcdefghij; cat")
    t.read_until("j")
    t.leave()
    procfs.wait_until(lambda: not look(shared, ident)["held"])
    return ident


@pytest.mark.parametrize("since,at", [
    (None, 0), ("0", 0), ("4", 4), ("9", 9), ("10", 10), ("11", 10), ("1000000000000", 10), ("-1", 0), ("-5", 0),
    ("abc", 0), ("", 0), ("4abc", 4), ("4.9", 4), ("4e1", 4), ("0x9", 0), ("007", 7), ("18446744073709551615", 10),
    ("18446744073709551616", 10), ("9" * 100, 10), ("٤", 0), ("4,5", 4), ("\n", 0),
])
def test_the_replay_begins_where_it_was_asked_for(shared, ten, since, at):
    for query in ({}, {"observe": 1}):
        t = Terminal(shared, ten, since=since, **query)
        got = t.receive()
        if at < 10:
            assert (got.type, got.offset, got.data) == ("replay", at, b"abcdefghij"[at:])
            got = t.receive()
        assert got.type == "connected" and got.members["offset"] == 10
        silent(t)
        t.leave()
        procfs.wait_until(lambda: look(shared, ten)["viewers"] == 0)


def test_offsets_add_up_to_what_the_terminal_says(shared):
    ident, t = opened(shared, command="seq 1 5000; head -n 1")
    t.read_until("5000\r\n")
    t.leave()
    t = Terminal(shared, ident, since=123)
    t.type("x\n")
    assert t.read_exit() == 0
    whole = b"".join(b"%d\r\n" % i for i in range(1, 5001)) + b"x\r\nx\r\n"
    assert bytes(t.output) == whole[123:]
    assert t.at == len(whole) == look(shared, ident)["output_offset"]


def test_a_long_replay_comes_in_frames_that_say_where_they_begin(shared):
    ident, t = opened(shared, command="head -c 1000000 /dev/urandom | base64 -w 0 | head -c 900000; head -n 1")
    while len(t.output) < 900000:
        t.receive()
    t.leave()
    again = Terminal(shared, ident)
    again.wait_for("connected")
    assert again.output == t.output
    assert again.frames.count("replay") > 20 and set(again.frames) == {"replay", "connected"}
    again.leave()


def test_pipes_are_replayed_in_the_order_they_were_read(shared):
    ident, t = opened(shared, query={"pty": "0"},
                      command="echo out; sleep 0.05; echo err >&2; sleep 0.05; echo out; cat")
    while len(t.output) < 12:
        t.receive()
    assert (bytes(t.output), bytes(t.errors)) == (b"out\nerr\nout\n", b"err\n")
    t.leave()
    again = Terminal(shared, ident)
    again.wait_for("connected")
    assert again.output == t.output and again.errors == b"" and set(again.frames) == {"replay", "connected"}
    again.leave()


@pytest.mark.parametrize("how", ["leave", "reset", "takeover", "observe"])
def test_fifty_connections_read_a_stream_without_a_seam(shared, how):
    gate = shared.root / f"go-{how}"
    gate.write_text("")
    ident = create(shared, command=f"i=0; while [ -e go-{how} ]; do for k in 1 2 3 4 5 6 7 8 9; do "
                                   "echo $((i=i+1)); done; sleep 0.001; done")
    t = keeper = None
    if how == "observe":
        keeper = Terminal(shared, ident)
    whole, at = bytearray(), 0
    for turn in range(50):
        query = {"takeover": 1} if how == "takeover" else {"observe": 1} if keeper else {}
        if how in ("leave", "reset"):
            procfs.wait_until(lambda: not look(shared, ident)["held"], step=0.001)
        fresh = Terminal(shared, ident, since=at, **query)
        if t and how == "takeover":
            t.expect_taken_over()
        t = fresh
        for _ in range(turn % 5 + 1):
            t.receive()
        assert t.start in (at, None)
        whole, at = whole + t.output, at + len(t.output)
        if how == "reset":
            t.reset()
        elif how != "takeover":
            t.put(close_frame(1000))
            t.close()
    gate.unlink()
    if how == "takeover":
        t.output.clear()
    else:
        if keeper is None:
            procfs.wait_until(lambda: not look(shared, ident)["held"], step=0.001)
        t = Terminal(shared, ident, since=at, **({"observe": 1} if keeper else {}))
    if keeper is not None:
        keeper.wait_for("exit")
        assert bytes(keeper.output).startswith(whole)
        whole = keeper.output
    else:
        t.read_exit()
        whole += t.output
    lines = bytes(whole).split(b"\r\n")
    assert lines.pop() == b""
    assert list(map(int, lines)) == list(range(1, len(lines) + 1)) and len(lines) > 100
    assert look(shared, ident)["output_offset"] == len(whole)


def test_every_character_of_a_flood_is_counted(shared):
    n = 200000 if sanitized() else 1000000
    ident, t = opened(shared, command=f"seq -f %08.0f 1 {n}")
    assert t.read_exit() == 0
    assert t.at == 10 * n == look(shared, ident)["output_offset"]
    step = 9973
    assert all(t.output[10 * i:10 * i + 10] == b"%08d\r\n" % (i + 1) for i in range(0, n, step))


# ---- takeover ----


def test_a_takeover_moves_the_terminal_and_its_shell(shared):
    ident, old = opened(shared)
    old.ready()
    old.ask("X=1; cd /usr; echo holder_ma''rker")
    new = Terminal(shared, ident, takeover=1)
    old.expect_taken_over()
    assert b"holder_marker" in new.read_until("holder_marker")
    assert new.connected is None, "the replay comes before connected"
    new.wait_for("connected")
    assert new.ask("echo $X $PWD") == "1 /usr"
    got = look(shared, ident)
    assert got["held"] is True and got["viewers"] == 1
    new.leave()


def test_a_takeover_of_a_free_terminal_is_a_connection(shared):
    ident = create(shared)
    Terminal(shared, ident, takeover=1).ready().leave()
    procfs.wait_until(lambda: not look(shared, ident)["held"])
    Terminal(shared, ident, takeover=1).ready().leave()


def test_a_takeover_reaches_a_holder_that_does_not_read(boxd):
    d = boxd()
    ident, old = opened(d, command="yes", rcvbuf=4096)
    old.wait_for("connected")
    procfs.wait_until(lambda: look(d, ident)["output_offset"] > 300000)
    new = Terminal(d, ident, since=1 << 60, takeover=1)
    new.wait_for("connected")
    new.wait_for("stdout")
    old.close()
    delete(d, ident)
    assert new.read_exit() == -1


def test_what_the_old_holder_types_afterwards_reaches_nobody(shared):
    ident, old = opened(shared)
    old.ready()
    new = Terminal(shared, ident, since=old.at, takeover=1)
    old.type("echo fo''reign\n")
    old.control("resize", cols=9, rows=9)
    old.expect_taken_over()
    new.wait_for("connected")
    assert new.ask("stty size") == "24 80"
    assert b"foreign" not in new.output
    new.leave()


def test_six_takeovers_at_once_leave_one_that_works(shared):
    ident, first = opened(shared)
    first.ready()
    made, problems = [], []

    def take():
        try:
            made.append(Terminal(shared, ident, takeover=1))
        except Exception as e:  # told by the test itself
            problems.append(e)
    threads = [threading.Thread(target=take) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems and len(made) == 6
    first.expect_taken_over()
    assert look(shared, ident)["viewers"] >= 1
    holders = []
    for t in made:
        t.control("ping")
        while (got := t.receive()).type not in ("pong", "close"):
            pass
        if got.type == "pong" and look(shared, ident)["viewers"] == 1:
            holders.append(t)
        elif got.type == "pong":
            assert t.wait_for_close() == (4001, "TAKEN_OVER")
        else:
            assert t.closed == (4001, "TAKEN_OVER")
    assert len(holders) == 1
    alive(holders[0])
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 1)
    holders[0].leave()
    for t in made:
        t.close()


def test_two_takeovers_in_one_turn_are_served_in_their_order(shared):
    ident, first = opened(shared)
    first.ready()
    with shared.connect() as a, shared.connect() as b:
        a.send(a.head("GET", target(ident, takeover=1), handshake()))
        b.send(b.head("GET", target(ident, takeover=1), handshake()))
        assert a.response_head().status == 101 and b.response_head().status == 101
        first.expect_taken_over()
        procfs.wait_until(lambda: look(shared, ident)["viewers"] in (1, 2))
        assert look(shared, ident)["held"] is True
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 0)
    last = Terminal(shared, ident)
    last.ready().leave()


# ---- observers ----


def test_observers_see_the_same_and_can_do_nothing(shared):
    ident, t = opened(shared)
    t.ready()
    seers = [Terminal(shared, ident, observe=1) for _ in range(5)]
    for o in seers:
        got = o.wait_for("connected").members
        assert got["observer"] is True and got["mode"] == "pty"
    assert look(shared, ident)["viewers"] == 6
    for o in seers:
        o.type("echo fo''reign\n")
        o.control("stdin", data="echo fo''reign\n")
        o.control("resize", cols=11, rows=12)
        o.control("signal", signal="SIGKILL")
        o.control("eof")
        silent(o)
    assert t.ask("stty size; echo shown") == "24 80\nshown"
    for o in seers:
        o.read_until("shown\r\n")
        assert b"foreign" not in o.output
        assert o.output == t.output[:len(o.output)] or t.output.endswith(o.output[-40:])
    delete(shared, ident)
    assert [x.read_exit() for x in [t, *seers]] == [-1] * 6


def test_an_observer_starts_nothing_and_waits(shared):
    ident = create(shared, command="echo begun; cat")
    o = Terminal(shared, ident, observe=1)
    o.wait_for("connected")
    silent(o)
    got = look(shared, ident)
    assert (got["running"], got["held"], got["viewers"]) == (False, False, 1)
    t = Terminal(shared, ident)
    o.read_until("begun\r\n")
    t.leave()
    o.leave()


def test_an_observer_stays_when_the_holder_goes_and_when_he_is_taken_over(shared):
    ident, t = opened(shared)
    t.ready()
    o = Terminal(shared, ident, observe=1)
    o.wait_for("connected")
    new = Terminal(shared, ident, takeover=1)
    t.expect_taken_over()
    new.wait_for("connected")
    new.ask("echo still he''re")
    o.read_until("still here")
    new.leave()
    silent(o)
    procfs.wait_until(lambda: look(shared, ident)["viewers"] == 1)
    assert look(shared, ident)["held"] is False
    o.leave()


def test_an_observer_does_not_take_over(shared):
    ident, t = opened(shared)
    t.ready()
    o = Terminal(shared, ident, observe=1, takeover=1)
    assert o.wait_for("connected").members["observer"] is True
    alive(t)
    t.leave()
    o.leave()


def test_messages_are_what_the_documentation_says(shared):
    text = shared.get("/openapi.json").json()["paths"]["/pty/{id}/ws"]["get"]["description"]
    for word in ("connected", "exit", "pong", "error", "stdin", "signal", "resize", "ping", "eof"):
        assert word in text
