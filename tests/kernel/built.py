"""Helper programs of the kernel tests, compiled when they are first needed."""

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from boxd import BIN

HERE = Path(__file__).resolve().parent


@functools.cache
def helper(name):
    """The program that tests/kernel/NAME.c makes, beside the daemon's other scratch files."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip(f"no compiler for {name}.c")
    out = BIN.parent / "blackbox" / name
    out.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-o", str(out), str(HERE / f"{name}.c")], check=True)
    return str(out)


def without_openat2(flavour):
    """The prefix that starts a program in a world where openat2() answers ENOSYS or EPERM."""
    return (helper("no_openat2"), *(["-p"] if flavour == "EPERM" else []))
