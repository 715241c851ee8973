"""Who may talk to the daemon: the token, and the checks that keep web pages out (DESIGN 3.7)."""

import shutil

import pytest

import procfs
from boxd import BIN, Daemon, invoke

TOKEN = "s3cret-token-0123456789abcdef"


@pytest.fixture(scope="module")
def locked():
    d = Daemon(token=TOKEN)
    yield d
    d.stop()


def bare(d, method, target, fields=(), body=None, **kw):
    """A request without the token."""
    with d.connect() as c:
        return c.request(method, target, fields, body, **kw)


# ---- the token ----


@pytest.mark.parametrize("method,target", [
    ("GET", "/ping"), ("HEAD", "/ping"), ("POST", "/command"), ("GET", "/command"), ("DELETE", "/command?id=x"),
    ("GET", "/command/status/x"), ("GET", "/command/x/logs"), ("GET", "/command/x/events"),
    ("GET", "/openapi.json"), ("GET", "/capabilities"), ("GET", "/nowhere"), ("POST", "/session"),
    ("PUT", "/ping"), ("GET", "/proxy/80/"), ("OPTIONS", "/ping"), ("GET", "/pty/x/ws"),
])
def test_nothing_is_served_without_the_token(locked, method, target):
    r = bare(locked, method, target)
    assert r.status == 401
    if method != "HEAD":
        body = r.json()
        assert body["code"] == "UNAUTHORIZED" and body["message"] and body["error"]


@pytest.mark.parametrize("name,value", [
    ("X-EXECD-ACCESS-TOKEN", ""), ("X-EXECD-ACCESS-TOKEN", TOKEN[:-1]), ("X-EXECD-ACCESS-TOKEN", TOKEN + "x"),
    ("X-EXECD-ACCESS-TOKEN", TOKEN.upper()), ("X-EXECD-ACCESS-TOKEN", "x" * len(TOKEN)),
    ("X-EXECD-ACCESS-TOKEN", "Bearer " + TOKEN), ("Authorization", TOKEN), ("Authorization", "Bearer"),
    ("Authorization", "Bearer " + TOKEN[:-1]), ("Authorization", "Basic " + TOKEN),
    ("Authorization", "Bearer " + TOKEN + " x"), ("Cookie", "token=" + TOKEN), ("X-Token", TOKEN),
])
def test_a_wrong_token_is_refused(locked, name, value):
    assert bare(locked, "GET", "/ping", {name: value}).status == 401
    assert bare(locked, "GET", "/ping?token=" + TOKEN, {name: value}).status == 401


@pytest.mark.parametrize("name,value", [
    ("X-EXECD-ACCESS-TOKEN", TOKEN), ("x-execd-access-token", TOKEN), ("Authorization", "Bearer " + TOKEN),
    ("authorization", "bearer " + TOKEN), ("Authorization", "BEARER  " + TOKEN),
])
def test_the_right_token_is_accepted(locked, name, value):
    assert bare(locked, "GET", "/ping", {name: value}).status == 200
    assert bare(locked, "GET", "/nowhere", {name: value}).status == 404


def test_a_refused_request_starts_nothing(locked):
    mark = locked.dir / "mark"
    assert bare(locked, "POST", "/command", body=f'{{"command":"touch {mark}"}}').status == 401
    assert locked.get("/command").status == 200 and not mark.exists()


def test_a_refused_connection_can_try_again(locked):
    with locked.connect() as c:
        r = c.request("POST", "/command", body='{"command":"true"}')
        assert r.status == 401
        if not r.will_close:
            assert c.request("GET", "/ping", {"X-EXECD-ACCESS-TOKEN": TOKEN}).status == 200


def test_other_headers_of_the_platform_are_tolerated(locked):
    r = bare(locked, "GET", "/ping", {
        "X-EXECD-ACCESS-TOKEN": TOKEN, "OPEN-SANDBOX-API-KEY": "k", "OPEN-SANDBOX-CLIENT-IP": "10.0.0.1",
        "OpenSandbox-Secure-Access": "x", "OpenSandbox-Ingress-To": "y", "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example", "Authorization": "Basic abc", "Cookie": "a=b"})
    assert r.status == 200


def sources(where):
    (where / "token").write_text(TOKEN)
    link = where / "execd"
    shutil.copy(BIN, link)  # not a symlink: /proc/<pid>/cmdline must show what was typed
    return {
        "--token-file": dict(args=["--token-file", where / "token"]),
        "BOXD_TOKEN": dict(env={"BOXD_TOKEN": TOKEN}),
        "EXECD_ACCESS_TOKEN": dict(env={"EXECD_ACCESS_TOKEN": TOKEN}),
        "config": dict(config={"token": TOKEN}),
        "--access-token=": dict(binary=link, args=["--access-token=" + TOKEN]),
        "-access-token": dict(binary=link, args=["-access-token", TOKEN]),
    }


@pytest.mark.parametrize("source", ["--token-file", "BOXD_TOKEN", "EXECD_ACCESS_TOKEN", "config",
                                    "--access-token=", "-access-token"])
def test_the_token_works_and_stays_in_the_daemon(boxd, tmp_path, source):
    how = sources(tmp_path)[source]
    level = [] if "binary" in how else ["--log-level", "debug"]
    d = boxd(*how.pop("args", []), *level, **how)
    assert d.get("/ping").status == 401
    d.token = TOKEN
    assert d.get("/ping").status == 200
    needle = TOKEN.encode()
    assert needle not in procfs.cmdline(d.pid), "on the command line"
    assert needle not in procfs.environ(d.pid), "in the initial environment"
    out = "\n".join(d.run("env; cat /proc/self/environ | tr '\\0' '\\n'; cat /proc/$PPID/cmdline").stdout)
    assert "PATH=" in out
    for word in (TOKEN, "BOXD_TOKEN", "EXECD_ACCESS_TOKEN"):
        assert word not in out, f"{word} reached a child"
    d.stop()
    assert not [x for x in d.log if TOKEN in x]


def test_other_secrets_of_the_daemon_never_reach_a_child(boxd):
    d = boxd(env={"JUPYTER_TOKEN": "jupyter-secret", "HARMLESS": "seen"})
    out = d.run("env").stdout
    assert "HARMLESS=seen" in out
    assert not [x for x in out if "jupyter-secret" in x]


def test_an_open_address_needs_a_token_or_an_explicit_word(boxd, tmp_path):
    args = ["--listen", "0.0.0.0:0", "--root", tmp_path / "r", "--state-dir", tmp_path]
    status, _, err = invoke(*args)
    assert status == 2 and len(err.strip().splitlines()) == 1, err
    assert boxd("--allow-unauthenticated", listen=["0.0.0.0:0"]).addresses
    assert boxd(listen=["0.0.0.0:0"], token=TOKEN).addresses


# ---- web pages ----

FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "https://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
]


@pytest.mark.parametrize("fields", FOREIGN, ids=lambda f: " ".join(f"{k}={v}" for k, v in f.items()))
def test_a_web_page_cannot_drive_the_daemon(shared, fields):
    mark = shared.dir / "page"
    r = shared.post("/command", {"command": f"touch {mark}"}, fields)
    assert (r.status, r.json()["code"]) == (403, "FORBIDDEN"), r
    assert shared.get("/ping", fields).status == 403
    assert shared.get("/nowhere", fields).status == 403
    assert not mark.exists()


@pytest.mark.parametrize("fields", FOREIGN[:3] + FOREIGN[5:6], ids=str)
def test_a_web_page_cannot_drive_it_with_a_token_either(locked, fields):
    assert locked.get("/ping", fields).status == 403


@pytest.mark.parametrize("fields", [
    {"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, {"Referer": "http://evil.example/"},
])
def test_programs_and_own_pages_pass(shared, fields):
    assert shared.get("/ping", fields).status == 200


def test_the_own_origin_passes(shared):
    host, port = shared.address
    assert shared.get("/ping", {"Origin": f"http://{host}:{port}"}).status == 200
    with shared.connect() as c:
        assert c.request("GET", "/ping", {"Origin": f"http://localhost:{port}"},
                         host=f"localhost:{port}").status == 200


def test_an_allowed_origin_passes(boxd):
    d = boxd("--allow-origin", "https://app.example")
    assert d.get("/ping", {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}).status == 200
    for other in ("https://app.example.evil", "http://app.example", "https://app.example:444", "null"):
        assert d.get("/ping", {"Origin": other}).status == 403, other


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil"])
def test_a_page_that_rebinds_its_name_is_refused(shared, host):
    r = shared.get("/ping", host=host)
    assert (r.status, r.json()["code"]) == (403, "FORBIDDEN"), r


@pytest.mark.parametrize("host", ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:8080", "10.1.2.3:80"])
def test_hosts_that_no_page_can_rebind_pass(shared, host):
    assert shared.get("/ping", host=host).status == 200


def test_the_authority_of_an_absolute_target_counts_as_host(shared):
    assert shared.get("http://evil.example/ping").status == 403


def test_a_token_makes_the_host_check_needless(locked):
    assert locked.get("/ping", host="box-7.sandbox.svc:44772").status == 200


def test_an_allowed_host_passes(boxd):
    d = boxd("--allow-host", "box.example")
    assert d.get("/ping", host="box.example:44772").status == 200
    assert d.get("/ping", host="BOX.example").status == 200
    assert d.get("/ping", host="evil.example").status == 403
    assert boxd("--allow-host", "*").get("/ping", host="evil.example").status == 200
