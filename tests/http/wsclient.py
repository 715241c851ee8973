"""A terminal's WebSocket as a client sees it (contract 3), and the requests around it.

Terminal reads frames strictly (wsraw.Ws) and puts the output together by offset: a replay frame
says where it begins, a plain one goes on where the last ended. What does not fit is a failure, unless
the test expects gaps.
"""

import base64
import json
import os
import struct
from dataclasses import dataclass, field
from urllib.parse import urlencode

from wire import Closed
from wsraw import BINARY, CLOSE, PING, PONG, TEXT, Ws, close_frame, frame

STDIN, STDOUT, STDERR, REPLAY = 0, 1, 2, 3
NAMES = {STDOUT: "stdout", STDERR: "stderr", REPLAY: "replay"}
FRAME_MAX = 32768
# Prints the name of each signal that comes.
REPORTER = """
import signal
names = ["INT", "TERM", "QUIT", "HUP", "TSTP", "CONT", "USR1", "USR2", "WINCH"]
them = {getattr(signal, "SIG" + n) for n in names}
signal.pthread_sigmask(signal.SIG_BLOCK, them)
print("up", flush=True)
while True:
    print("got-" + signal.Signals(signal.sigwait(them)).name, flush=True)
"""


@dataclass
class Frame:
    """type: stdout, stderr, replay, close, or that of a text message."""
    type: str
    offset: int = -1  # of the first byte of output
    data: bytes = b""
    members: dict = field(default_factory=dict)


def target(ident, **query):
    """Values that are None are left out."""
    query = {k: v for k, v in query.items() if v is not None}
    return f"/pty/{ident}/ws" + ("?" + urlencode(query) if query else "")


def handshake(**changed):
    """The fields of a valid opening handshake; a value of None takes one out."""
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
    for name, value in changed.items():
        fields[name.replace("_", "-")] = value
    return [(k, v) for k, v in fields.items() if v is not None]


class Terminal(Ws):
    """A connection to a terminal. `at` is the offset behind the last byte of output that came."""

    def __init__(self, daemon, ident, since=None, gaps=False, fields=(), rcvbuf=None, **query):
        self.at, self.gaps_expected = None, gaps
        self.output, self.errors, self.gaps, self.frames = bytearray(), bytearray(), [], []
        self.start, self.closed, self.searched = None, None, 0
        self.connected = None
        super().__init__(daemon.address, target(ident, since=since, **query),
                         fields=daemon.auth(list(fields)), rcvbuf=rcvbuf)

    # ---- sending ----

    def type(self, text):
        self.say(bytes([STDIN]) + (text.encode() if isinstance(text, str) else text))

    def control(self, kind, **members):
        self.say(json.dumps({"type": kind, **members}))

    # ---- receiving ----

    def receive(self, deadline=None):
        """The next frame of the protocol. Pings are answered."""
        while True:
            opcode, payload = self.next(deadline)
            if opcode == PING:
                self.put(frame(PONG, payload))
            elif opcode != PONG:
                break
        if opcode == TEXT:
            got = self._text(json.loads(payload))
        elif opcode == CLOSE:
            code = struct.unpack(">H", payload[:2])[0] if payload else None
            self.closed = (code, payload[2:].decode())
            got = Frame("close", members={"code": code, "reason": self.closed[1]})
        else:
            assert opcode == BINARY and payload, (opcode, payload)
            got = self._binary(payload)
        self.frames.append(got.type)
        return got

    def _text(self, members):
        kind = members.pop("type")
        if kind == "connected":
            assert self.connected is None, "connected twice"
            self.connected = members
            if self.at is None:
                self.at = self.start = members["offset"]
            assert self.at == members["offset"], "live output begins behind the replay"
        return Frame(kind, members=members)

    def _binary(self, payload):
        assert payload[0] in NAMES, f"channel {payload[0]}"
        kind, data = NAMES[payload[0]], payload[1:]
        if kind == "replay":
            assert len(data) >= 8, payload
            offset, data = int.from_bytes(data[:8], "big"), data[8:]
            self._jump(offset)
        else:
            assert self.connected is not None, "live output before the connected frame"
        # A jump with nothing behind it: what was lost when the terminal was deleted.
        assert len(data) <= FRAME_MAX and (data or kind == "replay"), f"{len(data)} bytes in a frame"
        got = Frame(kind, self.at, data)
        self.at += len(data)
        self.output += data
        if kind == "stderr":
            self.errors += data
        return got

    def _jump(self, offset):
        if self.at is None:
            self.at = self.start = offset
        if offset != self.at:
            assert self.gaps_expected and offset > self.at, f"at {offset} after {self.at}"
            self.gaps.append((self.at, offset))
            self.at = offset

    def wait_for(self, kind, deadline=None):
        """Reads on to the first frame of this type."""
        while True:
            got = self.receive(deadline)
            if got.type == kind:
                return got
            assert got.type != "close", f"closed with {self.closed}, waiting for {kind}"

    def read_until(self, mark, deadline=None):
        """Reads on until mark has come since the last such call; what came up to it."""
        mark = mark.encode() if isinstance(mark, str) else mark
        while (at := self.output.find(mark, self.searched)) < 0:
            got = self.receive(deadline)
            assert got.type != "close", f"{self.closed} before {mark!r}: {bytes(self.output[-300:])!r}"
            assert got.type != "exit", f"exit before {mark!r}: {bytes(self.output[-300:])!r}"
        out = bytes(self.output[self.searched:at + len(mark)])
        self.searched = at + len(mark)
        return out

    def ask(self, command, marker="done"):
        """
        Types a command line into an interactive shell; its output. The marker is typed in two
        halves, so that the echo of what was typed is not taken for it.
        """
        half = len(marker) // 2
        self.searched = len(self.output)
        self.type(f"echo b''egin; {command}; echo {marker[:half]}''{marker[half:]}\n")
        self.read_until("begin\r\n")
        text = self.read_until(f"{marker}\r\n").decode()
        return text[:-len(marker) - 2].replace("\r\n", "\n").strip("\n")

    def ready(self):
        """Connected, and the shell answers."""
        self.wait_for("connected")
        self.ask("true", "ready")
        return self

    def read_exit(self, deadline=None):
        """Everything up to the end of the shell, which must be told as contract 3.5 says."""
        code = self.wait_for("exit", deadline).members
        assert set(code) == {"exit_code"}, code
        got = self.receive(deadline)
        assert got.type == "close", f"{got} behind the exit"
        assert self.closed == (1000, "process exited"), self.closed
        self.finish(1000)
        return code["exit_code"]

    def finish(self, code):
        """Answers a close frame; the end of the connection."""
        self.put(close_frame(code))
        self.at_end()
        self.close()

    def expect_taken_over(self):
        got = self.wait_for_close()
        assert got == (4001, "TAKEN_OVER"), got
        self.finish(4001)

    def wait_for_close(self):
        while self.receive().type != "close":
            pass
        return self.closed

    def leave(self, code=1000):
        """The closing handshake from our side; the output that came meanwhile is read."""
        self.put(close_frame(code))
        try:
            self.wait_for_close()
        except Closed:
            pass
        self.close()


# ---- requests ----


def create(daemon, **members):
    """POST /pty: the id."""
    r = daemon.post("/pty", members)
    assert r.status == 201, r
    assert list(r.json()) == ["session_id"], r
    return r.json()["session_id"]


def look(daemon, ident):
    r = daemon.get(f"/pty/{ident}")
    assert r.status == 200, r
    return r.json()


def delete(daemon, ident):
    r = daemon.request("DELETE", f"/pty/{ident}")
    assert (r.status, r.body) == (200, b""), r


def refused(daemon, path, status, code, fields=None, method="GET"):
    """A handshake that is answered in plain HTTP."""
    r = daemon.request(method, path, handshake() if fields is None else fields)
    assert (r.status, r.json()["code"]) == (status, code), r
    return r.json()["message"]


def opened(daemon, since=None, gaps=False, query=None, rcvbuf=None, **members):
    """A new terminal, connected: (id, Terminal)."""
    ident = create(daemon, **members)
    return ident, Terminal(daemon, ident, since, gaps, rcvbuf=rcvbuf, **(query or {}))


# ---- questions ----


def silent(t):
    """Nothing but output has come since: the next answer is that to a ping."""
    t.control("ping")
    while (got := t.receive()).type in ("stdout", "stderr", "replay"):
        pass
    assert got.type == "pong" and got.members == {}, got


def alive(t):
    assert t.ask("echo $((6*7))") == "42"
