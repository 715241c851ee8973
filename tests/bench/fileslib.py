"""What the benchmarks of files share: the data they work on, requests that carry files, the rivals
that are programs, checks, and a table that is judged at full size only."""

import contextlib
import fcntl
import json
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import benchlib
from benchlib import BenchError, Daemon, Table, run_json

benchlib.TOOLS.update({
    "mkdata": ["mkdata.c", "text.c", "measure.c"],
    "rival": ["rival.c", "measure.c"],
    "transfer": ["transfer.c", "reply.c", "measure.c"],
    "puts": ["puts.c", "client.c", "measure.c"],
})

BINARIES = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
# The locale in which find, sed and the others are fastest.
RIVAL_ENV = {"PATH": BINARIES, "LC_ALL": "C"}


# ---- data ----

# What is made, at full size and with --small; "disk" is about what it takes there, in bytes.
FULL = {
    "blob": {"args": [1 << 30], "disk": 1.08e9},
    "text": {"args": [1 << 30], "disk": 1.08e9},
    "source": {"args": [80000], "disk": 1.2e9},
    "tree": {"args": [500000, 5000], "disk": 0.2e9},
}
SMALL = {
    "blob": {"args": [64 << 20], "disk": 0.07e9},
    "text": {"args": [64 << 20], "disk": 0.07e9},
    "source": {"args": [4000], "disk": 0.06e9},
    "tree": {"args": [20000, 200], "disk": 0.01e9},
}
# What a benchmark may write on top of that, in copies of the blob: eight uploads, old and new.
WRITTEN_BLOBS = 8


class Place:
    """The folder of a daemon: root/ is its workspace, with the data; root/out is written to."""

    def __init__(self, run):
        self.mkdata = run.tools.mkdata
        self.sizes = SMALL if run.small else FULL
        self.puts = 1000 if run.small else 10000
        self.folder = run.dir / ("bench-small" if run.small else "bench-full")
        self.root = self.folder / "root"
        self.out = self.root / "out"
        self.root.mkdir(parents=True, exist_ok=True)

    def size(self, kind):
        """The first number that the data was made with: bytes, or files."""
        return self.sizes[kind]["args"][0]

    def data(self, kind):
        """The path of data of that kind, made now if it is missing."""
        row = self.sizes[kind]
        path = self.root / "-".join(map(str, [kind, *row["args"]]))
        if path.exists():
            return path
        need = row["disk"] + WRITTEN_BLOBS * self.sizes["blob"]["disk"]
        if shutil.disk_usage(self.root).free < need:
            raise BenchError(f"less than {need / 1e9:.1f} GB free below {self.root}")
        print(f"note: making {path.name} in {self.root}, {row['disk'] / 1e9:.2f} GB, to be kept",
              flush=True)
        part = path.with_name(path.name + ".part")
        remove(part)
        subprocess.run([self.mkdata, kind, part, *map(str, row["args"])], check=True)
        part.rename(path)
        return path

    def clean(self):
        for path in (self.out, self.folder / "state", self.folder / "boxd.log"):
            remove(path)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def place(run):
    """The Place of this run, for one run at a time."""
    here = Place(run)
    with open(run.dir / "bench-lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another run works in {run.dir}") from None
        here.clean()
        here.out.mkdir()
        try:
            yield here
        finally:
            here.clean()


def add_options(parser):
    parser.add_argument("--dir", type=pathlib.Path,
                        help="where the data of the file benchmarks is kept, about 3.5 GB "
                        "(default: bench-data below --build)")
    parser.add_argument("--small", action="store_true",
                        help="file benchmarks on data a tenth as large or less; nothing is judged")
    parser.add_argument("--remove-data", action="store_true",
                        help="remove what is kept in --dir at the end")


def remove_data(run):
    """Only what was made here: --dir may be a folder with other things in it."""
    for name in ("bench-full", "bench-small", "bench-lock"):
        remove(run.dir / name)
    with contextlib.suppress(OSError):
        run.dir.rmdir()


@contextlib.contextmanager
def daemon(run, here, cpu):
    """A Daemon in that Place; when it dies, that and its last words are the error."""
    with Daemon(run.boxd, here.folder, cpu=cpu) as d:
        try:
            yield d
        except BenchError as e:
            if d.child.poll() is None:
                raise
            log = d.log.read_text(errors="replace").strip().splitlines()
            raise BenchError(f"the daemon ended with {d.child.returncode} ({e}); last in its log: "
                             f"{log[-1] if log else 'nothing'}") from e


# ---- requests ----

def quote(path):
    return urllib.parse.quote(str(path))


def request(method, target, body=b"", kind="application/json", length=None):
    """The head of a request, and the body if it is given here and not by a file."""
    length = len(body) if length is None else length
    head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if method != "GET":
        head += f"Content-Type: {kind}\r\nContent-Length: {length}\r\n"
    return (head + "\r\n").encode() + body


def post(target, value):
    return request("POST", target, json.dumps(value).encode())


def put_args(target, source):
    """What transfer needs for PUT /files/content."""
    head = request("PUT", f"/files/content?path={quote(target)}", kind="application/octet-stream",
                   length=source.stat().st_size)
    return ["--head", head, "--file", source]


def multipart_args(target, source):
    """What transfer needs for POST /files/upload with one pair."""
    line = "bench-of-boxd-0123456789"

    def part(name, kind):
        return (f'--{line}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
                f"Content-Type: {kind}\r\n\r\n")
    before = (part("metadata", "application/json") + json.dumps({"path": str(target)}) + "\r\n"
              + part("file", "application/octet-stream")).encode()
    tail = f"\r\n--{line}--\r\n".encode()
    head = request("POST", "/files/upload", kind=f"multipart/form-data; boundary={line}",
                   length=len(before) + source.stat().st_size + len(tail))
    return ["--head", head + before, "--file", source, "--tail", tail]


def transfer_args(run, port, args):
    """As bytes where they are bytes: run_json() makes text of everything else."""
    return [run.tools.transfer, "--port", port,
            *(a.decode("latin-1") if isinstance(a, bytes) else a for a in args)]


def transfer(run, port, args, cpu, save=None):
    """One request; a reply that is incomplete or no success ends the benchmark."""
    saved = ["--save", save] if save else []
    r = run_json(transfer_args(run, port, [*args, *saved]), cpu)
    if r["done"] != 1 or r["bad"] or r["broken"]:
        text = save.read_bytes()[:300].decode(errors="replace") if save else ""
        raise BenchError(f"a request failed: {r} {text}")
    return r


def with_server_cpu(pid, measure):
    """What measure() returns, with the CPU time that the server spent meanwhile."""
    before = benchlib.cpu_ns(pid)
    r = measure()
    r["server_cpu_s"] = (benchlib.cpu_ns(pid) - before) / 1e9
    return r


# ---- rivals ----

def binary(name):
    path = shutil.which(name, path=BINARIES)
    if path is None:
        raise BenchError(f"{name} is not installed")
    return path


def rival(run, args, cpu, *how):
    """Runs another program to its end; how: --lines, or --to FILE."""
    r = run_json([run.tools.rival, *how, binary(args[0]), *args[1:]], cpu, env=RIVAL_ENV)
    if r["exit"] != 0:
        raise BenchError(f"{args[0]} ended with {r['exit']}")
    return r


# ---- checks ----

def must_equal(what, got, want):
    if got != want:
        raise BenchError(f"{what}: {got} instead of {want}")


def same_content(path, want):
    """Byte for byte, which is not part of any time."""
    if subprocess.run(["cmp", "-s", path, want], check=False).returncode != 0:
        raise BenchError(f"{path.name} is not what it should be")


def peak_rss(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024


def forget_peak(pid):
    """The peak begins anew at what the process holds now."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


# ---- results ----

class FileTable(Table):
    """With --small nothing is judged: the targets are for the full size."""

    def __init__(self, run, title):
        super().__init__(f"{title}{' (--small: not judged)' if run.small else ''}")
        self.judged = not run.small

    def row(self, name, boxd, base, compared, target, ok):
        super().row(name, boxd, base, compared, target, ok if self.judged else None)
