"""Imports between rooms point one way, from pure values to effects to the composition root; in a room there is no
circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from itertools import takewhile
from pathlib import Path

import pytest

import kpf_supervise

# Each room may import from those above it, and from itself.
ROOMS = [
    "version",
    "text",
    "origin",
    "counters",
    "model",
    "primitives",
    "config",
    "loading",
    "importing",
    "kubectl",
    "sign_in",
    "api",
    "events",
    "runtime",
    "watching",
    "discovery",
    "decision",
    "forwarding",
    "sources",
    "instance",
    "protocols",
    "serving",
    "proxying",
    "metrics",
    "control",
    "panel_state",
    "panel_widgets",
    "panel",
    "shell_completion",
    "kpfctl",
    "inspection",
    "app",
    "cli",
    "entry",
]
PURE = [
    "text",
    "origin",
    "counters",
    "model",
    "config.contents",
    "config.errors",
    "config.habits",
    "config.options",
    "config.schema",
    "config.selectors",
    "config.target_kinds",
    "config.values",
    "config.words",
    "config.diff",
    "loading.yaml_nodes",
    "loading.reader",
    "loading.unknown_keys",
    "loading.interpolation",
    "loading.forwards",
    "loading.service_groups",
    "loading.proxy",
    "loading.loader",
    "importing.conversion",
    "importing.devspace",
    "importing.documents",
    "importing.flags",
    "importing.formats",
    "importing.found",
    "importing.kftray",
    "importing.kubectl_lines",
    "importing.kubefwd",
    "importing.kubeport",
    "importing.localport",
    "importing.processes",
    "importing.shell_words",
    "importing.skaffold",
    "importing.writing",
    "kubectl.command_line",
    "kubectl.kubeconfigs",
    "kubectl.output",
    "kubectl.causes",
    "kubectl.answers",
    "api.errors",
    "kubectl.credentials",
    "sign_in.credential",
    "sign_in.plugin",
    "kubectl.proxy",
    "events.serialize",
    "events.summary",
    "watching.api_objects",
    "watching.objects",
    "watching.pods",
    "watching.services",
    "discovery.choice",
    "watching.listing",
    "discovery.sight",
    "decision.tunnel_states",
    "decision.facts",
    "decision.step",
    "decision.sentences",
    "decision.clients",
    "decision.tunnels",
    "decision.serving",
    "decision.spread",
    "decision.sign_in",
    "decision.rounds",
    "decision.decide",
    "sources.members",
    "sources.namespaces",
    "inspection.file_from_cluster",
    "runtime.environment",
    "instance.leases",
    "instance.origins",
    "instance.stopped",
    "protocols.refusal",
    "protocols.names",
    "protocols.socks",
    "protocols.http",
    "protocols.services",
    "protocols.pac",
    "protocols.told",
    "metrics.collect",
    "metrics.pages",
    "control.jsonrpc",
    "control.methods",
    "kpfctl.ids",
    "panel_state.state",
    "panel_state.columns",
    "panel_state.cells",
    "panel_state.ending",
    "panel_state.keys",
    "panel_state.starting",
    "panel_state.words",
]
PANEL = [
    *(f"panel_state/{name}" for name in ("hands", "link")),
    *(f"panel_widgets/{name}" for name in ("begin", "footer", "screens", "table")),
    *(f"panel/{name}" for name in ("actions", "driver", "following", "program")),
]
FOLDER = Path(kpf_supervise.__file__).parent
LONGEST = 300  # lines of a file


def files(room: str) -> list[Path]:
    return sorted((FOLDER / room).glob("*.py")) if (FOLDER / room).is_dir() else [FOLDER / f"{room}.py"]


def module(file: Path) -> str:
    return ".".join(file.relative_to(FOLDER).with_suffix("").parts)


KNOWN = {module(each) for each in FOLDER.rglob("*.py")}


@cache
def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere, our own without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("kpf_supervise.") for name in found if name.startswith("kpf_supervise.")}
    return {name for name in ours if name in KNOWN} | {name for name in found if not name.startswith("kpf_supervise")}


def test_every_module_is_in_a_room() -> None:
    known = {file for room in [*ROOMS, "sandbox"] for file in files(room)}
    assert known == set(FOLDER.rglob("*.py")) - {FOLDER / "__init__.py", FOLDER / "__main__.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_from_one_below(room: str) -> None:
    above = {*takewhile(lambda each: each != room, ROOMS), room}
    for file in files(room):
        if file.stem == "__main__":
            continue
        of_ours = {name.partition(".")[0] for name in imports(file)} & {*ROOMS, "sandbox"}
        assert of_ours <= above, file.name


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_in_a_room(room: str) -> None:
    graph = {module(file): imports(file) - {module(file)} for file in files(room)}
    TopologicalSorter({name: found & graph.keys() for name, found in graph.items()}).prepare()


def test_the_pure_ones_know_no_clock_process_or_socket() -> None:
    effects = {"trio", "socket", "subprocess", "time", "psutil", "threading", "asyncio"}
    for name in PURE:
        assert not imports(FOLDER / f"{name.replace('.', '/')}.py") & effects, name


def test_the_sandbox_is_apart() -> None:
    """It takes only pure pieces, and nothing takes it: it runs as a program of its own."""
    for file in files("sandbox"):
        ours = {name for name in imports(file) if name.partition(".")[0] in ROOMS}
        assert ours <= set(PURE), file.name


def test_asyncio_is_only_in_the_process_of_the_panel_and_trio_is_not() -> None:
    """`child` is the end that the supervisor has of it."""
    of_panel = {FOLDER / f"{name}.py" for name in PANEL}
    served = FOLDER / "panel/web.py"  # a process of its own, too
    for file in FOLDER.rglob("*.py"):
        found = imports(file)
        assert "threading" not in found, file.name
        assert file in {*of_panel, served} or not {each.partition(".")[0] for each in found} & {"asyncio", "textual"}, (
            file.name
        )
    reached, todo = set[Path](), {FOLDER / "panel/__main__.py"}
    while todo:
        file = todo.pop()
        reached.add(file)
        assert "trio" not in imports(file), file
        ours = {FOLDER / f"{name.replace('.', '/')}.py" for name in imports(file) & KNOWN}
        todo |= ours - reached
    assert of_panel <= reached
    allowed = {
        "text",
        "origin",
        "counters",
        "model",
        "primitives",
        "config",
        "loading",
        "events",
        "control",
        "runtime",
        "panel_state",
        "panel_widgets",
        "panel",
        "kubectl",
    }
    rooms = {module(file).partition(".")[0] for file in reached}
    assert rooms <= allowed, rooms


def test_the_library_of_the_metrics_is_imported_only_where_metrics_are_wanted() -> None:
    """At a start, it would take a tenth of the time."""
    users = {"metrics.collect", "metrics.server"}
    for file in {file for room in ROOMS for file in files(room)}:
        found = {each for each in ast.parse(file.read_text()).body if isinstance(each, ast.Import | ast.ImportFrom)}
        words = {word for each in found for word in ast.unparse(each).replace("kpf_supervise.", "").split()}
        if module(file) not in users:
            assert not {word.partition(".")[0] for word in words} & {"prometheus_client"}, file.name
            assert not words & users, file.name


def test_every_file_fits_in_the_head() -> None:
    for file in FOLDER.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= LONGEST, file.name
