"""Shell sessions over HTTP, and places with the shells that a box may have."""

import re
import shutil

from boxd import scratch
from wire import Run

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")

# What the tests call, besides what a shell has built in.
TOOLS = ("cat chmod cut env false fold grep head id ls mkdir mkfifo mv od printf readlink rm sed seq setsid sleep "
         "sort stat tail tee touch tr true uniq wc yes").split()


class SessionRun(Run):
    """A run, whose id is that of the session."""

    ident = UUID


class Session:
    """A session of a daemon. Members go into the body of POST /session."""

    def __init__(self, daemon, **members):
        self.daemon = daemon
        r = daemon.post("/session", members)
        assert r.status == 200, r
        self.id = r.json()["session_id"]
        assert UUID.match(self.id), self.id

    def start(self, command=None, accept=None, rcvbuf=None, conn=None, **members):
        """POST /session/{id}/run; the stream after its head. Its connection is stream.conn."""
        if command is not None:
            members["command"] = command
        fields = self.daemon.auth([("Accept", accept)] if accept else [])
        mine = conn is None
        conn = conn or self.daemon.connect(rcvbuf=rcvbuf)
        try:
            return conn.stream("POST", f"/session/{self.id}/run", fields, members)
        except BaseException:
            if mine:
                conn.close()
            raise

    def run(self, command=None, **kw):
        """A run, read to its end."""
        return ended(self.start(command, **kw), close="conn" not in kw)

    def out(self, command, **kw):
        """The output of a run that must succeed without a word on stderr."""
        run = self.run(command, **kw)
        assert run.ok and run.stderr == [], f"{command!r}: {run.error} {run.stderr} {run.stdout[:20]}"
        return run.stdout

    def refuse(self, status, code, **members):
        """A run that must be refused."""
        r = self.daemon.post(f"/session/{self.id}/run", members)
        assert (r.status, r.json()["code"]) == (status, code), r
        return r.json()["message"]

    def get(self):
        return self.daemon.get(f"/session/{self.id}")

    def info(self):
        r = self.get()
        assert r.status == 200, r
        return r.json()

    def interrupt(self):
        return self.daemon.interrupt(self.id)

    def delete(self):
        return self.daemon.request("DELETE", f"/session/{self.id}")


def ended(stream, close=True):
    """What a stream still has to tell, its events so far included as far as given."""
    try:
        return SessionRun([*getattr(stream, "had", []), *stream])
    finally:
        if close:
            stream.conn.close()


def running(session, command, **members):
    """A run that has said "ready", and what it said behind that."""
    s = session.start(command, **members)
    s.had = []
    while (e := s.next()) is not None:
        s.had.append(e)
        if e.type == "stdout":
            s.words = e.text.split()
            assert s.words.pop(0) == "ready", e
            return s
    raise AssertionError(f"it ended: {s.had[-1]}")


def box_path(shell=None):
    """A directory with the tools and, under the name sh, a shell: a PATH without bash."""
    path = scratch()
    for name in TOOLS:
        where = shutil.which(name)
        assert where, f"no {name} here"
        (path / name).symlink_to(where)
    if shell:
        (path / "sh").symlink_to(shutil.which(shell))
    return path
