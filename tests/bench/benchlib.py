"""What the benchmarks share: compiling the helpers, starting the daemon, reading the kernel's
accounts, waiting for a calm machine, and the table of results."""

import contextlib
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parent.parent
SERVER_CPU, LOAD_CPU = 0, 1
SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TOOLS = {
    "load": ["load.c", "client.c", "measure.c"],
    "spawn_floor": ["spawn_floor.c", "launch.c", "measure.c"],
    "start_time": ["start_time.c", "launch.c", "measure.c"],
    "gen": ["gen.c", "measure.c"],
    "term": ["term.c", "measure.c"],
}
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"]


class BenchError(Exception):
    """Something that makes the numbers worthless: said in one line, exit status 2."""


# ---- helpers in C ----

class Tools:
    """Compiles what is older than its source; `tools.load` is then a path."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        headers = max(h.stat().st_mtime for h in HERE.glob("*.h"))
        for name, sources in TOOLS.items():
            paths = [HERE / s for s in sources]
            newest = max(headers, *(p.stat().st_mtime for p in paths))
            self._build(name, ["cc", "-O2", "-std=c17", "-D_GNU_SOURCE", *WARNINGS], paths, newest)
        source = HERE / "empty_static.c"
        self.empty_libc = "musl" if shutil.which("musl-gcc") else "glibc"
        compiler = "musl-gcc" if self.empty_libc == "musl" else "cc"
        self._build("empty_static", [compiler, "-O2", "-static"], [source], source.stat().st_mtime)

    def _build(self, name, command, sources, newest):
        out = self.folder / name
        if not out.exists() or out.stat().st_mtime < newest:
            subprocess.run([*command, *map(str, sources), "-o", str(out)], check=True)
        setattr(self, name, str(out))


# ---- processes ----

def pin(cpu):
    """For preexec_fn: this CPU only (None: all), and as many descriptors as we may have."""
    def apply():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
    return apply


def clean_env(home):
    """The same small environment for the daemon and for the bare loop: a shell reads it all."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home), "LANG": "C.UTF-8"}


def run_json(args, cpu, env=None, timeout=300):
    """Runs a helper to its end and returns the last JSON line it printed."""
    done = subprocess.run([str(a) for a in args], preexec_fn=pin(cpu), env=env, timeout=timeout,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != 0:
        name = pathlib.Path(args[0]).name
        raise BenchError(f"{name} ended with {done.returncode}: {done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


class Helper:
    """A helper that runs beside the measurement: JSON lines out, ends when its stdin closes."""

    def __init__(self, args, cpu):
        self.child = subprocess.Popen([str(a) for a in args], preexec_fn=pin(cpu), bufsize=0,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.rest = b""

    def line(self, timeout=60):
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            if not select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise BenchError("a load generator said nothing in time")
            piece = os.read(self.child.stdout.fileno(), 65536)
            if not piece:
                raise BenchError("a load generator ended early")
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def end(self, timeout=60):
        self.child.stdin.close()
        result = self.line(timeout)
        self.child.wait(timeout)
        return result

    def stop(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()


def free_port():
    """Below the range the kernel takes client ports from: whoever connects in a loop to a port of
    that range is in the end let in by itself."""
    for port in range(20000, 32000):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port
    raise BenchError("no free port")


def stop_child(child, timeout=15):
    """TERM, then KILL; true when TERM was enough."""
    if child.poll() is not None:
        return True
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(timeout)
        return True
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return False


class Daemon:
    """A boxd of our own on a free port, in a folder of its own."""

    def __init__(self, binary, folder, cpu=SERVER_CPU, limits=None):
        for name in ("root", "state"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        args = [str(binary), "--listen", "127.0.0.1:0", "--root", str(folder / "root"),
                "--state-dir", str(folder / "state")]
        if limits:
            config = folder / "config.json"
            config.write_text(json.dumps({"limits": limits}))
            args += ["--config", str(config)]
        self.log = folder / "boxd.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(args, preexec_fn=pin(cpu), env=clean_env(folder),
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.child.pid
        self.port = self._wait_port()

    def _wait_port(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.child.poll() is None:
            found = re.search(rb"listening addr=127\.0\.0\.1:(\d+)", self.log.read_bytes())
            if found:
                return int(found.group(1))
            time.sleep(0.005)
        self.stop()
        raise BenchError(f"the daemon does not listen: {self.log.read_text()[-500:]}")

    def post(self, path, body):
        """One request, the whole reply as text."""
        return self.request("POST", path, json.dumps(body).encode())

    def request(self, method, path, data=b""):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                      "Connection: close\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
            reply = b""
            while piece := s.recv(65536):
                reply += piece
        return reply.decode()

    def cpu_ns(self):
        return cpu_ns(self.pid)

    def rss_bytes(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def stop(self):
        return stop_child(self.child)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if not self.stop():
            print("note: the daemon had to be killed")


def cpu_ns(pid):
    """CPU time of all threads, from the scheduler's own account in nanoseconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def children_of(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---- what many compare with ----

@contextlib.contextmanager
def nginx(folder, server, http="", cpu=SERVER_CPU):
    """nginx with one worker; `server` and `http` are lines of its configuration. Yields (port,
    pid of the worker)."""
    binary = shutil.which("nginx", path=SHELL_PATH)
    if binary is None:
        raise BenchError("nginx is not installed")
    port = free_port()
    temp = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                     ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; worker_processes 1; user root; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
access_log off; keepalive_requests 1000000000; keepalive_timeout 300; {temp} {http}
server {{ listen 127.0.0.1:{port} backlog=1024; {server} }}
}}
""")
    child = subprocess.Popen([binary, "-p", str(folder), "-c", str(config)],
                             preexec_fn=pin(cpu), stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 5
        while not (workers := children_of(child.pid)):
            if time.monotonic() > end or child.poll() is not None:
                raise BenchError("nginx does not start")
            time.sleep(0.01)
        yield port, workers[0]
    finally:
        stop_child(child)


def wrk(port, pid, seconds, path):
    """Requests per second and server CPU in microseconds per request."""
    before = cpu_ns(pid)
    url = f"http://127.0.0.1:{port}{path}"
    out = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", url], preexec_fn=pin(LOAD_CPU),
                         capture_output=True, text=True, check=True).stdout
    cpu = cpu_ns(pid) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise BenchError(f"wrk saw errors:\n{out}")
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), cpu / 1e3 / requests


# ---- the machine ----

def busy_share(seconds=0.5):
    """Share of all CPUs' time that was not idle."""
    def read():
        first = pathlib.Path("/proc/stat").read_text().split("\n")[0]
        numbers = [int(n) for n in first.split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]
    total, idle = read()
    time.sleep(seconds)
    total2, idle2 = read()
    return 1 - (idle2 - idle) / max(1, total2 - total)


def wait_calm(limit):
    """Others on the machine spoil every number. Waits until nobody runs; false when it gave up."""
    end = time.monotonic() + limit
    while busy_share() > 0.05:
        if time.monotonic() > end:
            print(f"note: the machine is not calm ({busy_share():.0%} busy): distrust what follows")
            return False
    return True


# ---- results ----

def median(values):
    return statistics.median(values)


class Table:
    """Rows of one benchmark: what was measured beside what it is compared with."""

    def __init__(self, title):
        self.title = title
        self.rows = []
        self.notes = []
        self.missed = 0

    def row(self, name, boxd, base, compared, target, ok):
        """ok None: for information, no target."""
        verdict = "" if ok is None else "PASS" if ok else "MISS"
        self.missed += ok is False
        self.rows.append((name, boxd, base, compared, target, verdict))

    def note(self, text):
        self.notes.append(text)

    def print(self):
        head = ("", "boxd", "beside it", "compared", "target", "")
        widths = [max(len(r[i]) for r in [head, *self.rows]) for i in range(len(head))]
        print(f"\n{self.title}")
        for r in [head, *self.rows]:
            print("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                                   for i, (c, w) in enumerate(zip(r, widths))).rstrip())
        for text in self.notes:
            print(f"  {text}")
