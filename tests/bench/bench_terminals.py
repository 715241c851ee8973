"""The benchmarks of terminals, shell sessions and the proxy, run by run.py: see README.md beside
this file."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import time

import benchlib
from benchlib import (LOAD_CPU, SERVER_CPU, BenchError, Daemon, Table, cpu_ns, median, nginx, pin,
                      run_json, wrk)


def add_options(p):
    p.add_argument("--ttyd", type=pathlib.Path, help="ttyd to compare with; default: in PATH")
    p.add_argument("--keys", type=int, default=3000, help="typed in one round of echo")
    p.add_argument("--flood-megabytes", type=int, default=100, help="through one terminal")
    p.add_argument("--terminals", type=int, default=500, help="idle ones")


# ---- terminals ----

@contextlib.contextmanager
def ttyd(run, *command):
    """ttyd with one command for every client; yields (port, pid)."""
    binary = run.ttyd or shutil.which("ttyd")
    if binary is None:
        raise BenchError("ttyd is not installed: name one with --ttyd")
    port = benchlib.free_port()
    child = subprocess.Popen([str(binary), "-p", str(port), "-i", "127.0.0.1", "-W", *command],
                             preexec_fn=pin(SERVER_CPU), env=benchlib.clean_env(run.work),
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 5
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if time.monotonic() > end or child.poll() is not None:
                raise BenchError("ttyd does not start")
            time.sleep(0.01)
        yield port, child.pid
    finally:
        benchlib.stop_child(child)


def terminal(d, command=None):
    """The path of a new terminal's WebSocket."""
    reply = d.post("/pty", {"command": command} if command else {})
    found = re.search(r'"session_id":"([^"]+)"', reply)
    if not found:
        raise BenchError(f"no terminal: {reply}")
    return f"/pty/{found.group(1)}/ws"


def term(run, mode, port, path, *more):
    return run_json([run.tools.term, mode, "--port", port, "--path", path, *more], LOAD_CPU)


def bench_echo(run):
    """From the key to its echo, the program in the terminal included: it is the same for both."""
    table = Table("echo: one key at a time to a program that sends it back, against ttyd")
    command = "stty raw -echo; printf ready; exec cat"
    pairs = []
    with (Daemon(run.boxd, run.folder("echo")) as d,
          ttyd(run, "sh", "-c", command) as (port, _)):
        for _ in range(run.rounds):
            keys = ["--count", run.keys]
            pairs.append((term(run, "echo", d.port, terminal(d, command), *keys),
                          term(run, "echo", port, "/ws", "--ttyd", *keys)))
    for what in ("p50", "p99"):
        key = f"echo_{what}_us"
        ratio = median(a[key] / b[key] for a, b in pairs)
        table.row(f"{what} us", f"{median(a[key] for a, _ in pairs):.0f}",
                  f"{median(b[key] for _, b in pairs):.0f}", f"{ratio:.3f}x", "<= 1.0x",
                  ratio <= 1.0)
    return table


def flood_file(run):
    """Lines as of a build log; and how many bytes a terminal makes of them (LF becomes CR LF)."""
    path = run.folder("flood") / "text"
    line = b"[ 42%] Building C object CMakeFiles/thing.dir/src/part.c.o and some words more\n"
    lines = run.flood_megabytes * 1000000 // len(line)
    path.write_bytes(line * lines)
    return path, lines * (len(line) + 1)


def flood(run, pid, *args):
    before = cpu_ns(pid)
    r = run_json([run.tools.term, "flood", *args], LOAD_CPU)
    return {"rate": r["bytes"] / r["ns"] * 1e3, "cpu": (cpu_ns(pid) - before) / r["bytes"],
            "frames": r["frames"]}


def bench_term(run):
    table = Table(f"term: cat of {run.flood_megabytes} MB through a terminal, against ttyd")
    path, size = flood_file(run)
    command = f"stty -echo; printf ready; read x; cat {path}; sleep 60"
    expect = ["--expect", size]
    pairs = []
    with (Daemon(run.boxd, run.folder("term"), cpu=SERVER_CPU) as d,
          ttyd(run, "sh", "-c", command) as (port, pid)):
        for _ in range(run.rounds):
            ours = terminal(d, command)
            pairs.append((flood(run, d.pid, "--port", d.port, "--path", ours, *expect),
                          flood(run, pid, "--port", port, "--path", "/ws", "--ttyd", *expect)))
            d.request("DELETE", ours.removesuffix("/ws"))
    path.unlink()
    ratio = median(a["rate"] / b["rate"] for a, b in pairs)
    table.row("MB/s", f"{median(a['rate'] for a, _ in pairs):.0f}",
              f"{median(b['rate'] for _, b in pairs):.0f}", f"{ratio:.2f}x", ">= 1.0x",
              ratio >= 1.0)
    cpu = median(a["cpu"] / b["cpu"] for a, b in pairs)
    table.row("server CPU s/GB", f"{median(a['cpu'] for a, _ in pairs):.2f}",
              f"{median(b['cpu'] for _, b in pairs):.2f}", f"{cpu:.2f}x", "<= 0.5x", cpu <= 0.5)
    table.row("bytes per message", f"{size / median(a['frames'] for a, _ in pairs):.0f}",
              f"{size / median(b['frames'] for _, b in pairs):.0f}", "", "", None)
    return table


def open_terminal(port, path):
    """A WebSocket that is connected, and read as far as the answer to the handshake."""
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
              "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    got = b""
    while b'"connected"' not in got:
        piece = s.recv(4096)
        if not piece:
            raise BenchError(f"no terminal: {got}")
        got += piece
    return s


def bench_terms(run):
    """What a terminal with its WebSocket costs the daemon while nothing happens."""
    table = Table(f"terms: {run.terminals} idle terminals, connected, each with a shell")
    with Daemon(run.boxd, run.folder("terms"), limits={"pty_count": run.terminals + 1}) as d:
        first = open_terminal(d.port, terminal(d))
        before = d.rss_bytes()
        clients = [open_terminal(d.port, terminal(d)) for _ in range(run.terminals)]
        time.sleep(2)  # prompts, and what they leave behind
        each = (d.rss_bytes() - before) / run.terminals
        for s in [first, *clients]:
            s.close()
    table.row("daemon memory each", f"{each / 1024:.1f} KiB", "-", "", "<= 40 KiB",
              each <= 40 * 1024)
    return table


# ---- sessions ----

def session_runs(run, d, path, count):
    before = d.cpu_ns()
    r = run_json([run.tools.load, "requests", "--port", d.port, "--conns", 1, "--count", count,
                  "--path", path, "--post", '{"command":"true"}', "--spin"], LOAD_CPU)
    r["cpu_us_each"] = (d.cpu_ns() - before) / 1e3 / count
    if r["done"] != count or r["bad"] or r["execution_complete"] != count:
        raise BenchError(f"runs failed: {r}")
    return r


def bench_session(run):
    """A run in a live shell, HTTP and all, against starting a shell, bare."""
    table = Table("session: run of `true` in a session, against a bare clone of `bash -c true`")
    bash = shutil.which("bash", path=benchlib.SHELL_PATH)
    if bash is None:
        raise BenchError("bash is not installed")
    pairs = []
    with Daemon(run.boxd, run.folder("session")) as d:
        reply = d.post("/session", {})
        found = re.search(r'"session_id":"([^"]+)"', reply)
        path = f"/session/{found.group(1)}/run"
        session_runs(run, d, path, 20)
        for _ in range(run.rounds):
            pairs.append((session_runs(run, d, path, run.count),
                          run_json([run.tools.spawn_floor, "--inflight", 1, "--count", run.count,
                                    bash, "-c", "true"], SERVER_CPU,
                                   env=benchlib.clean_env(run.work))))
    ratio = median(a["latency_p50_us"] / b["latency_p50_us"] for a, b in pairs)
    table.row("wall us", f"{median(a['latency_p50_us'] for a, _ in pairs):.0f}",
              f"{median(b['latency_p50_us'] for _, b in pairs):.0f}", f"{ratio:.3f}x", "<= 0.3x",
              ratio <= 0.3)
    table.row("daemon CPU us", f"{median(a['cpu_us_each'] for a, _ in pairs):.0f}", "", "", "",
              None)
    return table


# ---- proxy ----

def proxy_pairs(run, cpu):
    front = ("location / { proxy_pass http://up; proxy_http_version 1.1; "
             "proxy_set_header Connection \"\"; }")
    with (nginx(run.folder("target"), "location / { return 200 ok; }", cpu=cpu) as (target, _),
          Daemon(run.boxd, run.folder("proxy")) as d,
          nginx(run.folder("front"), front,
                f"upstream up {{ server 127.0.0.1:{target}; keepalive 64; }}") as (port, worker)):
        return [(wrk(d.port, d.pid, run.seconds, f"/proxy/{target}/"),
                 wrk(port, worker, run.seconds, "/")) for _ in range(run.rounds)]


def bench_proxy(run):
    table = Table("proxy: GET through /proxy/{port}/, 32 keep-alive connections, against nginx "
                  "proxy_pass")
    for where, cpu in (("the load's CPU", LOAD_CPU), ("the proxy's CPU", SERVER_CPU)):
        pairs = proxy_pairs(run, cpu)
        ratio = median(a[0] / b[0] for a, b in pairs)
        judged = cpu == LOAD_CPU
        table.row(f"requests/s, target on {where}", f"{median(a[0] for a, _ in pairs):.0f}",
                  f"{median(b[0] for _, b in pairs):.0f}", f"{ratio:.3f}x",
                  ">= 0.8x" if judged else "", ratio >= 0.8 if judged else None)
        cpu_ratio = median(a[1] / b[1] for a, b in pairs)
        table.row("server CPU us/request", f"{median(a[1] for a, _ in pairs):.2f}",
                  f"{median(b[1] for _, b in pairs):.2f}", f"{cpu_ratio:.3f}x", "", None)
    table.note("the daemon's priority (nice -10) makes it preempt a target that shares its CPU, for "
               "each answer")
    return table


BENCHES = {"echo": bench_echo, "term": bench_term, "terms": bench_terms, "session": bench_session,
           "proxy": bench_proxy}
