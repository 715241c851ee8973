"""Background commands: status and logs (contract 1.21, 1.22, 4.2)."""

import time

import pytest

import procfs


def test_the_stream_is_init_ping_complete_and_ends_at_once(shared):
    begin = time.monotonic()
    run = shared.run("sleep 30", background=True)
    assert time.monotonic() - begin < 3
    assert [e.type for e in run.events] == ["init", "ping", "execution_complete"]
    assert shared.status(run.id)["running"] is True
    assert shared.interrupt(run.id).status == 200


def test_status_and_logs_answer_at_once(shared):
    for _ in range(20):
        ident = shared.background("echo a; sleep 0.05; echo b")
        assert shared.status(ident)["id"] == ident
        shared.logs(ident)


def test_the_log_keeps_the_order_of_both_streams(shared):
    ident = shared.background("for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done; exit 3")
    status = shared.finished(ident)
    want = "".join(f"o{i}\ne{i}\n" for i in range(1, 10)).encode()
    assert shared.logs(ident) == (want, len(want), 0)
    assert status["exit_code"] == 3 and status["error"] == "exit status 3"
    assert status["stdout_bytes"] + status.get("stderr_bytes", 0) == len(want)


def test_an_incremental_reader_sees_every_byte_once(shared):
    ident = shared.background("for i in $(seq 1 200); do echo line $i; [ $((i % 20)) = 0 ] && sleep 0.03; done")
    out, cursor, running = b"", 0, True
    end = time.monotonic() + 15
    while running and time.monotonic() < end:
        running = shared.status(ident)["running"]
        body, after, gap = shared.logs(ident, cursor)
        assert after == cursor + len(body) and gap == 0
        out, cursor = out + body, after
    assert out.decode().splitlines() == [f"line {i}" for i in range(1, 201)]
    assert shared.logs(ident, cursor) == (b"", cursor, 0)


def test_a_cursor_starts_anywhere(shared):
    ident = shared.background("printf 0123456789")
    shared.finished(ident)
    for cursor in range(11):
        assert shared.logs(ident, cursor) == (b"0123456789"[cursor:], 10, 0)


@pytest.mark.parametrize("cursor", [11, 1000, 2 ** 62])
def test_a_cursor_beyond_the_end_comes_back_unchanged(shared, cursor):
    ident = shared.background("printf 0123456789")
    shared.finished(ident)
    assert shared.logs(ident, cursor) == (b"", cursor, 0)


@pytest.mark.parametrize("cursor", ["", "x", "abc", "1x", "%20", "0x5"])
def test_a_cursor_that_is_no_number_means_the_beginning(shared, cursor):
    ident = shared.background("printf 0123456789")
    shared.finished(ident)
    assert shared.logs(ident, cursor)[0] == b"0123456789"


@pytest.mark.parametrize("cursor", ["-1", "-99999"])
def test_a_negative_cursor_is_refused(shared, cursor):
    ident = shared.background("true")
    assert shared.get(f"/command/{ident}/logs?cursor={cursor}").status == 400


def test_the_first_cursor_counts(shared):
    ident = shared.background("printf 0123456789")
    shared.finished(ident)
    assert shared.get(f"/command/{ident}/logs?cursor=7&cursor=0").body == b"789"


def test_logs_are_the_raw_bytes(shared):
    ident = shared.background("printf 'a\\000\\377\\r\\n\\033[1m\\303\\244'")
    shared.finished(ident)
    assert shared.logs(ident)[0] == b"a\0\xff\r\n\x1b[1m\xc3\xa4"


def test_an_unfinished_character_is_held_back_while_it_runs(shared):
    ident = shared.background("printf 'x\\342\\202'; sleep 1; printf '\\254y'")
    procfs.wait_until(lambda: shared.status(ident)["stdout_bytes"] >= 3)
    body, cursor, _ = shared.logs(ident)
    if shared.status(ident)["running"]:
        assert (body, cursor) == (b"x", 1)
    shared.finished(ident)
    assert shared.logs(ident, cursor)[0] == "€y".encode()


def test_an_unfinished_character_at_the_end_is_delivered(shared):
    ident = shared.background("printf 'x\\342\\202'")
    shared.finished(ident)
    assert shared.logs(ident) == (b"x\xe2\x82", 3, 0)


def test_logs_answer_to_head(shared):
    ident = shared.background("printf 0123456789")
    shared.finished(ident)
    r = shared.request("HEAD", f"/command/{ident}/logs")
    assert (r.status, r.body, r.field("execd-commands-tail-cursor")) == (200, b"", "10")


def test_the_log_outlives_its_client_and_can_be_large(shared):
    ident = shared.background("seq 1 300000")
    shared.finished(ident)
    want = "".join(f"{i}\n" for i in range(1, 300001)).encode()
    body, cursor, gap = shared.logs(ident)
    out = body
    while len(out) < len(want) and body:
        body, cursor, more = shared.logs(ident, cursor)
        out, gap = out + body, gap + more
    assert out == want and cursor == len(want) and gap == 0


def test_dropped_bytes_of_a_log_are_announced(boxd):
    d = boxd(limits={"hub_log_bytes": 65536, "hub_memory_bytes": 65536, "hub_segment_bytes": 4096})
    ident = d.background("seq -f '%099.0f' 1 10000")
    d.finished(ident, drained=True)
    body, cursor, gap = d.logs(ident)
    assert cursor == 1_000_000 and gap > 0 and gap + len(body) == 1_000_000
    whole = "".join("%099d\n" % i for i in range(1, 10001)).encode()
    assert body == whole[gap:]
    assert d.logs(ident, gap) == (body, cursor, 0), "nothing is missing from there on"
    assert d.logs(ident, gap - 10)[2] == 10


def test_a_start_failure_is_told_and_remembered(shared):
    run = shared.run(argv=["/nonexistent/program"], background=True)
    assert run.error and "No such file" in run.error["evalue"]
    status = shared.status(run.id)
    assert (status["running"], status["exit_code"]) == (False, 255) and "No such file" in status["error"]
    assert shared.logs(run.id)[0] == b""


def test_children_of_a_background_command_may_outlive_it(boxd):
    d = boxd()
    ident = d.background("nohup sleep 30 >/dev/null 2>&1 & echo $!")
    d.finished(ident)
    assert procfs.alive(int(d.logs(ident)[0]))


def test_pipes_that_are_held_do_not_keep_the_status_running(boxd):
    d = boxd()
    ident = d.background("sleep 30 & exit 4")
    assert d.finished(ident, 5)["exit_code"] == 4


def test_a_background_flood_waits_for_nobody(boxd):
    d = boxd()
    ident = d.background("head -c 100000000 /dev/zero")
    assert d.finished(ident, 30, drained=True)["stdout_bytes"] == 100_000_000
    _, _, gap = d.logs(ident)
    assert 100_000_000 - 17_000_000 <= gap < 100_000_000


def test_the_smoke_script_of_the_reference_passes(shared):
    s = shared.start("sleep 1")
    s.wait_for("init")
    s.conn.close()
    assert shared.get("/ping").status == 200
    run = shared.run("printf 'a\\n\\nb\\n\\n\\nc\\n'")
    assert run.stdout == ["a", "\n", "b", "\n", "\n", "c"] and run.ok
    ident = shared.run("echo bg", background=True).id
    shared.finished(ident, 15)
    assert shared.get(f"/command/{ident}/logs?cursor=0").status == 200


def test_what_has_ended_has_its_whole_log(shared):
    """Not only in the end: at the first moment at which the status says so."""
    for _ in range(10):
        ident = shared.background("head -c 3000000 /dev/zero | tr '\\0' x")
        while True:
            status = shared.status(ident)
            if not status["running"]:
                break
        assert status["stdout_bytes"] == 3_000_000


def test_the_log_of_a_flood_at_its_limit_is_read_part_by_part(boxd):
    d = boxd(limits={"hub_log_bytes": 1048576})
    # At its limit all the time, and slow enough for a busy machine: a log that is replaced faster than
    # it can be read has nothing but gaps.
    ident = d.background("i=0; while :; do seq $((i+1)) $((i+5000)); i=$((i+5000)); done")
    procfs.wait_until(lambda: d.status(ident)["log_oldest"] > 0)
    cursor = seen = 0
    for _ in range(40):
        body, after, gap = d.logs(ident, cursor)
        assert after == cursor + gap + len(body)
        numbers = [int(x) for x in body.split(b"\n")[1:-1]]
        assert not numbers or numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        cursor, seen = after, seen + len(body)
    assert seen > 200_000
    d.interrupt(ident)
    d.finished(ident)


def test_the_list_cuts_long_command_texts_and_the_status_does_not(boxd):
    d = boxd()
    text = "true " + "\u00e4" * 5000
    ident = d.background(text)
    d.finished(ident)
    row = next(r for r in d.get("/command").json() if r["id"] == ident)
    assert row["content_truncated"] is True and text.startswith(row["content"])
    assert 1000 < len(row["content"].encode()) <= 1024
    status = d.status(ident)
    assert status["content"] == text and "content_truncated" not in status
