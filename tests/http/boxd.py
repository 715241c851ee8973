"""Starts a daemon for a test, talks to it, and judges it when it ends.

Every daemon has its own directory under the build directory and its own port, says itself when it
listens, and must leave with status 0, no error line in its log and no word from a sanitizer.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import procfs
from wire import DEADLINE, Conn, Response, Run, Stream

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("BOXD_BIN", ROOT / "build" / "dev" / "boxd")).absolute()

SANITIZER = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer|Assertion")
LISTENING = re.compile(r"listening addr=(\S+)")
# Names that would change what a daemon of a test does.
SETTINGS = re.compile(r"^(BOXD_|EXECD_|JUPYTER_|OPENSANDBOX_|PYTEST_)")


def sanitized():
    """Is the daemon built with a sanitizer? It is then slower and larger than promised."""
    with open(BIN, "rb") as f:
        data = f.read()
    return b"__asan_init" in data or b"__tsan_init" in data


def scratch():
    """A directory of its own, which other users may enter: commands may run as somebody else."""
    base = BIN.parent / "blackbox"
    base.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="t", dir=base))
    path.chmod(0o755)
    return path


def clean_env(env=None):
    """The environment without boxd's settings, then what the test adds (None removes)."""
    out = {k: v for k, v in os.environ.items() if not SETTINGS.match(k)}
    for k, v in (env or {}).items():
        out.pop(k, None)
        if v is not None:
            out[k] = v
    return out


def parse_address(text):
    """`127.0.0.1:80`, `[::1]:80` or `unix:/path` as something a socket takes."""
    if text.startswith("unix:"):
        return text[5:]
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port))


class Daemon:
    """A running boxd."""

    def __init__(self, *args, limits=None, config=None, env=None, unix=False, listen=None,
                 prefix=(), binary=None, basics=True, token=None, errors_allowed=(),
                 command=(), wait=True, state_dir=None):
        self.dir = scratch()
        self.root = self.dir / "ws"
        self.state = Path(state_dir) if state_dir else self.dir / "state"
        self.state.mkdir(exist_ok=True)
        self.root.mkdir()
        self.token = token
        self.errors_allowed = list(errors_allowed)
        self.log, self.addresses = [], []
        self.news = threading.Condition()
        self.stopped = False

        argv = [*map(str, prefix), str(binary or BIN)]
        if basics:
            where = f"unix:{self.dir}/s" if unix else "127.0.0.1:0"
            for one in listen or [where]:
                argv += ["--listen", one.replace("DIR", str(self.dir))]
            argv += ["--root", str(self.root), "--state-dir", str(self.state)]
        if token:
            (self.dir / "token").write_text(token + "\n")
            (self.dir / "token").chmod(0o600)
            argv += ["--token-file", str(self.dir / "token")]
        if limits or config:
            whole = dict(config or {})
            if limits:
                whole["limits"] = limits
            argv += ["--config", str(self.write_config(whole))]
        argv += [str(a) for a in args]
        if command:
            argv += ["--", *command]
        self.argv = argv
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=self.dir, env=clean_env(env), start_new_session=True)
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        self.forked = any("unshare" in str(p) for p in prefix)
        if wait:
            self.wait_listening(len(listen or [0]))

    def write_config(self, whole):
        path = self.dir / "boxd.json"
        path.write_text(json.dumps(whole))
        return path

    # ---- life ----

    def _read_log(self):
        for line in self.process.stderr:
            with self.news:
                text = line.decode("utf-8", "backslashreplace").rstrip("\n")
                self.log.append(text)
                if m := LISTENING.search(text):
                    self.addresses.append(parse_address(m[1]))
                self.news.notify_all()
        with self.news:
            self.log.append("")  # the end: wakes whoever waits
            self.news.notify_all()

    def wait_listening(self, count=1, deadline=DEADLINE):
        def ready():
            return len(self.addresses) >= count or (self.log and self.log[-1] == "")
        with self.news:
            self.news.wait_for(ready, deadline)
        assert len(self.addresses) >= count, f"does not listen:\n{self.log_text()}"
        self.pid = self.process.pid
        if self.forked:
            self.pid = procfs.wait_until(lambda: procfs.children(self.process.pid))[0]

    def wait_log(self, pattern, deadline=DEADLINE):
        """The first log line that matches, now or soon."""
        rx = re.compile(pattern)
        with self.news:
            self.news.wait_for(lambda: any(map(rx.search, self.log)) or self.log[-1:] == [""], deadline)
            return next((x for x in self.log if rx.search(x)), None)

    def log_text(self):
        return "\n".join(self.log[-60:])

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, deadline=DEADLINE):
        """Its exit status; its log is complete afterwards."""
        try:
            status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {deadline} s:\n{self.log_text()}") from None
        self.reader.join(deadline)
        assert not self.reader.is_alive(), "somebody inherited the log descriptor"
        self.stopped = True
        return status

    def stop(self, status=0, deadline=DEADLINE):
        """Asks it to end and judges how it lived."""
        if not self.stopped:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
            code = self.wait(deadline)
            assert code == status, f"exit status {code}:\n{self.log_text()}"
        self.check_log()

    def check_log(self):
        bad = [x for x in self.log if SANITIZER.search(x)]
        assert not bad, "a sanitizer or an assertion spoke:\n" + "\n".join(self.log[-80:])
        errors = [x for x in self.log if re.match(r"^\S+ error ", x)
                  and not any(re.search(p, x) for p in self.errors_allowed)]
        assert not errors, "errors in the log:\n" + "\n".join(errors)

    def kill(self):
        """For a test that has failed already."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)

    # ---- talking ----

    @property
    def address(self):
        return self.addresses[0]

    def connect(self, which=0, **kw):
        return Conn(self.addresses[which], **kw)

    def auth(self, fields):
        fields = list(fields.items() if isinstance(fields, dict) else fields)
        if self.token:
            fields.append(("X-EXECD-ACCESS-TOKEN", self.token))
        return fields

    def request(self, method, target, fields=(), body=None, **kw) -> Response:
        """One request on a connection of its own."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        with self.connect() as c:
            return c.request(method, target, self.auth(fields), body, **kw)

    def get(self, target, fields=(), **kw):
        return self.request("GET", target, fields, **kw)

    def post(self, target, body, fields=(), **kw):
        return self.request("POST", target, fields, body, **kw)

    def start(self, command=None, accept=None, fields=(), rcvbuf=None, deadline=DEADLINE,
              **members) -> Stream:
        """POST /command; the stream after its head. Its connection is stream.conn."""
        if command is not None:
            members["command"] = command
        fields = self.auth(fields) + ([("Accept", accept)] if accept else [])
        conn = self.connect(rcvbuf=rcvbuf, deadline=deadline)
        try:
            return conn.stream("POST", "/command", fields, members)
        except BaseException:
            conn.close()
            raise

    def run(self, command=None, **kw) -> Run:
        """POST /command, read to its end."""
        stream = self.start(command, **kw)
        try:
            return stream.collect()
        finally:
            stream.conn.close()

    def background(self, command=None, **members):
        """Starts a background command and returns its id."""
        run = self.run(command, background=True, **members)
        kinds = [e.type for e in run.events]
        assert kinds == ["init", "ping", "execution_complete"], kinds
        return run.id

    def refuse(self, status, code, **members):
        """POST /command that must be refused with this status and code."""
        r = self.post("/command", members)
        assert (r.status, r.json()["code"]) == (status, code), r
        return r.json()["message"]

    def status(self, ident):
        r = self.get(f"/command/status/{ident}")
        assert r.status == 200, r
        return r.json()

    def finished(self, ident, deadline=DEADLINE, drained=False):
        """
        Its status once it runs no more and, with drained, nobody holds its pipes: much output may
        still be in them when the exit is known.
        """
        def ended():
            s = self.status(ident)
            return s if s["running"] is False and not (drained and s["pipes_open"]) else None
        return procfs.wait_until(ended, deadline)

    def settled(self, ident, quiet=0.5, deadline=DEADLINE):
        """stdout_bytes once it stays the same: the command waits, as nothing announces that."""
        last, since = -1, time.monotonic()
        end = since + deadline
        while time.monotonic() < end:
            n = self.status(ident)["stdout_bytes"]
            if n != last:
                last, since = n, time.monotonic()
            elif time.monotonic() - since > quiet:
                return n
            time.sleep(0.02)
        raise AssertionError("the command never stops writing")

    def logs(self, ident, cursor=None):
        """Body, next cursor and announced gap of the logs endpoint."""
        target = f"/command/{ident}/logs" + ("" if cursor is None else f"?cursor={cursor}")
        r = self.get(target)
        assert r.status == 200, r
        assert r.field("content-type") == "text/plain; charset=utf-8", r
        gap = int(r.field("execd-commands-gap-bytes", "0"))
        return r.body, int(r.field("execd-commands-tail-cursor")), gap

    def interrupt(self, ident):
        return self.request("DELETE", f"/command?id={ident}")

    def events(self, ident, since=None, last_id=None, standard=True, rcvbuf=None,
               deadline=DEADLINE) -> Stream:
        """Attaches to a command's events."""
        fields = self.auth([])
        if standard:
            fields.append(("Accept", "text/event-stream"))
        if last_id is not None:
            fields.append(("Last-Event-ID", str(last_id)))
        target = f"/command/{ident}/events" + ("" if since is None else f"?since={since}")
        conn = self.connect(rcvbuf=rcvbuf, deadline=deadline)
        try:
            return conn.stream("GET", target, fields)
        except BaseException:
            conn.close()
            raise

    # ---- looking ----

    def fds(self):
        return procfs.fds(self.pid)

    def children(self):
        return procfs.children(self.pid)

    def child_running(self, word, deadline=10):
        """The pid of the direct child whose command line contains word."""
        word = word.encode()

        def look():
            for pid in self.children():
                try:
                    if word in procfs.cmdline(pid):
                        return pid
                except (FileNotFoundError, ProcessLookupError):
                    pass
            return None
        return procfs.wait_until(look, deadline)

    def rss_kib(self):
        return procfs.rss_kib(self.pid)


def invoke(*args, env=None, binary=None, deadline=DEADLINE, cwd=None):
    """Runs boxd to its end, for everything that does not listen. (status, stdout, stderr)"""
    done = subprocess.run([str(binary or BIN), *map(str, args)], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=deadline, env=clean_env(env), cwd=cwd)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def now():
    return time.monotonic()
