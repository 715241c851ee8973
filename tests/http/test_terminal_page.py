"""GET /terminal: what goes with the page, and what a build without it says. tests/clients drives the
page itself in a browser."""

import gzip
import hashlib
import re
from base64 import b64encode

import pytest

GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def capability(d):
    return d.get("/capabilities").json()["capabilities"]["terminal"]


@pytest.fixture
def page(shared):
    """A daemon with the page."""
    if not capability(shared)["available"]:
        pytest.skip("this build has no terminal page")
    return shared


def policy(r):
    """The content security policy: a directive's sources by its name."""
    value = r.field("content-security-policy")
    return {words[0]: words[1:] for words in (part.split() for part in value.split(";"))}


def test_a_build_says_whether_it_has_the_page(shared):
    said = capability(shared)
    r = shared.get("/terminal")
    if said["available"]:
        assert "reason" not in said
        assert r.status == 200 and r.body
    else:
        assert "BOXD_TERMINAL" in said["reason"]
        assert (r.status, r.json()["code"]) == (501, "NOT_SUPPORTED")
        assert "BOXD_TERMINAL" in r.json()["message"]


def test_the_page_needs_the_token(boxd):
    d = boxd(token="secret-of-the-page")
    d.token = None
    assert d.get("/terminal").status == 401


def test_only_get_and_head_fit(shared):
    r = shared.post("/terminal", "")
    assert r.status == 405
    assert {m.strip() for m in r.field("allow").split(",")} == {"GET", "HEAD"}


def test_the_page_is_the_same_with_and_without_compression(page):
    plain, packed = page.get("/terminal"), page.get("/terminal", GZIP)
    assert plain.field("content-encoding") is None
    assert packed.field("content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.field("vary") == packed.field("vary") == "Accept-Encoding"
    assert plain.body.startswith(b"<!DOCTYPE html>") and plain.body.endswith(b"</html>\n")
    assert len(packed.body) < 100_000, "it has to stay small in the binary"
    assert page.get("/terminal", {"Accept-Encoding": "gzip;q=0"}).body == plain.body


@pytest.mark.parametrize("fields", [{}, GZIP], ids=["plain", "gzip"])
def test_head_is_get_without_the_body(page, fields):
    def fixed(r):
        return [f for f in r.fields if f[0] not in ("date", "x-request-id")]
    with page.connect() as c:
        head = c.request("HEAD", "/terminal", fields)
        got = c.request("GET", "/terminal", fields)
    assert (head.status, head.body) == (200, b"")
    assert fixed(head) == fixed(got)
    assert int(head.field("content-length")) == len(got.body)


def test_no_script_runs_but_its_own(page):
    r = page.get("/terminal")
    rules = policy(r)
    scripts = re.findall(rb"<script[^>]*>(.*?)</script>", r.body, re.S)
    hashes = ["'sha256-" + b64encode(hashlib.sha256(s).digest()).decode() + "'" for s in scripts]
    assert scripts and rules["script-src"] == hashes
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["connect-src"] == ["'self'"]
    assert rules["img-src"] == ["data:"]
    assert set(rules) == {"default-src", "script-src", "style-src", "img-src", "connect-src", "base-uri",
                          "form-action", "frame-ancestors"}


def test_the_page_asks_nobody_else(page):
    markup = re.sub(rb"<(script|style)[^>]*>.*?</\1>", b"", page.get("/terminal").body, flags=re.S)
    markup = re.sub(rb"<!--.*?-->", b"", markup, flags=re.S)
    assert b"<!--" not in markup, "a part was not put in"
    for attribute in re.findall(rb"\b(?:src|href|action)=\"([^\"]*)\"", markup):
        assert attribute.startswith(b"data:"), attribute


def test_the_licence_of_what_is_in_it_comes_along(page):
    body = page.get("/terminal").body
    assert b"The xterm.js authors" in body and b"Permission is hereby granted" in body


def test_the_answer_is_for_this_page_alone(page):
    r = page.get("/terminal")
    assert r.field("content-type") == "text/html; charset=utf-8"
    assert r.field("x-content-type-options") == "nosniff"
    assert r.field("referrer-policy") == "no-referrer"
    assert r.field("cross-origin-opener-policy") == "same-origin"
    assert r.field("cross-origin-resource-policy") == "same-origin"
    assert r.field("cache-control") == "private, no-cache"


@pytest.mark.parametrize("form", ["{weak}", "{strong}", '"other", {weak}', "*"])
def test_a_page_that_is_known_is_not_sent_again(page, form):
    tag = page.get("/terminal").field("etag")
    assert re.match(r'^W/"[0-9a-f]{32}"$', tag)
    with page.connect() as c:
        r = c.request("GET", "/terminal", {"If-None-Match": form.format(weak=tag, strong=tag[2:]), **GZIP})
        assert (r.status, r.body) == (304, b"")
        assert r.field("etag") == tag
        assert r.field("content-security-policy") and r.field("cache-control")
        assert c.request("GET", "/ping").status == 200
    assert page.get("/terminal", {"If-None-Match": '"other"'}).status == 200


def test_a_slash_at_the_end_is_the_same_page(page):
    assert page.get("/terminal/").body == page.get("/terminal").body
