"""What the kernel says about a process: descriptors, children, memory, dispositions."""

import os
import time


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def stat_field(pid, n):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[n - 3]


def state(pid):
    """The state letter, or None when there is no such process."""
    try:
        return stat_field(pid, 3)
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    return state(pid) not in (None, "Z", "X")


def children(pid):
    """Direct children, zombies included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if int(stat_field(name, 4)) == pid:
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return sorted(found)


def zombies(pid):
    return [c for c in children(pid) if state(c) == "Z"]


def fds(pid):
    """Descriptor number to what it refers to."""
    out = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            out[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return out


def rss_kib(pid):
    return int(status(pid)["VmRSS"].split()[0])


def cmdline(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read()


def environ(pid):
    with open(f"/proc/{pid}/environ", "rb") as f:
        return f.read()


def wait_until(what, deadline=10.0, step=0.01):
    """For states of the kernel that no event announces: asks until it is true, or fails."""
    end = time.monotonic() + deadline
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s: {getattr(what, '__doc__', '') or what}"
        time.sleep(step)
