"""The measured tools and how each is started: raw kubectl, kpf-supervise, and the peers on PyPI."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from tests.kubectls import Kubectl

from .measure import family

ROOT = Path(__file__).parent.parent
PATIENCE = 10.0  # seconds until a forward counts as failed to start


@dataclass(frozen=True)
class Place:
    """Where the forwards lead, and the path of their kubectl. `folder` is for files, and every tool's HOME."""

    kubectl: str
    kubeconfig: str
    folder: Path
    namespace: str = "dev"
    target: str = "service/web"
    port: str = "80"
    container_port: str = "8080"  # the port behind it; two of the peers accept no other
    several: bool = False  # each forward has its own target, with the suffix -0, -1 …

    @property
    def environment(self) -> dict[str, str]:
        """Has the kubectl first on PATH, because some tools have no option for it."""
        path = self.folder / "bin"
        path.mkdir(exist_ok=True)
        if not (path / "kubectl").exists():
            (path / "kubectl").symlink_to(self.kubectl)
        own = {"KUBECONFIG": self.kubeconfig, "HOME": str(self.folder), "PATH": f"{path}:{os.environ['PATH']}"}
        return {**os.environ, **own, "XDG_RUNTIME_DIR": str(self.folder)}

    @property
    def supervised(self) -> tuple[Path, Kubectl, Path]:
        """The first three arguments of tests.program.supervising."""
        return self.folder, Kubectl(self.kubectl, (0, 0, 0), ""), Path(self.kubeconfig)

    def target_of(self, number: int) -> str:
        return f"{self.target}-{number}" if self.several else self.target

    def forward(self, local: int) -> list[str]:
        return ["-n", self.namespace, self.target, f"{local}:{self.port}"]


Commands = Callable[[Place, Sequence[int]], list[list[str]]]


@dataclass(frozen=True)
class Tool:
    """`commands` returns the command lines that forward the local ports. A peer must be installed first."""

    name: str
    commands: Commands
    package: str = ""  # on PyPI

    @contextmanager
    def running(self, place: Place, count: int = 1, wait: bool = True) -> Iterator[tuple[list[int], list[int]]]:
        """(local ports, pids) of `count` forwards: once all answer, or at once. Their processes end with the block."""
        ports = free_ports(count)
        processes = [
            subprocess.Popen(
                command,
                env=place.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for command in self.commands(place, ports)
        ]
        try:
            for port in ports if wait else ():
                until_answer(port)
            yield ports, [process.pid for process in processes]
        finally:
            everyone = [each for process in processes for each in family(process.pid)]
            for each in everyone:
                with suppress(psutil.Error):
                    each.terminate()
            for each in psutil.wait_procs(everyone, timeout=1)[1]:
                with suppress(psutil.Error):
                    each.kill()
            for process in processes:
                process.wait()

    def time_to_ready(self, place: Place, count: int = 1) -> float:
        """Seconds from exec until all of its forwards have answered. Raises TimeoutError."""
        begun = time.perf_counter()
        with self.running(place, count):
            return time.perf_counter() - begun


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now. A process told to use one of them can bind it."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until_answer(port: int) -> None:
    """Repeat a GET until it is answered. Raises TimeoutError."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            if connection.recv(1):
                return
        time.sleep(0.002)
    raise TimeoutError(f"nothing answered on port {port}")


def raw(place: Place, ports: Sequence[int]) -> list[list[str]]:
    return [[place.kubectl, "port-forward", "--address=127.0.0.1", *place.forward(port)] for port in ports]


def loop(place: Place, ports: Sequence[int]) -> list[list[str]]:
    script = 'while true; do "$@"; done'
    return [["sh", "-c", script, "sh", *command] for command in raw(place, ports)]


def ours(place: Place, ports: Sequence[int], more: str = "") -> list[list[str]]:
    lines = [f"  f{port}: {{target: {place.target}, ports: '{port}:{place.port}'{more}}}\n" for port in ports]
    config = place.folder / f"ours-{ports[0]}.yaml"
    config.write_text(f"namespace: {place.namespace}\nforwards:\n{''.join(lines)}")
    return [[sys.executable, "-m", "kpf_supervise", str(config), f"--kubectl={place.kubectl}"]]


def as_go_has_them(place: Place, ports: Sequence[int]) -> list[list[str]]:
    return [["env", "GOGC=100", f"GOMAXPROCS={os.cpu_count()}", *command] for command in ours(place, ports)]


def peer(package: str) -> Path:
    return ROOT / ".cache/peers" / package / "bin"


def kpf(place: Place, ports: Sequence[int]) -> list[list[str]]:
    return [[str(peer("kpf") / "kpf"), *place.forward(port)] for port in ports]


def localport(place: Place, ports: Sequence[int]) -> list[list[str]]:
    """Uses the shortest pauses that it accepts, far below its defaults."""
    kind, _, name = place.target.partition("/")
    services = "".join(
        f"""
        - name: f{port}
          technology: kubectl
          local_port: {port}
          remote_port: {place.port}
          connection: {{resource_type: {kind}, resource_name: {name}, namespace: {place.namespace}}}
          health_check: {{type: http, interval: 1, timeout: 1.0, failure_threshold: 1,
            config: {{url: "http://127.0.0.1:{port}/"}}}}
          restart_policy: {{enabled: true, max_attempts: 100, initial_delay: 1, max_delay: 1}}"""
        for port in ports
    )
    config = place.folder / f"localport-{ports[0]}.yaml"
    config.write_text(f'version: "1.0"\nservices:{textwrap.dedent(services)}\n')
    pid = f"--pid-file={config.with_suffix('.pid')}"
    return [[str(peer("localport") / "python"), "-m", "localport.daemon", "-f", f"--config={config}", pid]]


def kr8s(place: Place, ports: Sequence[int]) -> list[list[str]]:
    kind, _, name = place.target.partition("/")
    text = (
        f"import asyncio; from kr8s.asyncio.objects import {kind.capitalize()} as Kind\n"
        "async def forward(port):\n"
        f"    target = await Kind.get({name!r}, namespace={place.namespace!r})\n"
        f"    await target.portforward(remote_port={place.container_port}, local_port=port).run_forever()\n"
        f"async def main(): await asyncio.gather(*map(forward, {list(ports)}))\n"
        "asyncio.run(main())"
    )
    return [[str(peer("kr8s") / "python"), "-c", text]]


def portforward(place: Place, ports: Sequence[int]) -> list[list[str]]:
    name = place.target.partition("/")[2]
    text = (
        "import asyncio\n"
        "from portforward import AsyncPortForwarder as Forwarder\n"
        "async def main():\n"
        f"    for port in {list(ports)}:\n"
        f"        await Forwarder({place.namespace!r}, {name!r}, port, {place.container_port}).forward()\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    return [[str(peer("portforward") / "python"), "-c", text]]


RAW, LOOP, OURS = Tool("raw kubectl", raw), Tool("kubectl in a shell loop", loop), Tool("kpf-supervise", ours)
SPREAD = Tool("children: 4", partial(ours, more=", children: 4"))
SETTINGS = [
    SPREAD,
    Tool("protocol: spdy", partial(ours, more=", protocol: spdy")),
    Tool("protocol: websocket", partial(ours, more=", protocol: websocket")),
    Tool("GOGC and GOMAXPROCS as Go has them", as_go_has_them),
]
PEERS = [Tool(each.__name__, each, each.__name__) for each in (kpf, localport, kr8s, portforward)]


def usable_peers(place: Place) -> tuple[list[Tool], list[str]]:
    """The peers that can be installed and forward here, each in its own environment, and a note on every peer."""
    found, notes = [], []
    for tool in PEERS:
        try:
            version = install(tool.package)
            with tool.running(place):
                pass
        except (OSError, subprocess.SubprocessError) as error:
            notes.append(f"{tool.name} is left out: {reason(error)}")
        else:
            found.append(tool)
            notes.append(f"{tool.name} {version}")
    return found, notes


def reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return (error.stderr or "").strip().rpartition("\n")[2] or "it can't be installed"
    return f"it forwards nothing here ({error})"


def install(package: str) -> str:
    """Install the package if needed and return its version. Raises OSError or SubprocessError."""
    python = peer(package) / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", str(python.parent.parent))
        run(str(python), "-m", "pip", "install", package)
    return run(str(python), "-c", f"import importlib.metadata; print(importlib.metadata.version({package!r}))")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
