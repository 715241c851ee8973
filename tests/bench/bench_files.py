"""The benchmarks of boxd's file endpoints, run by run.py: see README.md beside this file."""

import contextlib
import json
import os
import shutil
import subprocess
import time

import benchlib
import fileslib
from benchlib import LOAD_CPU, SERVER_CPU, BenchError, Helper, median, nginx, pin, run_json
from fileslib import (FileTable, binary, daemon, forget_peak, must_equal, peak_rss, post, quote,
                      request, rival, same_content, transfer, transfer_args, with_server_cpu)


def many_rounds(run):
    """For what the filesystem disturbs now and then: medians of at least seven."""
    return run.rounds if run.small else max(run.rounds, 7)


# ---- download ----

def bench_download(run):
    table = FileTable(run, "download: GET /files/download from the page cache, against nginx with "
                      "sendfile")
    with fileslib.place(run) as place:
        blob = place.data("blob")
        size, copy = blob.stat().st_size, place.out / "copy"
        with daemon(run, place, SERVER_CPU) as d, nginx(
                run.folder("nginx"), f"root {place.root};",
                "sendfile on; tcp_nopush on; default_type application/octet-stream;") as (
                    port, worker):
            ours = (d.port, d.pid, f"/files/download?path={blob.name}")
            theirs = (port, worker, f"/{blob.name}")

            def get(server):
                args = ["--head", request("GET", server[2]), "--discard"]
                r = with_server_cpu(server[1], lambda: transfer(run, server[0], args, LOAD_CPU))
                must_equal("bytes downloaded", r["body_bytes"], size)
                return r
            for server in (ours, theirs):
                transfer(run, server[0], ["--head", request("GET", server[2])], LOAD_CPU, copy)
                same_content(copy, blob)
                copy.unlink()
            os.sync()
            pairs = [(get(ours), get(theirs)) for _ in range(many_rounds(run))]
    ratio = median(b["seconds"] / a["seconds"] for a, b in pairs)
    rate = [median(size / r["seconds"] for r in side) / 1e9 for side in zip(*pairs)]
    table.row("GB/s", f"{rate[0]:.2f}", f"{rate[1]:.2f}", f"{ratio:.3f}x", ">= 1.0x", ratio >= 1)
    cpu = [median(r["server_cpu_s"] * 1e9 / size for r in side) for side in zip(*pairs)]
    table.row("server CPU s/GB", f"{cpu[0]:.3f}", f"{cpu[1]:.3f}", f"{cpu[0] / cpu[1]:.3f}x", "",
              None)
    return table


# ---- upload ----

def fresh(place, source, name, measure):
    """A measurement that makes out/<name>: on a disk that is at rest, and removed afterwards."""
    path = place.out / name
    os.sync()
    r = measure(path)
    must_equal(f"size of {name}", path.stat().st_size, source.stat().st_size)
    return r, path


def upload_once(run, place, d, make_args, source, name, check=False):
    reply = place.folder / "reply"

    def measure(path):
        args = make_args(path.relative_to(place.root), source)
        return with_server_cpu(d.pid, lambda: transfer(run, d.port, args, LOAD_CPU, reply))
    try:
        r, path = fresh(place, source, name, measure)
        if check:
            same_content(path, source)
        path.unlink()
    finally:
        reply.unlink(missing_ok=True)
    return r


def cat_once(run, place, source):
    r, path = fresh(place, source, "cat", lambda path: rival(
        run, ["cat", source], SERVER_CPU, "--to", path))
    path.unlink()
    return r


def bench_upload(run):
    table = FileTable(run, "upload: a new file, sent from the page cache, against `cat big > file`")
    ways = (("PUT /files/content", fileslib.put_args, 0.9),
            ("POST /files/upload", fileslib.multipart_args, 0.7))
    with fileslib.place(run) as place:
        blob, tiny = place.data("blob"), place.root / "tiny"
        size = blob.stat().st_size
        with daemon(run, place, SERVER_CPU) as d, contextlib.ExitStack() as stack:
            tiny.write_bytes(b"x" * 1024)
            stack.callback(tiny.unlink)
            # Threads and buffers come with the first upload: judged is what a large one adds.
            for _, make_args, _ in ways:
                upload_once(run, place, d, make_args, tiny, "tiny", check=True)
            before = d.rss_bytes()
            forget_peak(d.pid)

            def once(check):
                return [cat_once(run, place, blob),
                        *(upload_once(run, place, d, make_args, blob, "big", check)
                          for _, make_args, _ in ways)]
            once(True)
            rounds = [once(False) for _ in range(many_rounds(run))]
            growth = peak_rss(d.pid) - before
        must_equal("files left behind", os.listdir(place.out), [])
    for i, (name, _, least) in enumerate(ways, 1):
        ratio = median(r[0]["seconds"] / r[i]["seconds"] for r in rounds)
        rate = [median(size / r[j]["seconds"] for r in rounds) / 1e9 for j in (i, 0)]
        cpu = median(r[i]["server_cpu_s"] * 1e9 / size for r in rounds)
        cat_cpu = median(r[0]["cpu_seconds"] * 1e9 / size for r in rounds)
        table.row(f"{name}, GB/s", f"{rate[0]:.2f}", f"{rate[1]:.2f}", f"{ratio:.3f}x",
                  f">= {least}x", ratio >= least)
        table.row(f"{name}, CPU s/GB", f"{cpu:.3f}", f"{cat_cpu:.3f}", f"{cpu / cat_cpu:.3f}x", "",
                  None)
    table.row("growth of memory, peak", f"{growth / 1024:.0f} KiB", "", "", "< 2 MB", growth < 2e6)
    worst = max(r["seconds"] for each in rounds for r in each)
    table.note(f"the slowest of {len(rounds) * 3} took {worst:.2f} s: now and then the filesystem "
               "writes back meanwhile")
    return table


# ---- list and name ----

def walks(run, d, target, rivals, check):
    """Rounds of a request and of each rival, all on every CPU; check(r) for every reply."""
    rounds = []
    for _ in range(run.rounds):
        ours = with_server_cpu(d.pid, lambda: transfer(run, d.port, ["--head", request(
            "GET", target)], None))
        check(ours)
        rounds.append([ours, *(rival(run, args, None) for args in rivals)])
    return rounds


def walk_rows(table, rounds, i, label, least):
    """Rows that compare with rival i; without least there is no target."""
    ratio = median(r[i]["seconds"] / r[0]["seconds"] for r in rounds)
    seconds = [median(r[j]["seconds"] for r in rounds) for j in (0, i)]
    table.row(f"seconds{label}", f"{seconds[0]:.3f}", f"{seconds[1]:.3f}", f"{ratio:.2f}x",
              f">= {least}x" if least else "", ratio >= least if least else None)
    cpu = (median(r[0]["server_cpu_s"] for r in rounds),
           median(r[i]["cpu_seconds"] for r in rounds))
    table.row(f"CPU seconds{label}", f"{cpu[0]:.3f}", f"{cpu[1]:.3f}", f"{cpu[1] / cpu[0]:.2f}x",
              "", None)


def whole_reply(run, place, d, target):
    """The reply as an object, and its size; what is measured later has to be as long."""
    path = place.folder / "reply"
    try:
        r = transfer(run, d.port, ["--head", request("GET", target)], None, path)
        with open(path, "rb") as f:
            return json.load(f), r["body_bytes"]
    finally:
        path.unlink(missing_ok=True)


def check_listing(entries, files, dirs):
    """Every entry is there, once, with its size."""
    kinds = {"file": files, "directory": dirs}
    for kind, want in kinds.items():
        must_equal(f"entries of type {kind}", sum(e["type"] == kind for e in entries), want)
    must_equal("different paths", len({e["path"] for e in entries}), files + dirs)
    must_equal("sum of sizes", sum(e["size"] for e in entries if e["type"] == "file"),
               sum(i % 100000 for i in range(files)))
    missing = {"modified_at", "created_at", "owner", "group", "mode"} - set(entries[0])
    must_equal("fields missing", missing, set())


def bench_list(run):
    with fileslib.place(run) as place:
        tree = place.data("tree")
        files, dirs = place.sizes["tree"]["args"]
        table = FileTable(run, f"list: GET /directories/list of {files} files in {dirs} "
                          "directories, against find -printf")
        target = f"/directories/list?path={tree.name}&depth=1000"
        find = ["find", tree, "-mindepth", "1", "-printf"]
        rivals = ([*find, r"%p %y %s %T@ %C@ %u %g %m\n"], [*find, r"%p %y %s %T@ %C@ %U %G %m\n"])
        with daemon(run, place, None) as d:
            lines = rival(run, rivals[0], None, "--lines")["lines"]
            must_equal("lines of find", lines, files + dirs)
            entries, length = whole_reply(run, place, d, target)
            check_listing(entries, files, dirs)
            del entries
            forget_peak(d.pid)
            rounds = walks(run, d, target, rivals, lambda r: must_equal(
                "bytes of the listing", r["body_bytes"], length))
            peak = peak_rss(d.pid)
    walk_rows(table, rounds, 1, "", 2.5)
    walk_rows(table, rounds, 2, ", find with ids", None)
    table.note(f"all on every CPU; {length / 1e6:.0f} MB of JSON, {rounds[0][1]['bytes'] / 1e6:.0f}"
               f" MB of find's; memory of the daemon {peak / 1e6:.1f} MB")
    table.note("find looks the owner's name up again for every file, which is most of its time: "
               "hence the")
    table.note("rows with ids, for information")
    return table


def bench_name(run):
    pattern = "*_4711.txt"
    with fileslib.place(run) as place:
        tree = place.data("tree")
        files, dirs = place.sizes["tree"]["args"]
        table = FileTable(run, f"name: GET /files/search {pattern} in {files} files, {dirs} "
                          "directories, against find -name")
        target = f"/files/search?path={tree.name}&pattern={quote(pattern)}"
        find = ["find", tree, "-name", pattern]
        with daemon(run, place, None) as d:
            want = rival(run, find, None, "--lines")["lines"]
            found, length = whole_reply(run, place, d, target)
            must_equal("files found", len(found), want)
            rounds = walks(run, d, target, [find], lambda r: must_equal(
                "bytes of the reply", r["body_bytes"], length))
    walk_rows(table, rounds, 1, "", 2)
    table.note(f"both on all CPUs; {want} files match")
    return table


# ---- grep ----

GREPS = (("literal", "set_timeout", {"literal": True}, ["-F"]),
         ("alternation", "(foo|bar|baz)_[0-9]+", {}, []),
         ("leading class", r"[a-z_]+_timeout\(", {}, []),
         ("ignore case", "set_timeout", {"literal": True, "ignore_case": True}, ["-F", "-i"]))


def grep_request(source, pattern, more):
    return post("/files/grep", {"path": source.name, "pattern": pattern, "hidden": True, **more})


def grep_once(run, place, d, source, pattern, more):
    """The time of a search and the number of lines that it found."""
    reply = place.folder / "reply"
    try:
        r = with_server_cpu(d.pid, lambda: transfer(run, d.port, [
            "--head", grep_request(source, pattern, more)], None, reply))
        lines = reply.read_bytes().splitlines()
    finally:
        reply.unlink(missing_ok=True)
    summary = json.loads(lines[-1]) if lines else {}
    if summary.get("type") != "summary" or summary.get("truncated") is not False:
        raise BenchError(f"the search did not end well: {summary}")
    must_equal("matches in the summary", summary["matches"], len(lines) - 1)
    must_equal("files searched", summary["files"], place.size("source"))
    r["lines"] = len(lines) - 1
    return r


def rg_once(run, source, pattern, flags):
    return rival(run, ["rg", "-j2", "--no-ignore", "--hidden", *flags, "-e", pattern, source], None,
                 "--lines")


def bench_grep(run):
    pairs = {name: [] for name, *_ in GREPS}
    with fileslib.place(run) as place:
        source = place.data("source")
        table = FileTable(run, f"grep: POST /files/grep in {place.size('source')} files, 12.5 KB "
                          "each, against rg -j2")
        with daemon(run, place, None) as d:
            # Once unmeasured: the page cache is filled, the threads are there.
            grep_once(run, place, d, source, *GREPS[0][1:3])
            for _ in range(run.rounds):
                for name, pattern, more, flags in GREPS:
                    pair = (grep_once(run, place, d, source, pattern, more),
                            rg_once(run, source, pattern, flags))
                    must_equal(f"lines with {pattern}", pair[0]["lines"], pair[1]["lines"])
                    pairs[name].append(pair)
            peak = peak_rss(d.pid)
    for name, pattern, _, _ in GREPS:
        ratio = median(b["seconds"] / a["seconds"] for a, b in pairs[name])
        seconds = [median(r["seconds"] for r in side) for side in zip(*pairs[name])]
        table.row(f"{name}, seconds", f"{seconds[0]:.3f}", f"{seconds[1]:.3f}", f"{ratio:.2f}x",
                  ">= 1.0x", ratio >= 1)
        cpu = (median(a["server_cpu_s"] for a, _ in pairs[name]),
               median(b["cpu_seconds"] for _, b in pairs[name]))
        table.row("  CPU seconds", f"{cpu[0]:.3f}", f"{cpu[1]:.3f}", f"{cpu[1] / cpu[0]:.2f}x", "",
                  None)
        table.note(f"{name}: {pattern}, {pairs[name][0][0]['lines']} lines")
    table.note(f"both on all CPUs; the daemon's peak was {peak / 1e6:.1f} MB")
    return table


# ---- replace ----

def replace_once(run, place, d, name, words, count):
    """The daemon's turn: it says how many places it has changed."""
    old, new = words
    reply, path = place.folder / "reply", f"out/{name}"
    os.sync()
    try:
        r = with_server_cpu(d.pid, lambda: transfer(run, d.port, ["--head", post(
            "/files/replace?verbose=true", {path: {"old": old, "new": new}})], LOAD_CPU, reply))
        must_equal("replaced", json.loads(reply.read_bytes()), {path: {"replacedCount": count}})
    finally:
        reply.unlink(missing_ok=True)
    return r


def bench_replace(run):
    words = ("set_timeout", "arm_a_deadline")
    with fileslib.place(run) as place:
        text, work = place.data("text"), place.out / "work"
        shutil.copyfile(text, work)
        count = rival(run, ["rg", "-a", "-o", "-F", words[0], text], None, "--lines")["lines"]
        table = FileTable(run, f"replace: POST /files/replace of {count} places in "
                          f"{text.stat().st_size >> 20} MiB, against sed -i")
        pairs = []
        with daemon(run, place, SERVER_CPU) as d:
            # There and back again: the count of every round says whether sed did its half.
            for _ in range(run.rounds):
                ours = replace_once(run, place, d, work.name, words, count)
                os.sync()
                pairs.append((ours, rival(run, ["sed", "-i", f"s/{words[1]}/{words[0]}/g", work],
                                          SERVER_CPU)))
            peak = peak_rss(d.pid)
        same_content(work, text)
        must_equal("files left behind", os.listdir(place.out), [work.name])
    ratio = median(a["seconds"] / b["seconds"] for a, b in pairs)
    seconds = [median(r["seconds"] for r in side) for side in zip(*pairs)]
    table.row("seconds", f"{seconds[0]:.3f}", f"{seconds[1]:.3f}", f"{ratio:.3f}x", "<= 1.5x",
              ratio <= 1.5)
    cpu = (median(a["server_cpu_s"] for a, _ in pairs), median(b["cpu_seconds"] for _, b in pairs))
    table.row("CPU seconds", f"{cpu[0]:.3f}", f"{cpu[1]:.3f}", f"{cpu[0] / cpu[1]:.3f}x", "", None)
    table.note(f"the daemon's peak was {peak / 1e6:.1f} MB")
    return table


# ---- small ----

PUT_CONNS, PUT_BYTES = 16, 1024


def check_small(folder, count):
    sizes = [entry.stat().st_size for entry in os.scandir(folder)]
    must_equal(f"files in {folder.name}", sizes, [PUT_BYTES] * count)
    content = (folder / f"{count - 1:06}").read_bytes()
    must_equal(f"content of {folder.name}", content, b"x" * PUT_BYTES)


def small_round(place, measure):
    """A measurement that fills a new folder."""
    folder = place.out / "small"
    folder.mkdir()
    os.sync()
    r = measure(folder)
    check_small(folder, place.puts)
    shutil.rmtree(folder)
    return r


def puts_once(run, place, d, cpu):
    def measure(folder):
        path = quote(folder.relative_to(place.root))
        return with_server_cpu(d.pid, lambda: run_json(
            [run.tools.puts, "http", d.port, path, PUT_CONNS, place.puts, PUT_BYTES], cpu))
    r = small_round(place, measure)
    if r["bad"] or r["done"] != place.puts:
        raise BenchError(f"uploads failed: {r}")
    return r


def loop_once(run, place, cpu):
    return small_round(place, lambda folder: run_json(
        [run.tools.puts, "loop", folder, place.puts, PUT_BYTES], cpu))


def bench_small(run):
    placements = (("files/s, all CPUs", None, None, True),
                  ("files/s, daemon and client on a CPU each", SERVER_CPU, LOAD_CPU, False))
    with fileslib.place(run) as place:
        table = FileTable(run, f"small: {place.puts} new files of 1 KB by PUT, {PUT_CONNS} in "
                          "flight, against a loop of open, write, close, rename")
        for name, server_cpu, load_cpu, judged in placements:
            with daemon(run, place, server_cpu) as d:
                puts_once(run, place, d, load_cpu)
                pairs = [(puts_once(run, place, d, load_cpu), loop_once(run, place, server_cpu))
                         for _ in range(run.rounds)]
            ratio = median(b["seconds"] / a["seconds"] for a, b in pairs)
            rate = [median(place.puts / r["seconds"] for r in side) for side in zip(*pairs)]
            table.row(name, f"{rate[0]:.0f}", f"{rate[1]:.0f}", f"{ratio:.3f}x",
                      ">= 0.8x" if judged else "", ratio >= 0.8 if judged else None)
            cpu = median(a["server_cpu_s"] * 1e6 / place.puts for a, _ in pairs)
            each = median(b["cpu_seconds"] * 1e6 / place.puts for _, b in pairs)
            table.row("  CPU us each", f"{cpu:.1f}", f"{each:.1f}", f"{cpu - each:+.1f} us",
                      "", None)
    table.note("on all CPUs the disk threads can work side by side; the client takes its share")
    return table


# ---- busyfiles ----

def busy_pings(run, d):
    r = run_json([run.tools.load, "requests", "--port", d.port, "--conns", 8, "--rate", 200,
                  "--seconds", run.busy_seconds, "--fifo"], None)
    if r["bad"] or r["broken"]:
        raise BenchError(f"pings failed: {r}")
    return r


def busy_load(run, place, d):
    """What goes on again and again: name -> arguments of transfer."""
    blob, tree, source = place.data("blob"), place.data("tree"), place.data("source")
    listing = request("GET", f"/directories/list?path={tree.name}&depth=1000")
    _, pattern, more, _ = GREPS[1]
    loads = {f"upload {i}": fileslib.put_args(f"out/busy{i}", blob) for i in range(4)}
    loads["list"] = ["--head", listing]
    limit = run.rounds * run.busy_seconds + 60
    loads["grep"] = ["--head", grep_request(source, pattern, more)]
    return {name: transfer_args(run, d.port, [*args, "--loop", "--limit", limit])
            for name, args in loads.items()}


def busy_check(place, ended):
    """Every reply was good, and what was broken off has left nothing."""
    wrong = {name: r for name, r in ended.items() if r["bad"] or r["broken"]}
    if wrong:
        raise BenchError(f"the load failed: {wrong}")
    size = place.data("blob").stat().st_size
    for entry in os.scandir(place.out):
        must_equal(f"size of {entry.name}", entry.stat().st_size, size)


def bench_busyfiles(run):
    table = FileTable(run, "busyfiles: /ping at 200/s during four uploads, a listing and a grep, "
                      "again and again")
    with fileslib.place(run) as place:
        with daemon(run, place, None) as d, contextlib.ExitStack() as stack:
            loads = busy_load(run, place, d)
            os.sync()
            calm = busy_pings(run, d)
            helpers = {}
            for name, args in loads.items():
                helpers[name] = Helper(args, None)
                stack.callback(helpers[name].stop)
            time.sleep(1)
            cpu, begin = d.cpu_ns(), time.monotonic()
            rounds = [busy_pings(run, d) for _ in range(run.rounds)]
            share = (d.cpu_ns() - cpu) / 1e9 / (time.monotonic() - begin)
            ended = {name: helper.end() for name, helper in helpers.items()}
            peak = peak_rss(d.pid)
        busy_check(place, ended)
    p99 = median(r["latency_p99_us"] for r in rounds)
    table.row("p99 us", f"{p99:.0f}", f"{calm['latency_p99_us']:.0f}", "", "< 2000", p99 < 2000)
    for what in ("p50", "max"):
        table.row(f"{what} us", f"{median(r[f'latency_{what}_us'] for r in rounds):.0f}",
                  f"{calm[f'latency_{what}_us']:.0f}", "", "", None)
    lost = sum(r["lost"] for r in rounds)
    table.row("pings lost", f"{lost}", "", "", "0", lost == 0)
    stuck = [name for name, r in ended.items() if r["done"] == 0]
    table.row("of the load, never done", ", ".join(stuck) or "none", "", "", "none", not stuck)
    sent = sum(r["sent_bytes"] / r["seconds"] for r in ended.values())
    table.note(f"beside it: the same daemon at rest; while busy {sent / 1e9:.2f} GB/s uploaded,"
               f" {ended['list']['done']} listings")
    table.note(f"and {ended['grep']['done']} searches done, with {share:.0%} of a CPU and "
               f"{peak / 1e6:.1f} MB")
    return table


BENCHES = {"download": bench_download, "upload": bench_upload, "list": bench_list,
           "name": bench_name, "grep": bench_grep, "replace": bench_replace, "small": bench_small,
           "busyfiles": bench_busyfiles}
