"""Shared by all tests: the kubectls to run, the time limit, and the check that no process outlives the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid

import psutil
import pytest

from kpf_supervise.sandbox import Cluster
from tests import limits, preforked
from tests.kubectl_client import Client
from tests.kubectls import KUBECTLS, Kubectl

OLDEST, NEWEST = KUBECTLS[0], KUBECTLS[-1]
TUNNELS = [(OLDEST, "spdy"), (NEWEST, "spdy")] + [(NEWEST, "websocket")] * (NEWEST.version >= (1, 29, 0))
# Takes the place of the fixture `kubectl` where the versions between these two would show nothing new.
ENDS = list(dict.fromkeys([OLDEST, NEWEST]))
both = pytest.mark.parametrize("kubectl", ENDS, ids=lambda kubectl: kubectl.label)
MARKER = "KPF_TEST_SESSION"  # in the environment of all processes that this run starts
GRACE = 5.0  # seconds for processes to exit after the last test
LEFT = pytest.StashKey[list[str]]()


@pytest.fixture(params=KUBECTLS, ids=lambda k: k.label)
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    """Each kubectl found, in turn. `-k 1.33` selects one."""
    assert isinstance(request.param, Kubectl)
    return request.param


@pytest.fixture(params=dict.fromkeys([OLDEST, NEWEST]), ids=lambda kubectl: kubectl.label)
def client(request: pytest.FixtureRequest, cluster: Cluster) -> Client:
    """The oldest and the newest kubectl, on the `cluster` of the test's module."""
    return Client(request.param, cluster)


@pytest.fixture(params=dict.fromkeys(TUNNELS), ids=lambda pair: f"{pair[0].label}-{pair[1]}")
def tunnel(request: pytest.FixtureRequest, cluster: Cluster) -> Client:
    """The same, for each protocol that they support."""
    kubectl, tunnel = request.param
    return Client(kubectl, cluster, tunnel)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with long waits first, while other workers run the rest."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(limits, limits.__name__)
    # Most kubectls here end before there is much garbage to collect: they take a fifth less CPU time.
    os.environ.setdefault("GOGC", "400")
    if not is_worker(config):
        os.environ[MARKER] = str(uuid.uuid4())
        # keeps the instances' sockets apart from the user's; short, because a socket's path must be
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="kpf")


def is_worker(config: pytest.Config) -> bool:
    """Whether this is a pytest-xdist worker. Workers inherit the marker and leave the check to their parent."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Print the binaries. (Not in `pytest_report_header`, which is silent under `-q`.)"""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        for kubectl in KUBECTLS:
            terminal.write_line(str(kubectl))


def leftovers(workers: bool) -> list[psutil.Process]:
    """All live processes that this run started, whatever their parent is now, except pytest-xdist's `workers`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # exited, or another user's
            if process.pid == os.getpid() or (workers and process.ppid() == os.getpid()):
                continue
            if process.environ().get(MARKER) == os.environ[MARKER]:
                found.append(process)
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a process that it started is still alive (an orphaned kubectl, say), and kill it."""
    preforked.end()
    if is_worker(session.config):
        return
    workers = bool(session.config.getoption("numprocesses", None))
    psutil.wait_procs(leftovers(workers), timeout=GRACE)
    left = leftovers(workers)
    lines = session.config.stash[LEFT] = []
    for process in left:
        with contextlib.suppress(psutil.Error, OSError):
            test = process.environ().get("PYTEST_CURRENT_TEST", "no test")
            lines.append(f"pid {process.pid}, started in {test}: {' '.join(process.cmdline())}")
            process.kill()
    shutil.rmtree(os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)
    if lines:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(LEFT, []):
        terminalreporter.write_line(f"FAILED: a process outlived the tests: {line}", red=True)
