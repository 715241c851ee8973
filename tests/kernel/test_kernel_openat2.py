"""
The file tests again, in a world without openat2(2): the walk by component must give the same
answers. ENOSYS is what an old kernel says, EPERM what the profile of a container may say.
"""

import functools
import os
import shutil
import subprocess
import sys

import pytest

from built import without_openat2
from files import ENDPOINTS, download, ok, refused
from harness import manage
from test_files_changes import *  # noqa: F401,F403
from test_files_confine import *  # noqa: F401,F403
from test_files_confine import LINKS_OUT, Place, movable
from test_files_list import *  # noqa: F401,F403


@pytest.fixture(scope="module")
def starter(request):
    """Starts daemons that have no openat2()."""
    start, finish = manage(request)
    yield functools.partial(start, prefix=without_openat2("ENOSYS"))
    finish()


@pytest.fixture(scope="module")
def shared(starter):
    return starter()


@pytest.fixture
def boxd(request):
    start, finish = manage(request)
    yield functools.partial(start, prefix=without_openat2("ENOSYS"))
    finish()


@pytest.mark.parametrize("flavour, number", [("ENOSYS", 38), ("EPERM", 1)])
def test_the_runner_takes_openat2_away(flavour, number):
    code = ("import ctypes; c = ctypes.CDLL(None, use_errno=True); "
            "c.syscall(437, -100, b'/', bytes(24), 24); print(ctypes.get_errno())")
    for prefix, want in ((without_openat2(flavour), number), ((), 0)):
        done = subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(want)


def test_a_refusal_is_as_good_as_absence(request):
    start, finish = manage(request)
    place = Place(functools.partial(start, prefix=without_openat2("EPERM")))
    try:
        for path in ("in/file", "in-absolute/file", "in-up/file", "file"):
            assert ok(download(place.d, path)).body == b"a"
        for path in ("to-open/file", "to-open-relative/file"):
            assert ok(download(place.d, path)).body == b"open"
        for path in LINKS_OUT:
            refused(download(place.d, path), 403, "PATH_FORBIDDEN")
        for call in ENDPOINTS.values():
            movable(place)
            refused(call(place.d, "out/secret"), 403, "PATH_FORBIDDEN")
        refused(download(place.d, "loop"), 400, "INVALID_PATH")
        place.untouched()
    finally:
        shutil.rmtree(place.base)
        finish()
    assert not os.path.exists(place.base)
