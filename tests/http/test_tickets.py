"""POST /tickets, and where a ticket opens a door (issue 4, part 5)."""

import re
import time
from datetime import datetime

import pytest

from boxd import Daemon

TOKEN = "s3cret-token-0123456789abcdef"
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def locked():
    d = Daemon("--log-level", "debug", token=TOKEN)
    yield d
    d.stop()


def ticket(d, **members):
    r = d.post("/tickets", members or None)
    assert r.status == 201, r
    return r.json()["ticket"]


def bare(d, method, target, fields=(), body=None, **kw):
    """A request without the token."""
    with d.connect() as c:
        return c.request(method, target, fields, body, **kw)


def show(d, value, path="/command/none/events", fields=EVENTS, method="GET"):
    """The status for a request that has nothing but a ticket. 404: it got in; there is no such command."""
    mark = "&" if "?" in path else "?"
    return bare(d, method, f"{path}{mark}ticket={value}", fields).status


# ---- minting ----


def test_a_ticket_says_how_long_it_is_good(locked):
    before = time.time()
    r = locked.post("/tickets", {})
    after = time.time()
    assert r.status == 201, r
    assert r.field("content-type") == "application/json; charset=utf-8"
    assert r.field("cache-control") == "no-store"
    body = r.json()
    assert sorted(body) == ["expires_at", "expires_in_ms", "ticket"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", body["ticket"])
    assert body["expires_in_ms"] == 30000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["expires_at"])
    expires = datetime.fromisoformat(body["expires_at"].replace("Z", "+00:00")).timestamp()
    assert before + 29.9 <= expires <= after + 30.1
    assert locked.post("/tickets", {}).json()["ticket"] != body["ticket"]


@pytest.mark.parametrize("body", [
    None, "", "{}", "null", '{"scope":null}', '{"scope":"/"}', '{"scope":"/pty/","label":"x"}', '{"other":[1,{}]}',
    '{"SCOPE":"/pty/"}',
])
def test_bodies_that_make_a_ticket(locked, body):
    assert locked.post("/tickets", body).status == 201


@pytest.mark.parametrize("body", [
    "x", "[]", '"/pty/"', "7", '{"scope":7}', '{"scope":["/"]}', '{"scope":""}', '{"scope":"pty/"}',
    '{"scope":"http://a/"}', '{"scope":"/\\u0000"}', '{"scope":"/',
])
def test_bodies_that_do_not(locked, body):
    r = locked.post("/tickets", body)
    assert (r.status, r.json()["code"]) == (400, "INVALID_REQUEST_BODY"), r


def test_a_scope_is_no_longer_than_a_path_can_be(boxd):
    d = boxd(limits={"http_target_bytes": 300})
    assert d.post("/tickets", {"scope": "/" + "x" * 299}).status == 201
    assert d.post("/tickets", {"scope": "/" + "x" * 300}).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_tickets_are_posted_for(locked, method):
    r = locked.request(method, "/tickets")
    assert r.status == 405 and r.field("allow") == "POST"


def test_a_ticket_costs_the_token(locked):
    assert bare(locked, "POST", "/tickets", body="{}").status == 401
    one = ticket(locked)
    assert show(locked, one, "/tickets", method="POST") == 401
    assert bare(locked, "POST", f"/tickets?ticket={one}", WEBSOCKET, "{}").status == 401
    assert show(locked, one) == 404


def test_without_a_token_tickets_are_made_and_not_used_up(boxd):
    d = boxd()
    one = ticket(d)
    assert show(d, one) == 404
    assert show(d, one) == 404
    assert show(d, "x" * 43) == 404


# ---- showing ----


def test_a_ticket_opens_an_event_stream_once(locked):
    ident = locked.background("echo one; echo two")
    locked.finished(ident)
    one = ticket(locked)
    with locked.connect() as c:
        stream = c.stream("GET", f"/command/{ident}/events?since=0&ticket={one}", EVENTS)
        assert stream.collect().stdout == ["one", "two"]
    r = bare(locked, "GET", f"/command/{ident}/events?since=0&ticket={one}", EVENTS)
    assert (r.status, r.json()["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("path,fields", [
    ("/command/none/events", EVENTS),
    ("/command/none/events", {"Accept": "text/event-stream, */*;q=0.1"}),
    ("/nowhere", WEBSOCKET),
    ("/nowhere", {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}),
    ("/nowhere?a=b", EVENTS),
])
def test_it_is_used_up_even_when_the_route_then_fails(locked, path, fields):
    one = ticket(locked)
    assert show(locked, one, path, fields) == 404
    assert show(locked, one, path, fields) == 401


def test_it_opens_the_page(locked):
    one = ticket(locked)
    assert bare(locked, "GET", "/terminal").status == 401
    assert show(locked, one, "/terminal", {}) != 401
    assert show(locked, one, "/terminal", {}) == 401
    assert show(locked, ticket(locked), "/terminal/", {}) != 401


@pytest.mark.parametrize("method,path,fields", [
    ("GET", "/ping", {}),
    ("GET", "/ping", {"Accept": "*/*"}),
    ("GET", "/command", {"Accept": "application/json"}),
    ("GET", "/files/info", {"Upgrade": "websocket"}),
    ("GET", "/files/info", {"Connection": "Upgrade", "Upgrade": "h2c"}),
    ("HEAD", "/command/none/events", EVENTS),
    ("HEAD", "/terminal", {}),
    ("POST", "/command", EVENTS),
    ("DELETE", "/command", EVENTS),
    ("POST", "/terminal", {}),
    ("OPTIONS", "/terminal", {}),
    ("GET", "/terminal/x", {}),
])
def test_elsewhere_it_is_ignored_and_stays_good(locked, method, path, fields):
    one = ticket(locked)
    assert show(locked, one, path, fields, method) == 401
    assert show(locked, one) == 404


def test_what_is_no_ticket_opens_nothing(locked):
    one = ticket(locked)
    for value in ("", "x", one[:-1], one + "A", one[1:] + "A", one.swapcase(), TOKEN, "%00", "%zz", "x" * 43,
                  "x" * 4000):
        assert show(locked, value) == 401, value
    assert bare(locked, "GET", f"/command/none/events?Ticket={one}", EVENTS).status == 401
    assert bare(locked, "GET", f"/command/none/events?x={one}", EVENTS).status == 401
    assert bare(locked, "GET", "/command/none/events", {**EVENTS, "Ticket": one}).status == 401
    assert bare(locked, "GET", "/command/none/events", {**EVENTS, "X-EXECD-ACCESS-TOKEN": one}).status == 401
    # The first occurrence counts, and an escape is what it stands for.
    assert bare(locked, "GET", f"/command/none/events?ticket=x&ticket={one}", EVENTS).status == 401
    escaped = "".join(f"%{ord(c):02x}" for c in one)
    assert show(locked, escaped) == 404


def test_a_scope_bounds_it_and_a_wrong_path_does_not_use_it_up(locked):
    one = ticket(locked, scope="/command/a/")
    for path in ("/command/b/events", "/nowhere", "/terminal", "/command/%61/events", "/command/a"):
        assert show(locked, one, path) == 401, path
    assert show(locked, one, "/command/a/events") == 404
    assert show(locked, one, "/command/a/events") == 401


def test_by_way_of_our_own_proxy_a_ticket_is_for_the_path_behind_it(locked):
    own = f"/proxy/{locked.address[1]}"
    r = locked.post(own + "/tickets", {"scope": "/command/"})
    assert r.status == 201, r
    one = r.json()["ticket"]
    for path in ("/nowhere", "", "/"):
        assert show(locked, one, own + path) == 401, path
    assert show(locked, one, own + "/command/none/events") == 404
    assert show(locked, one, own + "/command/none/events") == 401
    assert show(locked, ticket(locked), own + "/terminal", {}) != 401
    assert show(locked, ticket(locked), "/proxy/1/terminal", {}) == 401
    # Another's port is a path as any other.
    one = ticket(locked, scope="/command/")
    for port in ("1", "", "x", "65536", str(locked.address[1]) + "x"):
        assert show(locked, one, f"/proxy/{port}/command/none/events") == 401, port
    assert show(locked, one) == 404


def test_a_request_with_the_token_leaves_it_alone(locked):
    one = ticket(locked)
    for fields in ({"X-EXECD-ACCESS-TOKEN": TOKEN}, {"Authorization": "Bearer " + TOKEN}):
        assert show(locked, one, fields={**EVENTS, **fields}) == 404
    assert show(locked, one, fields={**EVENTS, "X-EXECD-ACCESS-TOKEN": "wrong"}) == 404
    assert show(locked, one) == 401


@pytest.mark.parametrize("fields", [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
])
def test_a_foreign_page_cannot_use_one(locked, fields):
    one = ticket(locked)
    assert show(locked, one, fields={**EVENTS, **fields}) == 403
    assert show(locked, one, fields={**WEBSOCKET, **fields}) == 403
    assert show(locked, one) == 404


def test_a_foreign_page_cannot_make_one(boxd):
    d = boxd()
    assert d.post("/tickets", {}, {"Origin": "http://evil.example"}).status == 403
    assert d.post("/tickets", {}, host="evil.example").status == 403


def test_two_at_once_are_one(locked):
    one = ticket(locked)
    conns = [locked.connect() for _ in range(8)]
    for c in conns:
        c.send(c.head("GET", f"/command/none/events?ticket={one}", EVENTS))
    got = sorted(c.response().status for c in conns)
    for c in conns:
        c.close()
    assert got == [401] * 7 + [404]


def test_tickets_stay_out_of_the_log(boxd):
    d = boxd("--log-level", "debug", token=TOKEN)
    values = [ticket(d) for _ in range(3)]
    assert show(d, values[0]) == 404
    assert show(d, values[0]) == 401
    assert show(d, values[1], "/ping", {}) == 401
    assert bare(d, "GET", f"/x?ticket={values[2]} HTTP/9", EVENTS).status in (400, 505)
    d.stop()
    assert not [x for x in d.log if any(v in x for v in values)]
