"""`make soak`: forwards under load on the sandbox cluster, with one fault after another, chosen by a seed.

It counts what must not happen: a refused connection, a request that is lost or hangs although its forward was
steadily `active` (a false active), a forward that does not come back, a process left behind, growing memory or
descriptors. Requests broken by a fault itself are counted too, but are not failures: data that the pod had already
received cannot be saved.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click
import psutil
import trio

from kpf_supervise.sandbox import Cluster, Timing, open_cluster, write_kubeconfig
from kpf_supervise.sandbox.credential_plugin import CredentialPlugin
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import Instance, supervising

PATIENCE = 8.0  # seconds for one request
NEAR = 2.0  # seconds around a request in which an event explains its loss
SILENCE = 4.0  # seconds until dead connections are detected, with this cluster's bookmarks
DEAD = "connections dead"
LINE = "line dead"
LATEST = 17.0  # seconds until a dead line is known: 10 of silence, 5 for the small question, and a busy machine
LIFETIME = 20.0  # seconds for which a token of the credential plugin is valid
BACK = 40.0  # seconds without faults at the end, at most, for everything to recover: a failed login is retried after 30


@dataclass
class Report:
    """The results of a run."""

    requests: Counter[str] = field(default_factory=Counter)  # ok, refused, broken by …, false active
    faults: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0  # seconds, of answered requests
    not_back: list[str] = field(default_factory=list)
    orphans: int = 0
    logins: int = 0  # runs of the credential plugin
    memory: list[float] = field(default_factory=list)  # MB (resident) of the supervisor, over time
    descriptors: list[int] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # descriptions of the false actives

    @property
    def failed(self) -> bool:
        return bool(self.requests["refused"] or self.requests["false active"] or self.not_back or self.orphans)

    def lines(self) -> list[str]:
        early = len(self.memory) // 5
        return [
            f"requests      {', '.join(f'{count} {what}' for what, count in self.requests.most_common())}",
            f"slowest       {self.longest:.2f} s",
            f"faults        {', '.join(f'{count} {what}' for what, count in self.faults.most_common())}",
            f"not back      {', '.join(self.not_back) or 'none'}",
            f"orphans       {self.orphans}",
            f"logins        {self.logins}",
            f"memory        {self.memory[early]:.0f} MB early, {self.memory[-1]:.0f} MB at the end",
            f"descriptors   {self.descriptors[early]} early, {self.descriptors[-1]} at the end",
            *self.strange[:20],
        ]


class Soak:
    def __init__(
        self, cluster: Cluster, instance: Instance, plugin: CredentialPlugin, names: list[str], seed: int
    ) -> None:
        self.cluster, self.instance, self.plugin, self.names = cluster, instance, plugin, names
        self.chance = random.Random(seed)
        self.report = Report()
        self.happened: list[tuple[float, str]] = []  # the faults so far, with their times

    # --- the load

    async def load(self, name: str, port: int) -> None:
        """Send one request after the other, each over its own connection."""
        chance = random.Random(name)
        while True:
            begun = time.time()
            outcome = "hung"
            with trio.move_on_after(PATIENCE):
                outcome = await request(port)
            took = time.time() - begun
            if outcome == "ok":
                self.report.longest = max(self.report.longest, took)
            elif outcome != "refused":
                outcome = await self._judge(name, begun, outcome)
            self.report.requests[outcome] += 1
            await trio.sleep(chance.uniform(0.02, 0.2))

    async def _judge(self, name: str, begun: float, outcome: str) -> str:
        """Whether an event, or a fault that is not reported, explains a lost request."""
        over = time.time()
        await trio.sleep(NEAR)
        ended = time.time()
        # a connection that has gone dead hangs, whatever happens after it
        silent = {DEAD: SILENCE, LINE: LATEST}  # seconds for which that is not known
        dead = [
            fault for at, fault in self.happened if fault in silent and at - PATIENCE <= begun <= at + silent[fault]
        ]
        before = [fault for at, fault in self.happened if at <= over]
        during = dead[-1] if dead and outcome == "hung" else (before or ["nothing"])[-1]
        state = "active"
        for event in self.instance.events:
            at = datetime.fromisoformat(event["time"]).timestamp()
            if event.get("forward") == name:
                if begun - NEAR <= at <= ended:
                    return f"broken by {during} ({outcome})"
                state = event["state"] if at < begun else state
        if state != "active":
            return f"{state} for long ({outcome})"
        if dead:
            return f"broken by {dead[-1]} ({outcome})"
        self.report.strange.append(f"{name}: {outcome} at {datetime.fromtimestamp(begun):%H:%M:%S.%f}, steadily active")
        return "false active"

    # --- the faults

    def _pod(self) -> str | None:
        pods = [pod["metadata"]["name"] for pod in self.cluster.pods() if "deletionTimestamp" not in pod["metadata"]]
        there: list[str] = [name for name in pods if name != "pending"]
        return self.chance.choice(there) if there else None

    async def _delete_pod(self) -> None:
        if pod := self._pod():
            self.cluster.delete_pod(pod)

    async def _crash(self) -> None:
        if pod := self._pod():
            self.cluster.restart_container(pod)

    async def _unready(self) -> None:
        if pod := self._pod():
            self.cluster.set_ready(pod, False)
            await trio.sleep(self.chance.uniform(0.1, 1))
            if pod in [each["metadata"]["name"] for each in self.cluster.pods()]:
                self.cluster.set_ready(pod, True)

    async def _rollout(self) -> None:
        self.cluster.rollout_restart("deployment/web")

    async def _kill(self, word: str) -> None:
        if processes := self.instance.kubectls(word):
            self.chance.choice(processes).kill()

    async def _kill_child(self) -> None:
        await self._kill("port-forward")

    async def _kill_reading(self) -> None:
        await self._kill("proxy")

    async def _cut_tunnels(self) -> None:
        self.cluster.cut_tunnels(self._pod())

    async def _end_watches(self) -> None:
        self.cluster.end_watches(self.chance.choice(["clean", "abrupt", "expired"]))

    async def _api_down(self) -> None:
        await self.cluster.stop_api(keep_tunnels=self.chance.random() < 0.5)
        await trio.sleep(self.chance.uniform(0.1, 3))
        await self.cluster.stop_api()
        await self.cluster.start_api()

    async def _api_frozen(self) -> None:
        self.cluster.pause_api()
        await trio.sleep(self.chance.uniform(0.1, 3))
        self.cluster.resume_api()

    async def _no_upgrades(self) -> None:
        self.cluster.faults.refuse_upgrade(self.chance.choice([403, 500, 503]))
        await trio.sleep(self.chance.uniform(0.1, 1))
        self.cluster.faults.clear()

    async def _connections_die(self) -> None:
        self.cluster.lose_connections()
        await trio.sleep(SILENCE)

    async def _line_dead(self) -> None:
        self.cluster.line.cut()
        await trio.sleep(self.chance.uniform(1, 2 * LATEST))
        self.cluster.line.restore()

    async def _tokens_revoked(self) -> None:
        self.cluster.tokens.revoke()

    async def _login_fails(self) -> None:
        self.plugin.behave(fails="the login page does not answer")
        self.cluster.tokens.revoke()
        await trio.sleep(self.chance.uniform(0.5, 5))
        self.plugin.behave(fails="")

    async def _login_slow(self) -> None:
        self.plugin.behave(takes=self.chance.uniform(1, 2.5))  # longer: somebody was asked, and must ask for the next
        self.cluster.tokens.revoke()
        await trio.sleep(2)
        self.plugin.behave(takes=0.2)

    async def trouble(self, seconds: float, only: str) -> None:
        """Inject faults for this many seconds, only those whose name contains one of the words in `only`."""
        faults: dict[str, Callable[[], Awaitable[None]]] = {
            "pod deleted": self._delete_pod,
            "container crashed": self._crash,
            "readiness lost": self._unready,
            "rollout": self._rollout,
            "kubectl killed": self._kill_child,
            "reading kubectl killed": self._kill_reading,
            "tunnels cut": self._cut_tunnels,
            "watches ended": self._end_watches,
            "API server down": self._api_down,
            "API server frozen": self._api_frozen,
            "upgrades refused": self._no_upgrades,
            DEAD: self._connections_die,
            LINE: self._line_dead,
            "tokens revoked": self._tokens_revoked,
            "login fails": self._login_fails,
            "login slow": self._login_slow,
        }
        names = sorted(name for name in faults if any(word in name for word in only.split(",")))
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            name = self.chance.choice(names)
            self.happened.append((time.time(), name))
            self.report.faults[name] += 1
            await faults[name]()
            await trio.sleep(self.chance.uniform(0, 1.5))

    async def measure(self) -> None:
        """Record memory and descriptors every second."""
        process = psutil.Process(self.instance.process.pid)
        while True:
            self.report.memory.append(process.memory_info().rss / 1e6)
            self.report.descriptors.append(process.num_fds())
            await trio.sleep(1)


async def request(port: int) -> str:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return "refused"
    async with stream:
        try:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            return "reset"
    return "ok" if answer.startswith(b"HTTP/1.1 200") else "empty"


def configuration(count: int) -> tuple[str, list[str]]:
    targets = ("service/web", "deployment/web", "statefulset/db", "pod/db-0", "deployment/search")
    rows, names = [], []
    for number in range(count):
        target = targets[number % len(targets)]
        port = "9200" if target == "deployment/search" else "8080" if target == "pod/db-0" else "http"
        names.append(f"f{number}")
        rows.append(f"  f{number}: {{target: {target}, ports: ':{port}'}}\n")
    return "defaults: {reconnect: {initial: 100ms, max: 1s}}\nforwards:\n" + "".join(rows), names


async def soak(kubectl: Kubectl, folder: Path, seconds: float, seed: int, count: int, only: str = "") -> Report:
    """Run for this many seconds, and a few more to see all forwards come back."""
    config, names = configuration(count)
    async with open_cluster(folder, Timing(bookmark=0.3)) as cluster:
        plugin = CredentialPlugin(folder / "plugin")
        plugin.behave(takes=0.2, lifetime=LIFETIME)
        cluster.tokens.ask()
        kubeconfig = write_kubeconfig(folder / "login", dev=cluster.context(plugin.user))
        async with supervising(folder, kubectl, kubeconfig, config) as instance, instance.peer() as peer:
            await instance.all_active(*names)
            await trio.sleep(3)  # to learn how long this server stays silent
            test = Soak(cluster, instance, plugin, names, seed)
            async with trio.open_nursery() as nursery:
                for name, each in (await peer.list()).items():
                    nursery.start_soon(test.load, name, each["localPort"])
                nursery.start_soon(test.measure)
                await test.trouble(seconds, only)
                await cluster.settled()
                with trio.move_on_after(BACK):
                    while not all(each["active"] for each in (await peer.list()).values()):
                        await instance.news.wait()
                nursery.cancel_scope.cancel()
            for name, each in (await peer.list()).items():
                if not each["active"]:
                    test.report.not_back.append(f"{name} ({each['state']}: {each['error']})")
                    test.report.strange += [str(event) for event in instance.events if event.get("forward") == name][
                        -8:
                    ]
            processes = instance.children()
            await instance.stop()
            _, alive = await trio.to_thread.run_sync(psutil.wait_procs, processes, 5)
            test.report.orphans = len(alive)
            test.report.logins = len(plugin.runs)
    return test.report


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long there are faults.")
@click.option("--seed", default=1, show_default=True, help="Which faults come, and when.")
@click.option("--only", default="", help="Words that the faults' names must hold, such as: deleted,rollout")
@click.option("--forwards", default=20, show_default=True, help="How many there are.")
def main(seconds: float, seed: int, forwards: int, only: str) -> None:
    """Run forwards under load and faults, and count what must not happen. The exit code is 1 if any of it did."""
    kubectl = KUBECTLS[-1]
    click.echo(f"{kubectl}; {seconds:g} s, seed {seed}, {forwards} forwards")
    with tempfile.TemporaryDirectory(prefix="kpf") as folder:
        report = trio.run(soak, kubectl, Path(folder), seconds, seed, forwards, only)
    click.echo("\n".join(report.lines()))
    raise SystemExit(report.failed)


if __name__ == "__main__":
    main()
