"""The port proxy (contract 1.34): what goes through, and what does not."""

import hashlib
import threading
import time

import pytest

from upstream import Upstream, dead_port, echo, receive, refused, scripted, serving, simple, through
from wire import Closed


# ---- the request ----


TARGETS = {
    "": "/", "/": "/", "?": "/?", "?a=b": "/?a=b", "/a/b": "/a/b", "/a%2Fb": "/a%2Fb", "/a%2fb%20": "/a%2fb%20",
    "//x//y/": "//x//y/", "/a/./../b": "/a/./../b", "/%zz%": "/%zz%", "/x?": "/x?", "/x?y?z": "/x?y?z",
    "/x?a=%20+&a=;b": "/x?a=%20+&a=;b", "/;p=1,2": "/;p=1,2", "/[x]|{y}^`\"<>\\": "/[x]|{y}^`\"<>\\",
    "/proxy/1/x": "/proxy/1/x",
}


def test_path_and_query_are_passed_raw(shared, echo):
    for suffix, expected in TARGETS.items():
        assert through(shared, echo.port, suffix).body.decode() == expected, suffix


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "X-y!"])
def test_every_method_is_passed(shared, echo, method):
    assert through(shared, echo.port, "/m", method).status == 200
    assert echo.requests[-1].method == method


@pytest.mark.parametrize("target", ["/proxy/0/", "/proxy/65536/", "/proxy/abc", "/proxy/-1/", "/proxy/+80/", "/proxy/80x/",
                                    "/proxy/", "/proxy//80/", "/proxy/8%30/", "/proxy/000080/", "/proxy/99999999999999999999/"])
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
def test_a_bad_port_is_a_bad_request(shared, method, target):
    refused(shared.request(method, target), 400, "BAD_REQUEST")


def test_without_a_slash_it_is_no_route(shared):
    refused(shared.get("/proxy"), 404, "NOT_FOUND")


def test_host_is_passed_as_it_came(shared, echo):
    for host in ("example.test", "example.test:81", "[::1]:80", "127.0.0.1"):
        with shared.connect() as c:
            c.send(c.head("GET", f"/proxy/{echo.port}/", host=host))
            status = receive(c).status
        if status == 403:  # a name that is not ours: the browser checks, with no token set
            continue
        assert echo.requests[-1].all("host") == [host]
    assert echo.requests[-1].field("host") == "127.0.0.1"


def test_the_authority_of_an_absolute_target_is_the_host(shared, echo):
    with shared.connect() as c:
        c.send(f"GET http://127.0.0.1:9/proxy/{echo.port}/a?b HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert receive(c).body == b"/a?b"
    assert echo.requests[-1].all("host") == ["127.0.0.1:9"]


def test_a_request_of_http_1_0_gets_a_host(shared, echo):
    with shared.connect() as c:
        c.send(f"GET /proxy/{echo.port}/ HTTP/1.0\r\n\r\n".encode())
        assert receive(c).body == b"/"
    assert echo.requests[-1].all("host") == [f"127.0.0.1:{echo.port}"]


FORWARDED = [
    ([], "127.0.0.1, 127.0.0.1"),
    ([("X-Forwarded-For", "10.0.0.1")], "10.0.0.1, 127.0.0.1"),
    ([("X-Forwarded-For", "10.0.0.1, 10.0.0.2 ,10.0.0.3")], "10.0.0.1, 127.0.0.1"),
    ([("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "10.9.9.9")], "10.0.0.1, 127.0.0.1"),
    ([("X-Forwarded-For", ""), ("X-Real-IP", "10.0.0.5")], "10.0.0.5, 127.0.0.1"),
    ([("X-Real-IP", "10.0.0.5")], "10.0.0.5, 127.0.0.1"),
    ([("X-Forwarded-For", "a"), ("X-Real-IP", "b")], "a, 127.0.0.1"),
    ([("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "https")], "127.0.0.1, 127.0.0.1"),
]


def test_forwarded_fields(shared, echo):
    for fields, expected in FORWARDED:
        through(shared, echo.port, fields=fields)
        r = echo.requests[-1]
        assert r.all("x-forwarded-for") == [expected], fields
        assert r.all("x-forwarded-proto") == ["http"] and r.all("x-forwarded-host") == [], fields


def test_forwarded_fields_over_other_sockets(boxd, echo):
    unix = boxd(unix=True)
    through(unix, echo.port)
    assert echo.requests[-1].all("x-forwarded-for") == []
    through(unix, echo.port, fields=[("X-Forwarded-For", "10.0.0.1")])
    assert echo.requests[-1].all("x-forwarded-for") == ["10.0.0.1"]
    through(boxd(listen=["[::1]:0"]), echo.port)
    assert echo.requests[-1].all("x-forwarded-for") == ["::1, ::1"]


def test_fields_between_neighbours_stay_there(shared, echo):
    through(shared, echo.port, fields=[
        ("Connection", "keep-alive, X-Mine"), ("Keep-Alive", "timeout=5"), ("X-Mine", "1"), ("Connection", "x-other"),
        ("X-Other", "2"), ("Proxy-Authorization", "x"), ("Proxy-Connection", "y"), ("TE", "trailers"), ("Trailer", "T"),
        ("Upgrade", "h2c"), ("X-Kept", "a"), ("X-Kept", "b"), ("Cookie", "c=d"), ("X-Real-IP", "1.2.3.4")])
    r = echo.requests[-1]
    names = {n for n, _ in r.fields}
    assert names == {"host", "x-kept", "cookie", "x-real-ip", "x-forwarded-for", "x-forwarded-proto"}
    assert r.all("x-kept") == ["a", "b"]


def test_too_many_names_in_connection_are_refused(shared, echo):
    names = ",".join(f"a{i}" for i in range(33))
    assert through(shared, echo.port, fields=[("Connection", names.rpartition(",")[0])]).status == 200
    refused(through(shared, echo.port, fields=[("Connection", names)]), 400, "BAD_REQUEST")


def test_the_token_never_reaches_the_target(boxd, echo):
    d = boxd(token="s3cret")
    cases = [
        ([("X-EXECD-ACCESS-TOKEN", "s3cret")], []),
        ([("Authorization", "Bearer s3cret")], []),
        ([("Authorization", "bearer   s3cret"), ("X-Execd-Access-Token", "other")], []),
        ([("X-EXECD-ACCESS-TOKEN", "s3cret"), ("Authorization", "Bearer other")], ["Bearer other"]),
        ([("X-EXECD-ACCESS-TOKEN", "s3cret"), ("Authorization", "Basic s3cret")], ["Basic s3cret"]),
        ([("X-EXECD-ACCESS-TOKEN", "s3cret"), ("Authorization", "Basic x"), ("Authorization", "Bearer s3cret")], ["Basic x"]),
    ]
    for fields, expected in cases:
        with d.connect() as c:
            c.send(c.head("GET", f"/proxy/{echo.port}/", fields))
            assert receive(c).status == 200, fields
        r = echo.requests[-1]
        assert r.all("authorization") == expected and r.all("x-execd-access-token") == [], fields
        assert "s3cret" not in str([v for v in r.fields if v[1] not in expected])
    with d.connect() as c:
        r = c.request("GET", f"/proxy/{echo.port}/")
        refused(r, 401, "UNAUTHORIZED")
    assert len(echo.requests) == len(cases)


@pytest.mark.parametrize("size", [0, 1, 5, 4096, 70000, 300000])
def test_a_request_body_arrives_whole_either_way(shared, size):
    data = bytes(i * 7 % 251 for i in range(size))
    with serving(lambda peer, r: peer.answer(hashlib.sha1(r.body).hexdigest().encode())) as up:
        digest = hashlib.sha1(data).hexdigest()
        assert through(shared, up.port, "/", "POST", body=data).body.decode() == digest
        assert up.requests[-1].all("content-length") == [str(size)]
        with shared.connect() as c:
            c.send(c.head("PUT", f"/proxy/{up.port}/", [("Transfer-Encoding", "chunked")]))
            for at in range(0, size, 1000):
                piece = data[at:at + 1000]
                c.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            c.send(b"0\r\nTrailer: dropped\r\n\r\n")
            assert receive(c).body.decode() == digest
        r = up.requests[-1]
        assert r.chunked and r.field("content-length") is None


def test_a_small_request_is_one_segment(shared):
    got = []

    def serve(peer):
        got.append(peer.sock.recv(65536))
        peer.answer(b"x")
    with Upstream(serve) as up:
        through(shared, up.port, "/", "POST", body=b"small body")
    assert got[0].endswith(b"\r\n\r\nsmall body")


def test_expect_is_answered_here_once_the_port_has_accepted(shared):
    with serving(lambda peer, r: peer.answer(r.body)) as up, shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Expect", "100-continue"), ("Content-Length", "4")]))
        assert c.response_head().status == 100
        c.send(b"body")
        assert receive(c).body == b"body"
        assert up.requests[-1].field("expect") is None


def test_expect_is_not_answered_for_a_dead_port(shared):
    with shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{dead_port()}/", [("Expect", "100-continue"), ("Content-Length", "4")]))
        refused(c.response(), 502, "BAD_GATEWAY")


@pytest.mark.parametrize("how", ["malformed", "early"])
def test_a_broken_request_body_is_told_and_the_server_sees_no_end(shared, how):
    seen, began = [], threading.Event()

    def serve(peer):
        pieces = peer.pieces(peer.request_head())
        assert next(pieces) == b"abc"
        began.set()
        try:
            assert next(pieces) is None
        except Closed as e:
            seen.append(e)
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n")
        assert began.wait(10)
        if how == "malformed":
            c.send(b"zz\r\n")
        else:
            c.half_close()
        refused(c.response(), 400, "BAD_REQUEST")
        assert c.at_end()
    assert len(seen) == 1


def test_a_slow_request_body_times_out(boxd):
    d = boxd(limits={"http_body_ms": 300})

    def serve(peer):
        peer.request_head()
        peer.rest()
    with Upstream(serve) as up, d.connect() as c:
        c.send(c.head("POST", f"/proxy/{up.port}/", [("Content-Length", "10")]) + b"abc")
        refused(c.response(), 408, "REQUEST_TIMEOUT")


# ---- the answer ----


@pytest.mark.parametrize("status", [200, 201, 202, 206, 301, 307, 400, 401, 403, 404, 418, 429, 500, 503, 599])
def test_status_and_body_are_passed(shared, status):
    with simple(b"the body", status=status, fields=[("Location", "/there")]) as up:
        r = through(shared, up.port, "/credential-vault/_active")
        assert (r.status, r.body, r.field("location")) == (status, b"the body", "/there")
        assert r.field("content-length") == "8"
        assert up.requests[-1].target == "/credential-vault/_active"


def test_fields_of_the_answer(shared):
    fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Type", "x/y"), ("Date", time.strftime(
        "%a, %d %b %Y %H:%M:%S GMT", time.gmtime())), ("X-Request-ID", "theirs"), ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"), ("Keep-Alive", "5"), ("Proxy-Authenticate", "x"), ("Trailer", "t"), ("Upgrade", "h2c"),
        ("ETag", '"e"'), ("Server", "s")]
    with simple(fields=fields) as up:
        r = through(shared, up.port)
    assert r.all("set-cookie") == ["a=1", "b=2"]
    assert r.all("x-request-id") == ["theirs"]
    assert {n for n, _ in r.fields} == {
        "set-cookie", "content-type", "date", "x-request-id", "etag", "server", "content-length"}


def test_an_answer_without_date_and_id_gets_ours(shared):
    with simple() as up:
        r = through(shared, up.port, fields=[("X-Request-ID", "mine")])
    assert r.all("x-request-id") == ["mine"] and len(r.all("date")) == 1


def test_an_allowed_origin_is_told_once(boxd):
    d = boxd("--allow-origin", "http://a.test")
    with simple(fields=[("Access-Control-Allow-Origin", "*")]) as up:
        assert through(d, up.port, fields=[("Origin", "http://a.test")]).all("access-control-allow-origin") == ["http://a.test"]
        assert through(d, up.port).all("access-control-allow-origin") == ["*"]
        refused(through(d, up.port, fields=[("Origin", "http://b.test")]), 403, "FORBIDDEN")
    assert len(up.requests) == 2


BODIES = {  # what the server sends, (framing, body) that arrive
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ("5", b"hello")),
    "length 0": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ("0", b"")),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", ("1", b"x")),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;e\r\nllo\r\n0\r\nT: x\r\n\r\n", ("chunked", b"hello")),
    "chunked, empty": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ("chunked", b"")),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nhello", ("chunked", b"hello")),
    "until close, empty": (b"HTTP/1.1 200 OK\r\n\r\n", ("chunked", b"")),
    "1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", ("chunked", b"hello")),
    "1.0 length": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", ("5", b"hello")),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ("1", b"x")),
    "space before colon": (b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx", ("1", b"x")),
    "surplus": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n", ("1", b"x")),
}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_framing_of_the_answer(shared, name, cut):
    answer, (framing, body) = BODIES[name]

    def serve(peer):
        peer.read()
        for i in range(len(answer)):
            peer.send(answer[i:i + 1])
    with Upstream(serve, quiet=name == "surplus") if cut else scripted(answer) as up, shared.connect() as c:
        r = through(shared, up.port, conn=c)
        assert r.body == body
        assert (r.field("content-length") or r.field("transfer-encoding")) == framing
        assert c.request("GET", "/ping").status == 200, "the connection goes on"


@pytest.mark.parametrize("name", BODIES)
def test_a_client_of_http_1_0_gets_it_unframed(shared, name):
    answer, (framing, body) = BODIES[name]
    with scripted(answer) as up, shared.connect() as c:
        c.send(f"GET /proxy/{up.port}/ HTTP/1.0\r\n\r\n".encode())
        r = receive(c)
        assert r.body == body and not r.chunked
        assert c.at_end()


BODILESS = [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, "99"),
    ("HEAD", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, "0"),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, None),
    ("GET", b"HTTP/1.1 204 No\r\n\r\n", 204, None),
    ("GET", b"HTTP/1.1 304 Not\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n", 304, None),
    ("POST", b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 204, None),
]


@pytest.mark.parametrize("method,answer,status,length", BODILESS)
def test_answers_without_a_body(shared, method, answer, status, length):
    with scripted(answer) as up, shared.connect() as c:
        r = through(shared, up.port, "/", method, conn=c)
        assert (r.status, r.field("content-length")) == (status, length)
        assert c.request("GET", "/ping").status == 200, "nothing is left in the connection"


def test_each_event_arrives_before_the_next_is_sent(shared):
    seen = threading.Semaphore(0)

    def serve(peer):
        peer.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for i in range(50):
            peer.send(b"data: %d\n\n" % i)
            assert seen.acquire(timeout=10), f"event {i} is held back"
    with Upstream(serve) as up, shared.connect() as c:
        c.send(c.head("GET", f"/proxy/{up.port}/events"))
        r = c.response_head()
        assert r.field("content-type") == "text/event-stream"
        for i, piece in enumerate(c.chunks(response=r)):
            assert piece == b"data: %d\n\n" % i
            seen.release()
        assert i == 49
