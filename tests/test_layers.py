"""Imports point one way: from pure values to effects to the composition root."""

from __future__ import annotations

import ast
from pathlib import Path

import supervisor

# Each layer may import from those above it, and from itself.
LAYERS = [
    ["model", "problems", "variables", "jsonrpc", "scrub", "objects"],
    ["selector", "schema", "notation", "yaml_marks", "config", "backoff", "pods", "plan", "credentials", "proxy"],
    ["kubectl"],
    ["wire", "methods", "tables", "digest"],
    ["view"],
    ["drawing"],
    ["place", "saved"],
    ["peers"],
    ["client", "detach", "link"],
    ["panel"],
    ["ctl"],
    ["boundary"],
    ["board", "news", "keeper", "process", "listener", "turns", "wake", "open_files"],
    ["child", "notices", "edits", "command", "notify", "outage", "shared"],
    ["readiness", "watch", "relay", "contexts"],
    ["watches"],
    ["lookout", "reception"],
    ["crew"],
    ["forward"],
    ["supervise"],
    ["declared"],
    ["steering"],
    ["control"],
    ["app"],
    ["cli"],
    ["entry"],
]
PURE = [name for layer in LAYERS[:5] for name in layer]
FOLDER = Path(supervisor.__file__).parent


def imports(file: Path) -> set[str]:
    """The modules that a file imports anywhere, our own without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(f"{'.' * node.level}{node.module or ''}")
    return {name.removeprefix("supervisor.").removeprefix(".") for name in found}


def test_every_module_has_its_layer() -> None:
    assert sorted(name for layer in LAYERS for name in layer) == sorted(
        path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"
    )


def test_no_module_imports_from_a_layer_below() -> None:
    modules = {name for layer in LAYERS for name in layer}
    allowed: set[str] = set()
    for layer in LAYERS:
        allowed |= set(layer)
        for name in layer:
            assert imports(FOLDER / f"{name}.py") & modules <= allowed, name


def test_the_pure_ones_know_no_clock_process_or_socket() -> None:
    effects = {"trio", "socket", "subprocess", "time", "psutil", "threading", "asyncio"}
    for name in PURE:
        assert not imports(FOLDER / f"{name}.py") & effects, name


def test_the_sandbox_is_apart() -> None:
    """It takes only pure pieces, and nothing takes it: it runs as a program of its own."""
    for file in FOLDER.glob("*.py"):
        assert not any(name.startswith("sandbox") for name in imports(file)), file.name
    modules = {name for layer in LAYERS for name in layer}
    for file in (FOLDER / "sandbox").glob("*.py"):
        assert imports(file) & modules <= {*PURE, *(p.stem for p in (FOLDER / "sandbox").glob("*.py"))}, file.name


def test_no_asyncio_anywhere() -> None:
    for file in FOLDER.rglob("*.py"):
        assert not imports(file) & {"asyncio", "threading"}, file.name
