"""Hooks and fixtures of the black-box tests: daemons that are judged when their test is over.

Shared by the conftest.py of each directory of black-box tests.
"""

import shutil
import signal

import pytest

import boxd as helper

TEST_SECONDS = 90


def pytest_sessionstart(session):
    if not helper.BIN.exists():
        pytest.exit(f"no daemon at {helper.BIN}: build it, or set BOXD_BIN", returncode=4)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """The last resort: every wait in the tests has its own deadline."""
    def late(_signum, _frame):
        raise AssertionError(f"the test runs for {TEST_SECONDS} s")
    marker = item.get_closest_marker("seconds")
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(marker.args[0] if marker else TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): how long this test may take")


def pytest_terminal_summary(terminalreporter):
    """A skip is a promise nobody checked: it is counted and named."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and not getattr(terminalreporter, "told_skips", False):
        terminalreporter.told_skips = True
        terminalreporter.section(f"{len(skipped)} NOT CHECKED HERE")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            terminalreporter.line(f"{report.nodeid}: {reason}")


def manage(request):
    """A factory of daemons, and the judging of all it made."""
    made = []

    def start(*args, **kw):
        d = helper.Daemon(*args, **kw)
        made.append(d)
        return d

    def finish():
        report = getattr(request.node, "report_call", None)
        failed = report is not None and report.failed
        problems = []
        for d in made:
            try:
                if failed:
                    print(f"---- log of {d.argv[-1]} ----\n{d.log_text()}")
                d.stop(status=d.process.returncode if d.stopped else 0)
            except BaseException as e:  # every daemon must be ended
                problems.append(e)
                d.kill()
            if not problems and not failed:
                shutil.rmtree(d.dir, ignore_errors=True)
        if problems:
            raise problems[0]
    return start, finish


@pytest.fixture
def boxd(request):
    """boxd(*args, limits={...}, ...) starts a daemon of the test's own."""
    start, finish = manage(request)
    yield start
    finish()


@pytest.fixture
def daemon(boxd):
    """A daemon with the default settings, of the test's own."""
    return boxd()


@pytest.fixture(scope="module")
def shared(request):
    """A daemon for all read-only tests of a module."""
    start, finish = manage(request)
    yield start()
    finish()


@pytest.fixture
def tmp_path():
    """Like pytest's own, inside the build directory."""
    path = helper.scratch()
    yield path
    shutil.rmtree(path, ignore_errors=True)
