"""GET /ports and GET /ports/{n}/wait (issue 4, part 4)."""

import os
import signal
import socket
import time
from contextlib import contextmanager

import pytest

import procfs
from wire import Closed, Late


@contextmanager
def bound(family=socket.AF_INET, address="127.0.0.1", port=0, v6only=None):
    """A socket with a port, which does not listen yet."""
    with socket.socket(family) as s:
        if v6only is not None:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        try:
            s.bind((address, port))
        except OSError as e:
            if family == socket.AF_INET6 and port == 0:
                pytest.skip(f"no IPv6 here: {e}")
            raise
        yield s


@contextmanager
def listening(*args, backlog=50, **kw):
    with bound(*args, **kw) as s:
        s.listen(backlog)
        yield s


@contextmanager
def shut_port():
    """A port that nobody listens on, and that nobody can take meanwhile."""
    with bound() as s:
        yield s.getsockname()[1]


def ports(d):
    r = d.get("/ports")
    assert r.status == 200 and r.field("content-type") == "application/json; charset=utf-8", r
    rows = r.json()
    for row in rows:
        check_row(row)
    assert [x["port"] for x in rows] == sorted(x["port"] for x in rows)
    return rows


def check_row(row):
    assert set(row) <= {"port", "address", "family", "pid", "command", "cmdline", "uid", "inode", "self"}, row
    assert isinstance(row["uid"], int) and 1 <= row["port"] <= 65535, row
    family = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}[row["family"]]
    assert socket.inet_ntop(family, socket.inet_pton(family, row["address"])) == row["address"], row
    assert row.get("self", True) is True, row
    assert "pid" in row or not {"command", "cmdline", "self"} & set(row), row


def of(rows, port):
    return [x for x in rows if x["port"] == port]


# ---- listing ----


def test_the_daemon_sees_itself(shared):
    port = shared.address[1]
    row, = of(ports(shared), port)
    assert (row["self"], row["pid"], row["command"], row["address"]) == (True, shared.pid, "boxd", "127.0.0.1")
    assert row["cmdline"].startswith(shared.argv[0] + " --listen 127.0.0.1:0 ")
    assert row["uid"] == os.getuid()
    links = procfs.fds(shared.pid).values()
    assert f"socket:[{row['inode']}]" in links
    assert [x for x in ports(shared) if x.get("self")] == [row]


def test_a_server_is_listed_with_its_process(shared):
    with listening() as s:
        row, = of(ports(shared), s.getsockname()[1])
        assert row["pid"] == os.getpid() and "self" not in row
        assert row["inode"] == os.fstat(s.fileno()).st_ino
        assert row["family"] == "ipv4" and row["address"] == "127.0.0.1"
        with open("/proc/self/comm") as f:
            assert row["command"] == f.read().rstrip("\n")
        words = procfs.cmdline(os.getpid()).rstrip(b"\0").replace(b"\0", b" ")
        assert row["cmdline"] == words[:1024].decode("utf-8", "replace")
    assert of(ports(shared), row["port"]) == []


def test_a_port_that_is_bound_or_connected_is_not_listed(shared):
    with bound() as quiet, listening() as s, socket.create_connection(s.getsockname()) as client:
        rows = ports(shared)
        assert of(rows, quiet.getsockname()[1]) == []
        assert of(rows, client.getsockname()[1]) == []
        assert len(of(rows, s.getsockname()[1])) == 1


def test_one_port_on_several_addresses_is_several_rows(shared):
    with listening(socket.AF_INET6, "::1") as six:
        port = six.getsockname()[1]
        with listening(address="127.0.0.1", port=port), listening(address="127.0.0.2", port=port):
            rows = of(ports(shared), port)
            assert [(x["family"], x["address"]) for x in rows] == [
                ("ipv4", "127.0.0.1"), ("ipv4", "127.0.0.2"), ("ipv6", "::1")]
            assert len({x["inode"] for x in rows}) == 3


@pytest.mark.parametrize("address,v6only,said", [
    ("::", 0, "::"), ("::", 1, "::"), ("::ffff:127.0.0.1", 0, "::ffff:127.0.0.1"), ("::1", 1, "::1"),
])
def test_ipv6_addresses(shared, address, v6only, said):
    with listening(socket.AF_INET6, address, v6only=v6only) as s:
        row, = of(ports(shared), s.getsockname()[1])
        assert (row["family"], row["address"]) == ("ipv6", said)


SERVER = ("import socket, sys, time\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\n"
          "open('/proc/self/comm', 'w').write(sys.argv[1])\nprint(s.getsockname()[1], flush=True)\ntime.sleep(60)\n")


def serve(d, name, *args):
    """A command in the box that listens: its port and the stream it belongs to."""
    stream = d.start(argv=["/usr/bin/python3", "-c", SERVER, name, *args])
    stream.ident = stream.next().text
    return int(stream.wait_for("stdout").text), stream


def test_commands_are_named_whatever_they_call_themselves(shared):
    port, stream = serve(shared, 'a) "b\\\u00e9', "one two", "", "caf\u00e9")
    row, = of(ports(shared), port)
    assert row["command"] == 'a) "b\\\u00e9'
    assert row["pid"] == shared.status(stream.ident)["pid"]
    assert row["cmdline"].endswith(' a) "b\\\u00e9 one two  caf\u00e9')
    stream.conn.close()
    shared.interrupt(stream.ident)


@pytest.mark.parametrize("extra", range(4))
def test_a_long_command_line_is_cut_between_characters(shared, extra):
    port, stream = serve(shared, "long", "x" * extra + "\u20ac" * 1000)
    row, = of(ports(shared), port)
    n = len(row["cmdline"].encode())
    assert 1021 < n <= 1024 and row["cmdline"].endswith("\u20ac")
    stream.conn.close()
    shared.interrupt(stream.ident)


def test_a_socket_of_several_processes_belongs_to_the_first(shared):
    with listening() as s:
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        try:
            row, = of(ports(shared), s.getsockname()[1])
            assert row["pid"] == min(os.getpid(), child)
            if os.getpid() < child:
                s.close()
                row, = of(ports(shared), row["port"])
                assert row["pid"] == child
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_head_has_the_fields_and_no_body(shared):
    with shared.connect() as c:
        r = c.request("HEAD", "/ports")
        assert r.status == 200 and int(r.field("content-length")) > 50
        assert c.request("GET", "/ping").status == 200


def test_a_thousand_processes_do_not_hold_up_others(boxd):
    d = boxd()
    ident = d.background("for i in $(seq 1000); do sleep 60 & done; echo ready; wait")
    procfs.wait_until(lambda: b"ready" in d.logs(ident)[0], 30)
    with d.connect() as lists, d.connect() as pings:
        for _ in range(5):
            lists.send(lists.head("GET", "/ports"))
            for _ in range(10):
                assert pings.request("GET", "/ping").status == 200
            assert lists.response().status == 200
    d.interrupt(ident)
    d.finished(ident)


def test_clients_that_leave_during_a_listing(boxd):
    d = boxd()
    before = len(d.fds())
    for i in range(60):
        c = d.connect()
        c.send(c.head("GET", "/ports"))
        c.reset() if i % 2 else c.close()
    assert ports(d)
    procfs.wait_until(lambda: len(d.fds()) <= before)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_ports_are_only_read(shared, method):
    for path in ("/ports", "/ports/80/wait"):
        r = shared.request(method, path)
        assert r.status == 405 and r.field("allow") == "GET, HEAD"
    assert shared.get("/ports/80").status == 404


# ---- waiting ----


def wait(d, port, query="", **kw):
    return d.get(f"/ports/{port}/wait{query}", **kw)


def test_an_open_port_is_told_at_once(shared):
    with listening() as s:
        port = s.getsockname()[1]
        for query in ("", "?timeout_ms=0", "?timeout_ms=300000", "?timeout_ms="):
            begin = time.monotonic()
            r = wait(shared, port, query)
            assert r.status == 200, r
            assert set(r.json()) == {"port", "waited_ms", "address"}
            assert (r.json()["port"], r.json()["address"]) == (port, "127.0.0.1")
            assert 0 <= r.json()["waited_ms"] <= (time.monotonic() - begin) * 1000 + 1


def test_an_open_port_of_ipv6(shared):
    with listening(socket.AF_INET6, "::1") as s:
        r = wait(shared, s.getsockname()[1], "?timeout_ms=0")
        assert (r.status, r.json()["address"]) == (200, "::1")


def test_a_port_on_another_address_is_not_reached(shared):
    with listening(address="127.0.0.2") as s, bound(port=s.getsockname()[1]):
        assert wait(shared, s.getsockname()[1], "?timeout_ms=0").status == 504


def test_the_own_port_accepts(shared):
    assert wait(shared, shared.address[1]).status == 200


@pytest.mark.parametrize("ms", [0, 1, 150, 400])
def test_a_port_that_stays_shut(shared, ms):
    with shut_port() as port:
        begin = time.monotonic()
        r = wait(shared, port, f"?timeout_ms={ms}")
        took = (time.monotonic() - begin) * 1000
        assert (r.status, r.json()["code"]) == (504, "GATEWAY_TIMEOUT")
        assert str(port) in r.json()["message"]
        assert ms <= took < ms + 1500


def test_a_port_that_opens_ends_the_wait(shared):
    with bound() as s, shared.connect() as c:
        port = s.getsockname()[1]
        c.send(c.head("GET", f"/ports/{port}/wait"))
        with pytest.raises(Late):
            c.response(deadline=0.4)
        begin = time.monotonic()
        s.listen()
        r = c.response()
        took = time.monotonic() - begin
        assert r.status == 200 and r.json()["waited_ms"] >= 390
        assert took < 1, "tries are 50 ms apart at most"


def test_a_command_that_becomes_a_server(shared):
    with shut_port() as port:
        pass
    stream = shared.start(argv=["/usr/bin/python3", "-c",
                                f"import socket, time\ntime.sleep(0.2)\ns = socket.socket()\ns.bind(('127.0.0.1', {port}))\n"
                                "s.listen()\ntime.sleep(60)"])
    ident = stream.next().text
    assert wait(shared, port).status == 200
    row, = of(ports(shared), port)
    assert row["pid"] == shared.status(ident)["pid"]
    stream.conn.close()
    shared.interrupt(ident)


def test_the_server_sees_an_orderly_end(shared):
    with listening() as s:
        assert wait(shared, s.getsockname()[1]).status == 200
        server, _ = s.accept()
        with server:
            server.settimeout(10)
            assert server.recv(10) == b""
            for _ in range(3):
                server.sendall(b"220 hello\r\n")
                time.sleep(0.02)  # a reset would need a moment to arrive
                assert server.recv(10) == b""


def test_many_who_wait_for_one_port(boxd):
    d = boxd()
    with bound() as s:
        port = s.getsockname()[1]
        waiting = [d.connect() for _ in range(100)]
        for c in waiting:
            c.send(c.head("GET", f"/ports/{port}/wait"))
        for c in waiting[:10]:
            c.reset()
        waiting[10].half_close()
        assert wait(d, port, "?timeout_ms=0").status == 504
        s.listen()
        for c in waiting[10:]:
            r = c.response()
            assert r.status == 200 and r.json()["port"] == port
            c.close()
        s.setblocking(False)
        accepted = 0
        try:
            while True:
                s.accept()[0].close()
                accepted += 1
        except BlockingIOError:
            pass
        assert accepted <= 3, "one connection for all of them"


def test_pipelined_waits_are_answered_in_order(shared):
    with shut_port() as shut, listening() as s, shared.connect() as c:
        port = s.getsockname()[1]
        c.send(c.head("GET", f"/ports/{shut}/wait?timeout_ms=100") + c.head("GET", f"/ports/{port}/wait") +
               c.head("GET", "/ports/0/wait") + c.head("GET", f"/ports/{port}/wait?timeout_ms=0") +
               c.head("GET", "/ping"))
        assert [c.response().status for _ in range(5)] == [504, 200, 400, 200, 200]


def test_head_waits_too_and_has_no_body(shared):
    with shut_port() as shut, listening() as s, shared.connect() as c:
        assert c.request("HEAD", f"/ports/{s.getsockname()[1]}/wait").status == 200
        assert c.request("HEAD", f"/ports/{shut}/wait?timeout_ms=0").status == 504
        assert c.request("GET", "/ping").status == 200


@pytest.mark.parametrize("n", ["0", "65536", "x", "-1", "+80", "80x", "%38%30x", "18446744073709551617", "8%200", "%20"])
def test_what_is_no_port(shared, n):
    r = wait(shared, n)
    assert (r.status, r.json()["code"]) == (400, "BAD_REQUEST"), r


@pytest.mark.parametrize("ms", ["x", "-1", "1.5", "300001", "18446744073709551616", "%", "1%00"])
def test_what_is_no_time(shared, ms):
    r = wait(shared, 80, f"?timeout_ms={ms}")
    assert (r.status, r.json()["code"]) == (400, "INVALID_QUERY"), r


def test_clients_that_leave_leave_nothing_behind(boxd):
    d = boxd(limits={"port_waits": 50})
    with shut_port() as port:
        before = len(d.fds())
        conns = [d.connect() for _ in range(50)]
        for c in conns:
            c.send(c.head("GET", f"/ports/{port}/wait"))
        # All of them wait when there is no place left.
        procfs.wait_until(lambda: wait(d, port, "?timeout_ms=0").status == 429)
        for c in conns:
            c.reset()
        procfs.wait_until(lambda: len(d.fds()) <= before)
        assert wait(d, port, "?timeout_ms=0").status == 504
        # Nobody waits any more, so nobody tries any more: the daemon sleeps.
        assert procfs.wait_until(lambda: quiet(d.pid))


def quiet(pid):
    """A moment in which the process was not scheduled."""
    def turns():
        return int(procfs.status(pid)["voluntary_ctxt_switches"])
    first = turns()
    time.sleep(0.2)
    return turns() - first <= 1


def test_the_end_of_the_daemon_answers_who_waits(boxd):
    d = boxd()
    with shut_port() as port:
        c = d.connect()
        c.send(c.head("GET", f"/ports/{port}/wait"))
        with pytest.raises(Late):
            c.response(deadline=0.2)
        begin = time.monotonic()
        d.signal(signal.SIGTERM)
        r = c.response()
        assert (r.status, r.json()["code"]) == (503, "UNAVAILABLE")
        c.close()
        assert d.wait() == 0
        assert time.monotonic() - begin < 1.5, "it did not wait for the wait"


def test_out_of_descriptors_it_does_not_claim_that_nothing_accepts(boxd):
    d = boxd(prefix=["prlimit", "--nofile=80:80"], limits={"http_fd_reserve": 16})
    with listening() as s:
        port = s.getsockname()[1]
        held, statuses = [], set()
        try:
            c = d.connect()
            for _ in range(90):
                held.append(d.connect())
                statuses.add(c.request("GET", f"/ports/{port}/wait?timeout_ms=0").status)
        except (Closed, Late, OSError):
            pass
        assert statuses <= {200, 503}, statuses
        for h in held:
            h.close()
        assert procfs.wait_until(lambda: wait(d, port).status == 200)
        c.close()
