"""Starts tests/http/ws_echo.c: WebSocket of the daemon's network layer with nothing behind it."""

import os

import pytest

import boxd as helper
import harness
from wsraw import Ws

BUILD = helper.ROOT / os.environ.get("BOXD_BUILD", "build/dev")
ECHO = BUILD / "tests" / "ws_echo"

needs_echo = pytest.mark.skipif(not ECHO.exists(), reason=f"no {ECHO}: a build without tests")


def starter(request):
    """A factory: start(limits={...}, deflate=True), and the judging of all it made."""
    start, finish = harness.manage(request)

    def begin(*args, limits=None, deflate=True):
        args = list(args)
        for name, value in (limits or {}).items():
            args += ["--limit", f"{name}={value}"]
        d = start(*args, *([] if deflate else ["--no-deflate"]), binary=ECHO, basics=False)
        d.ws = lambda *a, **kw: Ws(d.address, *a, **kw)
        return d
    return begin, finish
