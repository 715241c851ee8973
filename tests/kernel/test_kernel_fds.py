"""No descriptor is ever left behind, and none reaches a child."""

import json
import os
import re

import pytest

import procfs


def normal(d):
    """What each descriptor is, without the numbers that differ from run to run."""
    return sorted(re.sub(r"\d+", "N", v.split(":")[0]) for v in d.fds().values())


USES = {
    "ping": lambda d: d.get("/ping"),
    "unknown path": lambda d: d.get("/nowhere"),
    "bad request": lambda d: raw(d, b"nonsense\r\n\r\n"),
    "half a request": lambda d: raw(d, b"GET /pi", read=False),
    "a reset in the body": lambda d: reset_body(d),
    "foreground": lambda d: d.run("echo out; echo err >&2"),
    "foreground with much output": lambda d: d.run("seq 1 20000"),
    "argv": lambda d: d.run(argv=["true"]),
    "start failure": lambda d: d.run(argv=["/nonexistent"]),
    "refused directory": lambda d: d.refuse(400, "INVALID_REQUEST_BODY", command="true", cwd="/nonexistent"),
    "background": lambda d: d.finished(d.background("echo x")),
    "timeout": lambda d: d.run("sleep 60", timeout=20),
    "observer": lambda d: observe(d),
    "client that leaves": lambda d: leave(d),
    "pipe held by a descendant": lambda d: d.run("sleep 0.2 & echo x"),
}


def raw(d, data, read=True):
    with d.connect() as c:
        c.send(data)
        if read:
            c.response()


def reset_body(d):
    c = d.connect()
    c.send(c.head("POST", "/command", {"Content-Length": "100"}) + b"{")
    c.reset()


def observe(d):
    s = d.start("echo x; sleep 0.05; echo y")
    o = d.events(s.next().text, since=0)
    list(s), list(o)
    s.conn.close()
    o.conn.close()


def leave(d):
    s = d.start("sleep 60", on_disconnect="kill")
    s.next()
    s.conn.reset()


@pytest.mark.parametrize("name", USES)
def test_leaves_no_descriptor_behind(boxd, name):
    d = boxd(limits={"proc_finished": 1, "proc_grace_ms": 100})
    use = USES[name]

    def settle():
        procfs.wait_until(lambda: d.children() == [])
        d.run("true")  # evicts what the last use left in the table
        procfs.wait_until(lambda: sockets(d) == idle)

    idle = sockets(d)
    for _ in range(3):
        use(d)
    settle()
    before = normal(d)
    for _ in range(25):
        use(d)
    settle()
    try:
        # What watches a tree that was killed goes a grace later.
        procfs.wait_until(lambda: normal(d) == before)
    except AssertionError:
        assert normal(d) == before


def sockets(d):
    return sum(v.startswith("socket:") for v in d.fds().values())


def test_children_of_busy_daemons_inherit_nothing(boxd):
    d = boxd(unix=False)
    held = [d.connect() for _ in range(10)]
    streams = [d.start("sleep 60") for _ in range(10)]
    d.background("seq 1 1000000; sleep 60")
    out = d.run(argv=["ls", "-l", "/proc/self/fd"]).stdout
    numbers = sorted(int(x.split(" -> ")[0].split()[-1]) for x in out if " -> " in x)
    # ls itself opens the directory it lists.
    assert numbers == [0, 1, 2, 3] and any(x.endswith("/fd") and " 3 -> " in x for x in out)
    for c in [*held, *[s.conn for s in streams]]:
        c.close()


def test_descriptors_handed_to_the_daemon_do_not_reach_children(boxd):
    d = boxd(prefix=("sh", "-c", 'exec 7</dev/null 8</etc/passwd 9>/dev/null; exec "$@"', "sh"))
    s = d.start(argv=["sleep", "60"])
    s.wait_for("init")
    assert set(procfs.fds(d.child_running("60"))) == {0, 1, 2}
    s.conn.close()


def test_every_descriptor_of_the_daemon_is_close_on_exec(boxd):
    d = boxd()
    s = d.start("sleep 60")
    s.next()
    loose = []
    for fd, target in d.fds().items():
        with open(f"/proc/{d.pid}/fdinfo/{fd}") as f:
            info = dict(line.split(":", 1) for line in f if ":" in line)
        if fd > 2 and not int(info["flags"], 8) & os.O_CLOEXEC:
            loose.append((fd, target))
    assert loose == [], json.dumps(loose)
    s.conn.close()


def test_commands_get_back_the_limits_and_the_priority_the_daemon_was_started_with(boxd):
    d = boxd(prefix=("prlimit", "--nofile=300:1000", "nice", "-n", "3"))
    assert d.run("ulimit -Sn; ulimit -Hn; nice").stdout == ["300", "1000", "3"]
    with open(f"/proc/{d.pid}/limits") as f:
        own = next(line.split() for line in f if line.startswith("Max open files"))
    assert own[3:5] == ["1000", "1000"]
