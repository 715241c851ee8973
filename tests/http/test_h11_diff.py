"""The request parser against h11: both must accept and refuse the same requests.

Each row of CASES is given whole to http1_check (the parser with the daemon's limits) and to an
h11 server connection. Where the two differ on purpose, DIFFERENCES says why; a difference that is
not explained fails, and so does an explanation that no longer holds.

BOXD_BUILD names the build directory, build/dev when it is unset.
"""

import os
import pathlib
import subprocess

import h11
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BOXD_BUILD", "build/dev")
CHECK = BUILD / "tests" / "http1_check"


def get(*fields, line=b"GET / HTTP/1.1", host=b"Host: h"):
    """A request from its lines, ended properly."""
    lines = [line] + ([host] if host is not None else []) + list(fields)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(*fields, body=b""):
    return get(*fields, line=b"POST / HTTP/1.1") + body


def line(text):
    return get(line=text)


def host(value):
    return get(host=b"Host:" + value)


CASES = {
    # methods
    "get": get(),
    "head": line(b"HEAD / HTTP/1.1"),
    "post without body": post(),
    "put": line(b"PUT /a HTTP/1.1"),
    "delete": line(b"DELETE /a HTTP/1.1"),
    "patch": line(b"PATCH /a HTTP/1.1"),
    "options": line(b"OPTIONS /a HTTP/1.1"),
    "options asterisk": line(b"OPTIONS * HTTP/1.1"),
    "unknown method": line(b"BREW / HTTP/1.1"),
    "lower case method": line(b"get / HTTP/1.1"),
    "method with every token mark": line(b"!#$%&'*+-.^_`|~09aZ / HTTP/1.1"),
    "method with parenthesis": line(b"GE(T / HTTP/1.1"),
    "method with colon": line(b"GET: / HTTP/1.1"),
    "method with quote": line(b'"GET" / HTTP/1.1'),
    "method with NUL": line(b"GE\0T / HTTP/1.1"),
    "method with control character": line(b"GE\x01T / HTTP/1.1"),
    "method with DEL": line(b"GET\x7f / HTTP/1.1"),
    "method with high byte": line(b"G\xc3\x89T / HTTP/1.1"),
    "empty method": line(b" / HTTP/1.1"),
    "connect authority": line(b"CONNECT h:443 HTTP/1.1"),
    "connect path": line(b"CONNECT / HTTP/1.1"),
    "trace": line(b"TRACE / HTTP/1.1"),
    # request line
    "two spaces after method": line(b"GET  / HTTP/1.1"),
    "two spaces after target": line(b"GET /  HTTP/1.1"),
    "tab after method": line(b"GET\t/ HTTP/1.1"),
    "tab after target": line(b"GET /\tHTTP/1.1"),
    "space before method": line(b" GET / HTTP/1.1"),
    "space after version": line(b"GET / HTTP/1.1 "),
    "tab after version": line(b"GET / HTTP/1.1\t"),
    "text after version": line(b"GET / HTTP/1.1 x"),
    "no target": line(b"GET HTTP/1.1"),
    "empty target": line(b"GET  HTTP/1.1"),
    "no version": line(b"GET /"),
    "no version but space": line(b"GET / "),
    "only a method": line(b"GET"),
    "version in lower case": line(b"GET / http/1.1"),
    "version without minor": line(b"GET / HTTP/1"),
    "version with dot at end": line(b"GET / HTTP/1."),
    "version 1.10": line(b"GET / HTTP/1.10"),
    "version 1.01": line(b"GET / HTTP/1.01"),
    "version 01.1": line(b"GET / HTTP/01.1"),
    "version with comma": line(b"GET / HTTP/1,1"),
    "version with letter": line(b"GET / HTTP/1.x"),
    "version 1.0": line(b"GET / HTTP/1.0"),
    "version 1.2": line(b"GET / HTTP/1.2"),
    "version 1.9": line(b"GET / HTTP/1.9"),
    "version 0.9": line(b"GET / HTTP/0.9"),
    "version 2.0": line(b"GET / HTTP/2.0"),
    "http2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "other protocol": line(b"GET / HTTQ/1.1"),
    "tls client hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x41" * 32 + b"\n",
    "nothing but line ends": b"\r\n\r\n\r\n\r\n\r\n\r\n",
    "empty line before": b"\r\n" + get(),
    "four empty lines before": b"\r\n" * 4 + get(),
    "five empty lines before": b"\r\n" * 5 + get(),
    # targets
    "query": line(b"GET /a?b=c&d=%20 HTTP/1.1"),
    "empty query": line(b"GET /a? HTTP/1.1"),
    "two question marks": line(b"GET /a?b?c HTTP/1.1"),
    "dot segments": line(b"GET /../../etc/passwd HTTP/1.1"),
    "two slashes": line(b"GET //a//b HTTP/1.1"),
    "broken escape": line(b"GET /%zz HTTP/1.1"),
    "escaped NUL": line(b"GET /%00 HTTP/1.1"),
    "visible marks": line(b"GET /\"<>\\^`{|}[] HTTP/1.1"),
    "target with space": line(b"GET /a b HTTP/1.1"),
    "target with tab": line(b"GET /a\tb HTTP/1.1"),
    "target with control character": line(b"GET /\x1b[0m HTTP/1.1"),
    "target with DEL": line(b"GET /\x7f HTTP/1.1"),
    "target with NUL": line(b"GET /\0 HTTP/1.1"),
    "target with high bytes": line(b"GET /\xc3\xa9 HTTP/1.1"),
    "fragment": line(b"GET /a#b HTTP/1.1"),
    "only a fragment": line(b"GET #b HTTP/1.1"),
    "asterisk with get": line(b"GET * HTTP/1.1"),
    "target without slash": line(b"GET a HTTP/1.1"),
    "only a query": line(b"GET ?a HTTP/1.1"),
    "absolute": line(b"GET http://a/b?c HTTP/1.1"),
    "absolute https with port": line(b"GET https://a:443/ HTTP/1.1"),
    "absolute without path": line(b"GET http://a HTTP/1.1"),
    "absolute without path but query": line(b"GET http://a?b HTTP/1.1"),
    "absolute ipv6": line(b"GET http://[::1]:80/ HTTP/1.1"),
    "absolute without host": line(b"GET http:///a HTTP/1.1"),
    "absolute with user": line(b"GET http://u:p@a/ HTTP/1.1"),
    "absolute with other scheme": line(b"GET ftp://a/ HTTP/1.1"),
    "absolute without Host field": get(line=b"GET http://a/ HTTP/1.1", host=None),
    "authority with get": line(b"GET a:80 HTTP/1.1"),
    # line ends
    "bare LF everywhere": get().replace(b"\r\n", b"\n"),
    "bare LF after request line": get().replace(b"\r\n", b"\n", 1),
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: h\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
    "bare CR after request line": b"GET / HTTP/1.1\rHost: h\r\n\r\n",
    "bare CR in a value": get(b"a: b\rc: d"),
    "bare CR in a name": get(b"a\rb: c"),
    "CR CR LF after a field": b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
    "CR CR LF after request line": b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
    # fields
    "no fields in 1.0": get(line=b"GET / HTTP/1.0", host=None),
    "value without space": get(b"a:b"),
    "value between white space": get(b"a: \t b \t "),
    "empty value": get(b"a:"),
    "blank value": get(b"a: \t "),
    "tab in a value": get(b"a: b\tc"),
    "high bytes in a value": get(b"a: \xc3\xa9\xff"),
    "colon in a value": get(b"a: b:c"),
    "quoted value": get(b'a: "b, \\" c"'),
    "repeated field": get(b"a: b", b"A: c"),
    "name with every token mark": get(b"!#$%&'*+-.^_`|~09aZ: b"),
    "space before colon": get(b"a : b"),
    "tab before colon": get(b"a\t: b"),
    "space in a name": get(b"a b: c"),
    "empty name": get(b": b"),
    "line without colon": get(b"ab"),
    "name with parenthesis": get(b"a(b): c"),
    "name with slash": get(b"a/b: c"),
    "name with high bytes": get(b"\xc3\xa9: c"),
    "name with NUL": get(b"a\0b: c"),
    "name with DEL": get(b"a\x7f: c"),
    "NUL in a value": get(b"a: b\0c"),
    "SOH in a value": get(b"a: b\x01c"),
    "escape in a value": get(b"a: \x1b[0m"),
    "DEL in a value": get(b"a: b\x7f"),
    "vertical tab in a value": get(b"a: b\x0bc"),
    "form feed before a value": get(b"a:\x0cb"),
    "folded with space": get(b"a: b", b" c"),
    "folded with tab": get(b"a: b", b"\tc"),
    "folded without a field": b"GET / HTTP/1.1\r\n a: b\r\nHost: h\r\n\r\n",
    "folded with blanks alone": get(b"a: b", b"  "),
    "99 more fields": get(*[b"a: b"] * 99),
    "100 more fields": get(*[b"a: b"] * 100),
    # Host
    "host with port": host(b" h:80"),
    "host ipv4": host(b" 127.0.0.1:44772"),
    "host ipv6": host(b" [::1]:80"),
    "host with empty port": host(b" h:"),
    "host with white space around": host(b" \th\t "),
    "host in other case": get(host=b"hOsT: h"),
    "missing host": get(host=None),
    "missing host in 1.0": get(line=b"GET / HTTP/1.0", host=None),
    "missing host in 1.2": get(line=b"GET / HTTP/1.2", host=None),
    "repeated host": get(b"Host: h"),
    "repeated host that differs": get(b"host: i"),
    "repeated host in 1.0": get(b"Host: i", line=b"GET / HTTP/1.0"),
    "empty host": host(b""),
    "host with user": host(b" u@h"),
    "host with path": host(b" h/a"),
    "host with space": host(b" h i"),
    "host with large port": host(b" h:65536"),
    "host with letters as port": host(b" h:http"),
    "host with two ports": host(b" h:80:80"),
    "host ipv6 without brackets": host(b" ::1"),
    "host ipv6 open": host(b" [::1"),
    "host ipv6 with text behind": host(b" [::1]x"),
    "host with high bytes": host(b" h\xc3\xa9"),
    # framing
    "length": post(b"Content-Length: 3", body=b"abc"),
    "length zero": post(b"Content-Length: 0"),
    "length with zeros in front": post(b"Content-Length: 003", body=b"abc"),
    "length with white space": post(b"Content-Length: \t3\t ", body=b"abc"),
    "length in other case": post(b"cONTENT-lENGTH: 3", body=b"abc"),
    "length of a get": get(b"Content-Length: 3"),
    "length 2^63": post(b"Content-Length: 9223372036854775808"),
    "length 2^64-1": post(b"Content-Length: 18446744073709551615"),
    "length 2^64": post(b"Content-Length: 18446744073709551616"),
    "length of 30 digits": post(b"Content-Length: " + b"9" * 30),
    "length with plus": post(b"Content-Length: +3"),
    "length with minus": post(b"Content-Length: -3"),
    "length hexadecimal": post(b"Content-Length: 0x3"),
    "length with fraction": post(b"Content-Length: 3.0"),
    "length with underscore": post(b"Content-Length: 1_0"),
    "length with space inside": post(b"Content-Length: 3 3"),
    "length empty": post(b"Content-Length:"),
    "length with text": post(b"Content-Length: three"),
    "length with unit": post(b"Content-Length: 3b"),
    "length list of equals": post(b"Content-Length: 3, 3"),
    "length list that differs": post(b"Content-Length: 3, 4"),
    "length list with comma at end": post(b"Content-Length: 3,"),
    "repeated length": post(b"Content-Length: 3", b"Content-Length: 3"),
    "repeated length that differs": post(b"Content-Length: 3", b"Content-Length: 4"),
    "chunked": post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked in capitals": post(b"Transfer-Encoding: CHUNKED"),
    "chunked with white space": post(b"Transfer-Encoding:\t chunked \t"),
    "chunked in 1.0": get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
    "chunked of a get": get(b"Transfer-Encoding: chunked"),
    "chunked with length": post(b"Transfer-Encoding: chunked", b"Content-Length: 3"),
    "length with chunked": post(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked twice in a list": post(b"Transfer-Encoding: chunked, chunked"),
    "gzip": post(b"Transfer-Encoding: gzip"),
    "gzip and chunked": post(b"Transfer-Encoding: gzip, chunked"),
    "chunked and gzip": post(b"Transfer-Encoding: chunked, gzip"),
    "gzip and chunked in two fields": post(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
    "identity": post(b"Transfer-Encoding: identity"),
    "coding empty": post(b"Transfer-Encoding:"),
    "chunked with parameter": post(b"Transfer-Encoding: chunked;a=b"),
    "chunked quoted": post(b'Transfer-Encoding: "chunked"'),
    "chunked with comma": post(b"Transfer-Encoding: chunked,"),
    "chunked after vertical tab": post(b"Transfer-Encoding: \x0bchunked"),
    "xchunked": post(b"Transfer-Encoding: xchunked"),
    "coding with space before colon": post(b"Transfer-Encoding : chunked"),
    # connection and expectations
    "connection close": get(b"Connection: close"),
    "connection list": get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"),
    "expect continue": post(b"Expect: 100-continue", b"Content-Length: 3"),
    "expect continue in capitals": post(b"Expect: 100-CONTINUE", b"Content-Length: 3"),
    "expect other": post(b"Expect: tea", b"Content-Length: 3"),
    # heads that are not complete, and what follows a head
    "nothing": b"",
    "half a request line": b"GET / HT",
    "only a request line": b"GET / HTTP/1.1\r\n",
    "fields without end": b"GET / HTTP/1.1\r\nHost: h\r\n",
    "one CR short": get()[:-2],
    "one LF short": get()[:-1],
    "bytes behind the head": get() + b"\0\n\r garbage",
    "two requests": get() + get(),
    # limits
    "long value": get(b"a: " + b"b" * 8000),
    "head over the limit": get(b"a: " + b"b" * 40000),
    "head over the limit without end": b"GET / HTTP/1.1\r\na: " + b"b" * 40000,
    "target of 8192": line(b"GET /" + b"a" * 8191 + b" HTTP/1.1"),
    "target of 8193": line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"),
}

STRICTER = {
    "a proxy's business: boxd opens no tunnels (501)": ["connect authority", "connect path"],
    "boxd speaks HTTP/1.x alone (505); h11 leaves the version to its caller": [
        "version 0.9", "version 2.0", "http2 preface"],
    "RFC 9112 3.2: a target is origin-, absolute- or asterisk-form and has no fragment": [
        "fragment", "only a fragment", "target without slash", "only a query", "authority with get"],
    "RFC 9112 3.2.4: the asterisk is for OPTIONS": ["asterisk with get"],
    "RFC 9110 4.2: an http URI has a host, no user information is accepted, and boxd serves no other scheme": [
        "absolute without host", "absolute with user", "absolute with other scheme"],
    "RFC 9112 2.2 lets a recipient take a bare LF; two readers that differ in it can be played against each other": [
        "bare LF everywhere", "bare LF after request line", "bare LF after a field",
        "bare LF at the end"],
    "RFC 9110 5.5: no control characters in field values": [
        "SOH in a value", "escape in a value", "DEL in a value"],
    "RFC 9112 5.2: a server that gets a folded line may refuse it": [
        "folded with space", "folded with tab", "folded with blanks alone"],
    "h11 has no limit on the number of fields (431)": ["100 more fields"],
    "a higher minor version is treated as 1.1, which needs Host": ["missing host in 1.2"],
    "RFC 9112 3.2: a Host that is not uri-host [: port] is a 400; h11 does not look at the value": [
        "host with user", "host with path", "host with space", "host with large port",
        "host with letters as port", "host with two ports", "host ipv6 without brackets",
        "host ipv6 open", "host ipv6 with text behind", "host with high bytes"],
    "the grammar has an empty host, but no URI that boxd serves does": ["empty host"],
    "boxd counts in 64 bits, h11 in Python integers": ["length 2^64", "length of 30 digits"],
    "RFC 9112 6.3: repeated equal lengths may be refused or merged": [
        "length list of equals", "repeated length"],
    "RFC 9112 6.1: a coding in 1.0 is faulty framing": ["chunked in 1.0"],
    "RFC 9112 6.1: length with coding may be refused; it is how requests are smuggled": [
        "chunked with length", "length with chunked"],
    "RFC 9110 10.1.1: an unknown expectation may be answered with 417": ["expect other"],
    "h11 limits only heads that are not complete (431)": ["head over the limit"],
    "h11 has no limit of its own for the target (414)": ["target of 8193"],
}

LOOSER = {
    "RFC 9112 2.2: a server should skip empty lines before a request; boxd takes up to four": [
        "empty line before", "four empty lines before"],
}

# name -> (what boxd does, what h11 does, why)
DIFFERENCES = {
    name: (*kinds, reason)
    for kinds, table in ((("reject", "accept"), STRICTER), (("accept", "reject"), LOOSER))
    for reason, names in table.items()
    for name in names
}


def ask_boxd(raw):
    out = subprocess.run([CHECK], input=raw, stdout=subprocess.PIPE, check=True, timeout=10).stdout
    return out.decode().rstrip("\n")


def ask_h11(raw):
    """The same answer in the same words, but for the status of a refusal."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=32768)
    try:
        if raw:  # an empty read means the end of the connection to h11
            connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        return f"reject {error.error_status_hint}"
    if event is h11.NEED_DATA:
        return "more"
    assert isinstance(event, h11.Request)
    fields = dict(event.headers)
    body = "none"
    if b"transfer-encoding" in fields:
        body = fields[b"transfer-encoding"].decode()
    elif b"content-length" in fields:
        body = "length:%d" % int(fields[b"content-length"])
    return f"accept {event.method.decode()} {event.target.decode()} body={body}"


def verdict(answer):
    """Statuses differ (h11 knows few); whether a request is refused must not."""
    return "reject" if answer.startswith("reject ") else answer


def test_the_table_is_large_enough():
    assert len(CASES) >= 120


def test_explanations_are_about_rows_of_the_table():
    assert set(DIFFERENCES) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_h11_or_says_why_not(name):
    ours, theirs = verdict(ask_boxd(CASES[name])), verdict(ask_h11(CASES[name]))
    if name not in DIFFERENCES:
        assert ours == theirs
        return
    *kinds, reason = DIFFERENCES[name]
    assert [ours.split()[0], theirs.split()[0]] == kinds, f"no longer true: {reason}"
