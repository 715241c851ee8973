"""The limits of port waits and tickets, at the limit and one past it (see test_limits.py)."""

import time

from test_ports import shut_port
from test_tickets import EVENTS, bare, show, ticket
import procfs

TOKEN = "s3cret-token-0123456789abcdef"


def test_port_waits(boxd):
    d = boxd(limits={"port_waits": 3})
    with shut_port() as port:
        waiting = [d.connect() for _ in range(3)]
        for c in waiting:
            c.send(c.head("GET", f"/ports/{port}/wait"))
        full = procfs.wait_until(lambda: refused(d, port))
        assert full.json()["code"] == "TOO_MANY"
        # One that leaves makes room.
        waiting.pop().reset()
        procfs.wait_until(lambda: d.get(f"/ports/{port}/wait?timeout_ms=0").status == 504)
        for c in waiting:
            c.close()


def refused(d, port):
    """The answer to a request that finds the table full."""
    r = d.get(f"/ports/{port}/wait?timeout_ms=0")
    return r if r.status == 429 else None


def test_port_wait_ms(boxd):
    d = boxd(limits={"port_wait_ms": 200})
    with shut_port() as port:
        begin = time.monotonic()
        assert d.get(f"/ports/{port}/wait?timeout_ms=200").status == 504
        assert 0.2 <= time.monotonic() - begin < 3
        r = d.get(f"/ports/{port}/wait?timeout_ms=201")
        assert (r.status, r.json()["code"]) == (400, "INVALID_QUERY")
        # The default is never more than the limit.
        begin = time.monotonic()
        assert d.get(f"/ports/{port}/wait").status == 504
        assert 0.2 <= time.monotonic() - begin < 3


def test_ticket_count(boxd):
    d = boxd(limits={"ticket_count": 3}, token=TOKEN)
    first = ticket(d)
    ticket(d)
    ticket(d, scope="/x")
    r = d.post("/tickets", {})
    assert (r.status, r.json()["code"]) == (429, "TOO_MANY")
    assert show(d, first) == 404
    assert d.post("/tickets", {}).status == 201
    assert d.post("/tickets", {}).status == 429


def test_ticket_ms(boxd):
    d = boxd(limits={"ticket_ms": 600, "ticket_count": 2}, token=TOKEN)
    assert d.post("/tickets", {}).json()["expires_in_ms"] == 600
    begin = time.monotonic()
    one = ticket(d)
    assert d.post("/tickets", {}).status == 429
    # Time makes room; what it takes is the life of the ticket and not less.
    procfs.wait_until(lambda: d.post("/tickets", {}).status == 201)
    procfs.wait_until(lambda: d.post("/tickets", {}).status == 201)
    assert 0.59 <= time.monotonic() - begin < 5
    assert bare(d, "GET", f"/command/none/events?ticket={one}", EVENTS).status == 401
