#!/usr/bin/python3
"""Benchmarks of boxd, run by hand: see README.md beside this file.

Every number is measured next to what it is compared with, in the same run and in turns (A B A B),
because times on a virtual machine drift by more than what is looked for; the comparison is made
pair by pair and the median of the pairs is reported."""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import bench_files
import bench_terminals
import benchlib
import fileslib
from benchlib import (LOAD_CPU, SERVER_CPU, BenchError, Daemon, Helper, Table, median, pin,
                      nginx, run_json, wrk)

SHELL_PATH = benchlib.SHELL_PATH


# ---- shared by several benchmarks ----

def open_idle_streams(run, d, *more):
    """run.streams event streams on one command that sleeps; returns their Helper."""
    reply = d.post("/command", {"command": "sleep 300", "background": True})
    found = re.search(r'"type":"init","text":"([^"]+)"', reply)
    if not found:
        raise BenchError(f"no init event: {reply}")
    load = Helper([run.tools.load, "streams", "--port", d.port, "--conns", run.streams, "--path",
                   f"/command/{found.group(1)}/events", "--limit", 110, *more], LOAD_CPU)
    ready = load.line()
    if ready != {"ready": run.streams, "bad": 0, "broken": 0}:
        load.stop()
        raise BenchError(f"not all streams opened: {ready}")
    return load


# ---- ping ----

def bench_ping(run):
    table = Table("ping: GET /ping, 32 keep-alive connections, wrk -t1 against one nginx worker")
    pairs = []
    with Daemon(run.boxd, run.folder("ping")) as d, nginx(
            run.folder("nginx"), "location /ping { return 200; }") as (port, worker):
        for _ in range(run.rounds):
            pairs.append((wrk(d.port, d.pid, run.seconds, "/ping"),
                          wrk(port, worker, run.seconds, "/ping")))
    ratio = median(a[0] / b[0] for a, b in pairs)
    table.row("requests/s", f"{median(a[0] for a, _ in pairs):.0f}",
              f"{median(b[0] for _, b in pairs):.0f}", f"{ratio:.3f}x", ">= 0.95x", ratio >= 0.95)
    cpu = median(a[1] / b[1] for a, b in pairs)
    table.row("server CPU us/request", f"{median(a[1] for a, _ in pairs):.2f}",
              f"{median(b[1] for _, b in pairs):.2f}", f"{cpu:.3f}x", "", None)
    return table


# ---- command and rate ----

def shell():
    path = shutil.which("bash", path=SHELL_PATH) or shutil.which("sh", path=SHELL_PATH)
    return [path, "-c", "true"]


def floor(run, inflight, count, cpu):
    return run_json([run.tools.spawn_floor, "--inflight", inflight, "--count", count, *shell()],
                    cpu, env=benchlib.clean_env(run.work))


def commands(run, d, conns, count, cpu, *more):
    """`true` through the daemon; checks that every one of them ended well."""
    before = d.cpu_ns()
    result = run_json([run.tools.load, "requests", "--port", d.port, "--conns", conns, "--count",
                       count, "--path", "/command", "--post", '{"command":"true"}', *more], cpu)
    result["cpu_us_each"] = (d.cpu_ns() - before) / 1e3 / count
    if result["done"] != count or result["bad"] or result["execution_complete"] != count:
        raise BenchError(f"commands failed: {result}")
    return result


def bench_command(run):
    """One after the other: the daemon's own share is what is above the bare loop."""
    table = Table("command: POST /command `true`, one at a time, against a bare clone of the shell")
    placements = (("client on the other CPU", LOAD_CPU, ["--spin"], True),
                  ("client there, but asleep", LOAD_CPU, [], False),
                  ("client on the same CPU", SERVER_CPU, [], False))
    pairs = {name: [] for name, *_ in placements}
    with Daemon(run.boxd, run.folder("command")) as d:
        commands(run, d, 1, 20, LOAD_CPU)
        for _ in range(run.rounds):
            for name, cpu, more, _ in placements:
                pairs[name].append((commands(run, d, 1, run.count, cpu, *more),
                                    floor(run, 1, run.count, SERVER_CPU)))
        crowd = "client on the other CPU, idle streams open"
        load = open_idle_streams(run, d, "--stall")
        try:
            pairs[crowd] = [(commands(run, d, 1, run.count, LOAD_CPU, "--spin"),
                             floor(run, 1, run.count, SERVER_CPU)) for _ in range(run.rounds)]
        finally:
            load.stop()
    for name, _, _, judged in [*placements, (crowd, None, None, False)]:
        for what, key, limit in (("wall us", "latency_p50_us", 150), ("CPU us", "cpu_us_each", 80)):
            above = median(a[key] - b[key] for a, b in pairs[name])
            table.row(f"{what}, {name}", f"{median(a[key] for a, _ in pairs[name]):.0f}",
                      f"{median(b[key] for _, b in pairs[name]):.0f}", f"{above:+.0f} us",
                      f"<= +{limit} us" if judged else "", above <= limit if judged else None)
    table.note("judged with a client that spins: to wake one that sleeps on another CPU costs the "
               "sender")
    table.note("tens of us on a virtual machine, which is not the daemon's doing")
    return table


def bench_rate(run):
    table = Table("rate: `true`, 16 in flight, against the bare loop with 16 in flight")
    placements = (("commands/s, one CPU for server and commands", SERVER_CPU, LOAD_CPU),
                  ("commands/s, all CPUs shared with the client", None, None))
    pairs = {name: [] for name, _, _ in placements}
    for name, server_cpu, load_cpu in placements:
        with Daemon(run.boxd, run.folder("rate"), cpu=server_cpu) as d:
            for _ in range(run.rounds):
                pairs[name].append((commands(run, d, 16, run.count * 4, load_cpu),
                                    floor(run, 16, run.count * 4, server_cpu)))
    for name, server_cpu, _ in placements:
        rates = [(a["done"] / a["seconds"], b["count"] / b["seconds"]) for a, b in pairs[name]]
        ratio = median(a / b for a, b in rates)
        judged = server_cpu is not None
        table.row(name, f"{median(a for a, _ in rates):.0f}", f"{median(b for _, b in rates):.0f}",
                  f"{ratio:.3f}x", ">= 0.9x" if judged else "", ratio >= 0.9 if judged else None)
    table.note("the second row is for information: there the client takes CPU time from the daemon")
    return table


# ---- output ----

def output(run, d, width, lines):
    """One command's output through the daemon; every byte and event is accounted for."""
    command = json.dumps({"command": f"exec {run.tools.gen} {width} {lines} 60"})
    before = d.cpu_ns()
    r = run_json([run.tools.load, "requests", "--port", d.port, "--count", 1, "--path", "/command",
                  "--post", command], LOAD_CPU)
    r["cpu_s"] = (d.cpu_ns() - before) / 1e9
    want = {"done": 1, "bad": 0, "stdout": lines, "text_bytes": lines * (width - 1), "stderr": 0,
            "gap": 0, "error": 0, "execution_complete": 1}
    wrong = {k: (r[k], v) for k, v in want.items() if r[k] != v}
    if wrong:
        raise BenchError(f"the output is not what the command wrote (got, want): {wrong}")
    return r


def bench_output(run):
    table = Table("output: a command that floods its stdout, per second of daemon CPU")
    wide, narrow = [], []
    with Daemon(run.boxd, run.folder("output")) as d:
        output(run, d, 1024, 4096)
        for _ in range(run.rounds):
            wide.append(output(run, d, 1024, run.megabytes * 1024))
            narrow.append(output(run, d, 2, run.megabytes * 32768))
    megabytes = median(run.megabytes * 1.048576 / r["cpu_s"] for r in wide)
    events = median(r["stdout"] / r["cpu_s"] for r in narrow)
    table.row("1 KB lines, MB per CPU s", f"{megabytes:.0f}", "", "", ">= 400", megabytes >= 400)
    table.row("2-byte lines, events per CPU s", f"{events:.0f}", "", "", ">= 700000",
              events >= 700e3)
    by_clock = (median(run.megabytes * 1.048576 / r["seconds"] for r in wide),
                median(r["stdout"] / r["seconds"] for r in narrow))
    table.note(f"by the clock: {by_clock[0]:.0f} MB/s and {by_clock[1]:.0f} events/s, with the "
               "writer on the daemon's CPU; totals verified")
    return table


# ---- idle ----

def idle_round(run):
    with Daemon(run.boxd, run.folder("idle")) as d:
        # What the first stream and the sleeping command cost is not per stream.
        commands(run, d, 1, 1, LOAD_CPU)
        base = d.rss_bytes()
        load = open_idle_streams(run, d)
        try:
            opened, cpu = d.rss_bytes(), d.cpu_ns()
            # A pause of more than one keep-alive interval: its events must not stay in memory.
            time.sleep(run.idle_seconds)
            cpu, after = (d.cpu_ns() - cpu) / 1e9 / run.idle_seconds, d.rss_bytes()
            end = load.end()
        finally:
            load.stop()
    if end["ended"] or end["ping"] < run.streams:
        raise BenchError(f"idle streams ended or got no keep-alive: {end}")
    return base, opened, after, cpu


def bench_idle(run):
    table = Table(f"idle: {run.streams} idle event streams on one sleeping command")
    rounds = [idle_round(run) for _ in range(run.rounds)]
    each = median((after - base) / run.streams for base, _, after, _ in rounds)
    table.row("RSS bytes per stream", f"{each:.0f}", "", "", "<= 8192", each <= 8192)
    at_open = median((opened - base) / run.streams for base, opened, _, _ in rounds)
    table.note(f"right after opening {at_open:.0f} bytes; keep-alive events cost "
               f"{median(r[3] for r in rounds):.1%} of a CPU")
    return table


# ---- static ----

def bench_static(run):
    table = Table(f"static: size, memory and start of {run.static_boxd.name} (static build)")
    size = run.static_boxd.stat().st_size
    table.row("size, bytes", f"{size}", "", "", "<= 1.2 MB", size <= 1.2e6)
    rss = []
    for _ in range(run.rounds):
        with Daemon(run.static_boxd, run.folder("static")) as d:
            run_json([run.tools.load, "requests", "--port", d.port, "--count", 1], LOAD_CPU)
            rss.append(d.rss_bytes())
    table.row("RSS after the first request", f"{median(rss) / 1024:.0f} KiB", "", "", "<= 1.5 MB",
              median(rss) <= 1.5e6)
    folder = run.folder("start")
    for name in ("root", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port = benchlib.free_port()
    starts = [run_json([run.tools.start_time, "--port", port, "--empty", run.tools.empty_static,
                        "--rounds", 20, "--child-cpu", SERVER_CPU, run.static_boxd,
                        "--listen", f"127.0.0.1:{port}", "--root", folder / "root",
                        "--state-dir", folder / "state"], LOAD_CPU,
                       env=benchlib.clean_env(folder)) for _ in range(run.rounds)]
    for what, key, judged in (("exec to connection, us", "accepted_p50_us", True),
                              ("exec to first reply, us", "replied_p50_us", False)):
        above = median(s[key] - s["empty_p50_us"] for s in starts)
        table.row(what, f"{median(s[key] for s in starts):.0f}",
                  f"{median(s['empty_p50_us'] for s in starts):.0f}", f"{above:+.0f} us",
                  "<= +2000 us" if judged else "", above <= 2000 if judged else None)
    table.note(f"beside it: an empty static program ({run.tools.empty_libc}), exec to exit")
    return table


# ---- busy ----

def ping_latency(run, d, seconds):
    r = run_json([run.tools.load, "requests", "--port", d.port, "--conns", 8, "--rate", 200,
                  "--seconds", seconds, "--fifo"], None)
    if r["bad"] or r["broken"]:
        raise BenchError(f"pings failed: {r}")
    return r


def busy_helper(run, d, stack, *args):
    helper = Helper([run.tools.load, args[0], "--port", d.port, "--limit", 300, *args[1:]], None)
    stack.callback(helper.stop)
    return helper


def busy_floods(run, d, stack, seconds):
    """Two commands that write all they can, each with a reader that takes all it gets."""
    flood = json.dumps({"command": f"exec {run.tools.gen} {run.width} 0 {seconds}"})
    return [busy_helper(run, d, stack, "requests", "--path", "/command", "--post", flood,
                        "--say-id") for _ in range(2)]


def busy_crowd(run, d, stack, ids, seconds):
    """The sleeping commands, and the readers of the floods that hang."""
    sleep = json.dumps({"command": f"exec sleep {seconds}"})
    crowd = [(busy_helper(run, d, stack, "streams", "--conns", 200, "--path", "/command",
                          "--post", sleep), 200)]
    crowd += [(busy_helper(run, d, stack, "streams", "--conns", 500, "--path",
                           f"/command/{i}/events", "--stall"), 500) for i in ids]
    for helper, n in crowd:
        ready = helper.line()
        if ready != {"ready": n, "bad": 0, "broken": 0}:
            raise BenchError(f"not all streams opened: {ready}")
    return [helper for helper, _ in crowd]


def busy_end_floods(floods):
    """Events per second that the readers of the floods got."""
    ended = [f.end() for f in floods]
    if any(f["done"] or f["broken"] for f in ended):
        raise BenchError(f"a flood ended early: {ended}")
    return sum(f["stdout"] / f["seconds"] for f in ended)


def bench_busy(run):
    table = Table(f"busy: /ping at 200/s during two floods of {run.width}-byte lines, 1000 stalled "
                  "readers and 200 commands")
    seconds = run.rounds * run.busy_seconds + 60
    # The stalled readers have to stay for the whole of the run.
    limits = {"http_write_stall_ms": 600000}
    with Daemon(run.boxd, run.folder("busy"), cpu=None, limits=limits) as d, \
            contextlib.ExitStack() as stack:
        calm = ping_latency(run, d, run.busy_seconds)
        floods = busy_floods(run, d, stack, run.busy_seconds + 1)
        for flood in floods:
            flood.line()
        alone = ping_latency(run, d, run.busy_seconds)
        alone_rate = busy_end_floods(floods)
        floods = busy_floods(run, d, stack, seconds)
        crowd = busy_crowd(run, d, stack, [f.line()["id"] for f in floods], seconds)
        cpu, begin = d.cpu_ns(), time.monotonic()
        rounds = [ping_latency(run, d, run.busy_seconds) for _ in range(run.rounds)]
        share = (d.cpu_ns() - cpu) / 1e9 / (time.monotonic() - begin)
        rss = d.rss_bytes()
        rate = busy_end_floods(floods)
        gone = sum(helper.end()["ended"] for helper in crowd)
    p99 = median(r["latency_p99_us"] for r in rounds)
    table.row("p99 us", f"{p99:.0f}", f"{calm['latency_p99_us']:.0f}", "", "< 5000", p99 < 5000)
    for what in ("p50", "max"):
        table.row(f"{what} us", f"{median(r[f'latency_{what}_us'] for r in rounds):.0f}",
                  f"{calm[f'latency_{what}_us']:.0f}", "", "", None)
    table.row("p99 us, floods alone", f"{alone['latency_p99_us']:.0f}",
              f"{calm['latency_p99_us']:.0f}", "", "< 5000", alone["latency_p99_us"] < 5000)
    table.row("events/s of the floods", f"{rate:.0f}", f"{alone_rate:.0f}",
              f"{rate / alone_rate:.3f}x", ">= 0.5x", rate >= alone_rate / 2)
    lost = sum(r["lost"] for r in rounds)
    table.row("streams that ended, pings lost", f"{gone}, {lost}", "", "", "0, 0",
              gone + lost == 0)
    table.note("beside it: the same daemon at rest, and the floods without the crowd; while busy "
               f"it used {share:.0%} of")
    table.note(f"a CPU and {rss / 1e6:.0f} MB. A fast /ping means little when the crowd has choked "
               "the floods.")
    return table


# ---- the driver ----

BENCHES = {"ping": bench_ping, "command": bench_command, "rate": bench_rate, "output": bench_output,
           "idle": bench_idle, "static": bench_static, "busy": bench_busy, **bench_files.BENCHES,
           **bench_terminals.BENCHES}


class Run:
    """Options, the compiled helpers and a scratch folder."""

    def __init__(self, options, work):
        self.__dict__.update(vars(options))
        self.work = pathlib.Path(work)
        self.tools = benchlib.Tools(options.build / "bench-tools")

    def folder(self, name):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))
        return folder


def parse(argv):
    build = benchlib.REPO / "build"
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("bench", choices=[*BENCHES, "all"], nargs="+")
    p.add_argument("--boxd", type=pathlib.Path, default=build / "release" / "boxd")
    p.add_argument("--static-boxd", type=pathlib.Path, default=build / "static" / "boxd")
    p.add_argument("--build", type=pathlib.Path, default=build, help="for helpers and scratch")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=int, default=2, help="of one ping round")
    p.add_argument("--count", type=int, default=300, help="commands of one round")
    p.add_argument("--megabytes", type=int, default=256, help="of one round of output")
    p.add_argument("--streams", type=int, default=10000, help="idle streams")
    p.add_argument("--idle-seconds", type=float, default=7)
    p.add_argument("--busy-seconds", type=int, default=10, help="of one busy round")
    p.add_argument("--width", type=int, default=2, help="line length of the floods")
    fileslib.add_options(p)
    bench_terminals.add_options(p)
    p.add_argument("--calm", type=float, default=60, help="seconds to wait for a calm machine")
    options = p.parse_args(argv)
    options.dir = options.dir or options.build / "bench-data"
    # Commands run in the daemon's workspace: what they name must not depend on where we are.
    for name in ("boxd", "static_boxd", "build", "dir"):
        setattr(options, name, getattr(options, name).resolve())
    return options


def main(argv):
    options = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = list(BENCHES) if "all" in options.bench else options.bench
    missed = 0
    options.build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-run-", dir=options.build) as work:
        run = Run(options, work)
        for name in names:
            benchlib.wait_calm(options.calm)
            table = BENCHES[name](run)
            table.print()
            missed += table.missed
        if options.remove_data:
            fileslib.remove_data(run)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BenchError, subprocess.SubprocessError, OSError) as e:
        print(f"bench: {e}", file=sys.stderr)
        sys.exit(2)
