"""HTTP/1.1 itself: framing, connections, deadlines and everything that must be refused."""

import gzip
import http.client
import json
import re
import socket
import time

import pytest

from boxd import invoke
from wire import Closed

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
BAD_COMMAND = b'{"command":""}'  # answered with 400 without starting anything


def ping_works(conn):
    r = conn.request("GET", "/ping")
    return r.status == 200


# ---- connections ----


def test_ping_is_empty_with_a_length(shared):
    r = shared.get("/ping")
    assert (r.status, r.body, r.field("content-length")) == (200, b"", "0")


def test_many_requests_share_a_connection(shared):
    with shared.connect() as c:
        for _ in range(50):
            r = c.request("GET", "/ping")
            assert r.status == 200 and not r.will_close


def test_the_standard_library_agrees(shared):
    host, port = shared.address
    c = http.client.HTTPConnection(host, port, timeout=10)
    for _ in range(3):
        c.request("POST", "/command", json.dumps({"command": "echo hi"}))
        r = c.getresponse()
        body = r.read()
        assert r.status == 200 and b'"hi"' in body
    c.close()


def test_pipelined_requests_are_answered_in_order(shared):
    with shared.connect() as c:
        ids = [f"request-{i}" for i in range(64)]
        c.send(b"".join(c.head("GET", "/ping" if i % 3 else f"/nowhere{i}", {"X-Request-ID": v})
                        for i, v in enumerate(ids)))
        for i, v in enumerate(ids):
            r = c.response()
            assert r.field("x-request-id") == v
            assert r.status == (200 if i % 3 else 404)


def test_a_request_pipelined_behind_a_stream_waits_for_its_end(shared):
    with shared.connect() as c:
        body = json.dumps({"command": "echo one; echo two"})
        c.send(c.head("POST", "/command", body=body) + c.head("GET", "/ping")
               + c.head("POST", "/command", body=body) + c.head("GET", "/ping"))
        for _ in range(2):
            assert c.stream_response().collect().stdout == ["one", "two"]
            assert c.response().status == 200


def test_a_request_that_arrives_byte_by_byte_is_one_request(shared):
    with shared.connect() as c:
        raw = c.head("POST", "/command", {"X-Request-ID": "slowly"}, BAD_COMMAND)
        for i in range(len(raw)):
            c.send(raw[i:i + 1])
        r = c.response()
        assert (r.status, r.field("x-request-id")) == (400, "slowly")
        assert ping_works(c)


@pytest.mark.parametrize("target", ["/ping", "/capabilities", "/openapi.json", "/command", "/nowhere"])
def test_head_says_what_get_says_without_a_body(shared, target):
    with shared.connect() as c:
        get = c.request("GET", target)
        head = c.request("HEAD", target)
        assert (head.status, head.body) == (get.status, b"")
        assert head.field("content-type") == get.field("content-type")
        assert head.field("content-length") == get.field("content-length")
        assert ping_works(c), "a body followed the reply to HEAD"


def test_connection_close_is_honoured(shared):
    with shared.connect() as c:
        r = c.request("GET", "/ping", {"Connection": "close"})
        assert r.status == 200 and r.will_close and c.at_end()


def test_connection_close_among_other_options_is_honoured(shared):
    with shared.connect() as c:
        r = c.request("GET", "/ping", {"Connection": "foo, Close"})
        assert r.will_close and c.at_end()


def test_a_client_that_half_closes_is_still_answered(shared):
    with shared.connect() as c:
        c.send(PING * 3)
        c.half_close()
        for _ in range(3):
            assert c.response().status == 200
        assert c.at_end()


def test_a_client_that_half_closes_gets_its_whole_stream(shared):
    with shared.connect() as c:
        c.send(c.head("POST", "/command", body=json.dumps({"command": "sleep 0.2; echo late; exit 3"})))
        c.half_close()
        run = c.stream_response().collect()
        assert run.stdout == ["late"] and run.exit_code == 3
        assert c.at_end()


def test_a_half_request_and_a_close_harm_nobody(shared):
    for cut in range(1, len(PING), 7):
        with shared.connect() as c:
            c.send(PING[:cut])
            c.half_close()
            c.rest()
    assert shared.get("/ping").status == 200


def test_idle_connections_delay_nobody(shared):
    idle = [shared.connect() for _ in range(300)]
    try:
        with shared.connect() as c:
            begin = time.monotonic()
            assert ping_works(c)
            assert time.monotonic() - begin < 1
    finally:
        for c in idle:
            c.close()


@pytest.mark.parametrize("fields,kept", [((), False), ((("Connection", "keep-alive"),), True)])
def test_http_1_0_closes_unless_asked_to_keep_alive(shared, fields, kept):
    with shared.connect() as c:
        c.send(b"GET /ping HTTP/1.0\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in fields) + b"\r\n")
        r = c.response()
        assert r.status == 200 and not r.chunked
        if kept and not r.will_close:
            c.send(b"GET /ping HTTP/1.0\r\n\r\n")
            assert c.response().status == 200
        assert c.at_end()


def test_http_1_0_gets_its_stream_unchunked_ended_by_the_close(shared):
    with shared.connect() as c:
        s = c.stream("POST", "/command", body={"command": "echo old"}, version="1.0")
        assert not s.response.chunked and s.response.field("content-length") is None
        assert s.collect().stdout == ["old"]


def test_empty_lines_before_a_request_are_tolerated(shared):
    with shared.connect() as c:
        for _ in range(2):
            c.send(b"\r\n\r\n" + PING)
            assert c.response().status == 200


def test_absolute_form_targets_are_understood(shared):
    with shared.connect() as c:
        assert c.request("GET", f"http://{c.host}/ping").status == 200
        assert c.request("GET", f"HTTP://{c.host}/nowhere?x=http://y/ping").status == 404


def test_a_stream_leaves_the_connection_usable(shared):
    with shared.connect() as c:
        for i in range(5):
            assert c.stream("POST", "/command", body={"command": f"echo {i}"}).collect().stdout == [str(i)]
            assert ping_works(c)


REUSE = {
    "unknown path": ("GET", "/nowhere", None, 404),
    "unknown path with a body": ("POST", "/nowhere", "x" * 5000, 404),
    "wrong method": ("PUT", "/ping", None, 405),
    "wrong method with a body": ("PUT", "/command", "x" * 5000, 405),
    "not JSON": ("POST", "/command", "nonsense", 400),
    "not in this build": ("POST", "/code", "{}", 501),
    "unknown command": ("GET", "/command/status/00", None, 404),
    "no id": ("DELETE", "/command", None, 400),
}


@pytest.mark.parametrize("name", REUSE)
def test_the_connection_survives_an_error_reply(shared, name):
    method, target, body, status = REUSE[name]
    with shared.connect() as c:
        for _ in range(3):
            r = c.request(method, target, body=body)
            assert r.status == status
            assert not r.will_close, "an ordinary error closes the connection"
        assert ping_works(c)


def test_a_body_nobody_wants_is_not_read_as_a_request(shared):
    hidden = PING * 3
    with shared.connect() as c:
        r = c.request("GET", "/ping", body=hidden)
        assert r.status in (200, 400)
        if r.will_close:
            assert c.at_end()
        else:
            assert c.request("GET", "/nowhere").status == 404, "the body was taken for requests"


# ---- routes ----


def test_an_unknown_path_is_404(shared):
    for target in ("/", "/nowhere", "/command/x/y/z", "/pingx", "/command/status", "//ping"):
        r = shared.get(target)
        assert (r.status, r.json()["code"]) == (404, "NOT_FOUND"), target


@pytest.mark.parametrize("method,target,allowed", [
    ("POST", "/ping", {"GET", "HEAD"}),
    ("DELETE", "/ping", {"GET", "HEAD"}),
    ("BREW", "/ping", {"GET", "HEAD"}),
    ("PUT", "/command", {"GET", "HEAD", "POST", "DELETE"}),
    ("POST", "/command/status/abc", {"GET", "HEAD"}),
    ("DELETE", "/command/abc/logs", {"GET", "HEAD"}),
    ("PATCH", "/command/abc/events", {"GET", "HEAD"}),
])
def test_a_wrong_method_is_405_and_names_the_right_ones(shared, method, target, allowed):
    r = shared.request(method, target)
    assert (r.status, r.json()["code"]) == (405, "METHOD_NOT_ALLOWED"), r
    assert {m.strip() for m in r.field("allow").split(",")} == allowed


@pytest.mark.parametrize("method,target", [
    ("POST", "/code"), ("DELETE", "/code?id=x"),
    ("POST", "/code/context"), ("GET", "/code/contexts"), ("DELETE", "/code/contexts?language=python"),
    ("GET", "/code/contexts/x"), ("DELETE", "/code/contexts/x"), ("GET", "/metrics"),
    ("GET", "/metrics/watch"),
    ("POST", "/v1/isolated/session"), ("GET", "/v1/isolated/capabilities"),
])
def test_what_this_build_lacks_is_said(shared, method, target):
    r = shared.request(method, target, body=None if method in ("GET", "DELETE") else "{}")
    assert (r.status, r.json()["code"]) == (501, "NOT_SUPPORTED"), r


def test_a_trailing_slash_never_redirects(shared):
    for target in ("/ping/", "/command/"):
        assert shared.get(target).status in (200, 404)


def test_path_parameters_are_percent_decoded(shared):
    ident = shared.run("true").id
    assert shared.get(f"/command/status/%{ord(ident[0]):02x}{ident[1:]}").status == 200
    for odd in ("%2f", "%00", "%", "%zz", "%c3%28", "a%2Fb"):
        assert shared.get(f"/command/status/{odd}").status in (400, 404), odd


def test_the_api_description_names_every_route_and_is_valid_json(shared):
    r = shared.get("/openapi.json")
    assert r.status == 200 and r.field("content-type").startswith("application/json")
    api = r.json()
    assert api["openapi"].startswith("3.")
    for path in ("/ping", "/command", "/command/status/{id}", "/command/{id}/logs",
                 "/command/{id}/events", "/capabilities"):
        assert path in api["paths"], path


def test_capabilities_are_an_object(shared):
    r = shared.get("/capabilities")
    assert r.status == 200 and isinstance(r.json(), dict) and r.json()


def test_compressible_replies_are_compressed_for_those_who_ask(shared):
    plain = shared.get("/openapi.json")
    packed = shared.get("/openapi.json", {"Accept-Encoding": "gzip, deflate"})
    assert plain.field("content-encoding") is None
    assert packed.field("content-encoding") == "gzip"
    assert "accept-encoding" in packed.field("vary", "").lower()
    assert gzip.decompress(packed.body) == plain.body
    assert shared.get("/openapi.json", {"Accept-Encoding": "gzip;q=0"}).field("content-encoding") is None


def test_streams_are_never_compressed(shared):
    run = shared.run("seq 1 2000", fields=[("Accept-Encoding", "gzip")])
    assert len(run.stdout) == 2000


# ---- fields of a reply ----


def test_a_usable_request_id_comes_back(shared):
    for ident in ("abc", "6f1c2c3e-1111-4a5b-8c9d-0123456789ab", "a.b_c-D9"):
        assert shared.get("/ping", {"X-Request-ID": ident}).field("x-request-id") == ident
        assert shared.get("/nowhere", {"x-request-id": ident}).field("x-request-id") == ident


def test_without_one_each_reply_has_its_own_request_id(shared):
    with shared.connect() as c:
        ids = {c.request("GET", "/ping").field("x-request-id") for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.parametrize("bad", ["x" * 4000, "", "caf\xe9", "a b\tc"])
def test_an_unusable_request_id_is_replaced(shared, bad):
    got = shared.get("/ping", {"X-Request-ID": bad}).field("x-request-id")
    assert got and got != bad and re.match(r"^[!-~]{1,128}$", got)


def test_streams_carry_the_request_id_as_well(shared):
    s = shared.start("true", fields=[("X-Request-ID", "stream-7")])
    assert s.response.field("x-request-id") == "stream-7"
    s.collect()
    s.conn.close()


# ---- request bodies ----


def chunked(data, *sizes, extension=b"", trailers=b""):
    """data in chunks of these sizes; the last takes the rest."""
    out, at = b"", 0
    for n in [*sizes, len(data)]:
        piece = data[at:at + n]
        at += len(piece)
        if piece:
            out += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    return out + b"0" + extension + b"\r\n" + trailers + b"\r\n"


CHUNKED_HEAD = b"POST /command HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunked_request_bodies_work(shared):
    body = json.dumps({"command": "echo chunked"}).encode()
    for raw in (chunked(body), chunked(body, 1, 2, 3), chunked(body, *[1] * len(body)),
                chunked(body, 5, extension=b";a=b;c=\"d;\\\"e\""),
                chunked(body, 5, trailers=b"X-Sum: 1\r\nX-Other:\r\n"),
                chunked(body).replace(b"0\r\n\r\n", b"00000\r\n\r\n")):
        with shared.connect() as c:
            c.send(CHUNKED_HEAD + raw)
            assert c.stream_response().collect().stdout == ["chunked"]
            assert ping_works(c)


def test_a_chunked_body_may_be_cut_anywhere(shared):
    raw = (CHUNKED_HEAD.replace(b"chunked", b"ChunkeD")
           + chunked(BAD_COMMAND, 3, 4, extension=b";x", trailers=b"T: v\r\n"))
    with shared.connect() as c:
        for cut in range(1, len(raw)):
            c.send(raw[:cut])
            c.send(raw[cut:] + PING)
            assert c.response().status == 400
            assert c.response().status == 200


def test_expect_100_continue_is_answered_before_the_body(shared):
    with shared.connect() as c:
        for method_body in (json.dumps({"command": "echo asked"}),):
            head = c.head("POST", "/command", {"Expect": "100-Continue"}, body=method_body)
            c.send(head[:-len(method_body)])
            interim = c.response_head()
            assert (interim.status, interim.fields) == (100, [])
            c.send(method_body.encode())
            assert c.stream_response().collect().stdout == ["asked"]


def test_expect_of_a_body_that_is_refused_gets_the_refusal_instead(shared):
    with shared.connect() as c:
        c.send(c.head("POST", "/command", {"Expect": "100-continue", "Content-Length": str(1 << 40)}))
        assert c.response().status == 413
    with shared.connect() as c:
        c.send(c.head("POST", "/nowhere", {"Expect": "100-continue", "Content-Length": "10"}))
        assert c.response().status == 404


def test_an_unknown_expectation_is_417(shared):
    with shared.connect() as c:
        c.send(c.head("POST", "/command", {"Expect": "a-pony"}, BAD_COMMAND))
        r = c.response()
        assert (r.status, r.json()["code"]) == (417, "EXPECTATION_FAILED")


def test_http_1_0_expectations_are_ignored(shared):
    with shared.connect() as c:
        c.send(b"POST /command HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n" + BAD_COMMAND)
        assert c.response_head().status == 400


# ---- too large ----


def test_a_large_head_is_431_and_large_target_414(shared):
    with shared.connect() as c:
        r = c.request("GET", "/ping", {"A": "x" * 40000})
        assert (r.status, r.json()["code"]) == (431, "HEADER_TOO_LARGE")
    with shared.connect() as c:
        r = c.request("GET", "/ping", [(f"A{i}", "x") for i in range(120)])
        assert r.status == 431
    with shared.connect() as c:
        r = c.request("GET", "/" + "x" * 9000)
        assert (r.status, r.json()["code"]) == (414, "URI_TOO_LONG")


def test_an_endless_request_line_is_refused_while_it_arrives(boxd):
    d = boxd(env={"ASAN_OPTIONS": "quarantine_size_mb=1"})
    before = d.rss_kib()
    with d.connect() as c:
        try:
            for _ in range(1000):
                c.send(b"x" * 65536)
        except OSError:
            pass  # it has hung up on us
        try:
            assert c.response().status in (414, 431)
        except Closed:
            pass
    assert d.get("/ping").status == 200 and d.rss_kib() - before < 16384


def test_a_large_body_is_413_by_its_length_and_by_its_chunks(boxd):
    d = boxd(limits={"http_body_bytes": 1024})
    with d.connect() as c:
        r = c.request("POST", "/command", body="x" * 1025)
        assert (r.status, r.json()["code"]) == (413, "TOO_LARGE")
    with d.connect() as c:
        c.send(CHUNKED_HEAD + b"400\r\n" + b"x" * 1024 + b"\r\n1\r\nx\r\n")
        assert c.response().status == 413
    assert d.get("/ping").status == 200


def test_the_413_reaches_a_client_that_is_still_sending(boxd):
    d = boxd(limits={"http_body_bytes": 1024})
    with d.connect() as c:
        body = b"x" * 12_000_000  # more than socket buffers take
        c.send(b"POST /command HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
        c.send(body)
        assert c.response().status == 413


# ---- too slow ----


def test_a_head_that_never_ends_is_408(boxd):
    d = boxd(limits={"http_head_ms": 200})
    with d.connect() as c:
        begin = time.monotonic()
        c.send(b"GET /ping HTTP/1.1\r\nHo")
        r = c.response()
        took = time.monotonic() - begin
        assert (r.status, r.json()["code"]) == (408, "REQUEST_TIMEOUT")
        assert c.at_end() and 0.15 < took < 3


def test_trickling_bytes_does_not_extend_the_head_deadline(boxd):
    d = boxd(limits={"http_head_ms": 300})
    with d.connect() as c:
        begin = time.monotonic()
        c.send(b"GET /ping HTTP/1.1\r\nA: ")
        c.sock.settimeout(0.03)
        while time.monotonic() - begin < 5:
            try:
                c.sock.sendall(b"x")
                if c.sock.recv(1, socket.MSG_PEEK):
                    break
            except socket.timeout:
                pass
        assert time.monotonic() - begin < 3
        assert c.response().status == 408


def test_a_body_that_stalls_is_408(boxd):
    d = boxd(limits={"http_body_ms": 200})
    for raw in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        with d.connect() as c:
            begin = time.monotonic()
            c.send(b"POST /command HTTP/1.1\r\nHost: localhost\r\n" + raw)
            r = c.response()
            assert r.status == 408 and c.at_end()
            assert 0.15 < time.monotonic() - begin < 3


def test_a_body_that_makes_progress_is_not_too_slow(boxd):
    d = boxd(limits={"http_body_ms": 400})
    body = json.dumps({"command": "echo patient"}).encode()
    with d.connect() as c:
        c.send(c.head("POST", "/command", {"Content-Length": str(len(body))}))
        for i in range(len(body)):
            time.sleep(0.03)
            c.send(body[i:i + 1])
        assert c.stream_response().collect().stdout == ["patient"]


def test_an_idle_connection_is_closed_without_a_word(boxd):
    d = boxd(limits={"http_idle_ms": 300})
    with d.connect() as c:
        begin = time.monotonic()
        assert c.at_end()
        assert 0.2 < time.monotonic() - begin < 3
    with d.connect() as c:
        assert ping_works(c)
        begin = time.monotonic()
        assert c.at_end()
        assert 0.2 < time.monotonic() - begin < 3


def test_a_running_stream_is_not_idle(boxd):
    d = boxd(limits={"http_idle_ms": 150, "http_head_ms": 150, "http_body_ms": 150})
    with d.connect() as c:
        assert c.stream("POST", "/command", body={"command": "sleep 0.7; echo awake"}).collect().stdout == ["awake"]


# ---- listeners ----


def test_a_unix_socket_serves_like_a_port(boxd):
    d = boxd(unix=True)
    assert d.get("/ping").status == 200
    assert d.get("/ping", host="anything.example").status == 200, "no web page reaches a unix socket"
    assert d.run("echo unix").stdout == ["unix"]


def test_several_addresses_are_served_at_once(boxd):
    d = boxd(listen=["127.0.0.1:0", "unix:DIR/s", "127.0.0.1:0"])
    assert len(set(map(str, d.addresses))) == 3
    for i in range(3):
        with d.connect(i) as c:
            assert ping_works(c)


def test_ipv6_loopback_is_served(boxd):
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError as e:
        pytest.skip(f"no IPv6 here: {e}")
    d = boxd(listen=["[::1]:0"])
    assert d.get("/ping").status == 200


def test_a_stale_socket_is_replaced_but_no_other_file(boxd, tmp_path):
    where = tmp_path
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(where / "stale"))
    stale.close()
    d = boxd(listen=[f"unix:{where}/stale"])
    assert d.get("/ping").status == 200
    (where / "precious").write_text("keep me")
    status, _, err = invoke("--listen", f"unix:{where}/precious", "--root", where / "r",
                            "--state-dir", where)
    assert status not in (0, None) and err
    assert (where / "precious").read_text() == "keep me"


def test_a_port_in_use_ends_the_start_with_one_line(shared, tmp_path):
    where = tmp_path
    host, port = shared.address
    status, _, err = invoke("--listen", f"{host}:{port}", "--root", where / "r", "--state-dir", where)
    assert status == 1 and str(port) in err
