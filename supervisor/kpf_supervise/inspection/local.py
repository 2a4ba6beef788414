"""Whether the local ports that a file declares are free."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from kpf_supervise.control.client import Client, NoAnswer, Refused
from kpf_supervise.forwarding.listener import OF_A_FORWARD, OF_SERVICES, Processes, check_free, in_use
from kpf_supervise.inspection.findings import Checked
from kpf_supervise.instance.local_ports import LocalPorts
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.sources.following import some

_TIMEOUT = 1.0  # seconds for the answer of an instance

Held = Collection[tuple[str, int]]  # ids with their local ports


def held_by(socket: Path) -> Held:
    """The local ports of the instance at this control socket; none if there is none."""
    held: set[tuple[str, int]] = set()
    with suppress(NoAnswer, Refused), Client(socket, _TIMEOUT) as client:
        held |= {(each["id"], each["localPort"]) for each in client.call("portforward:list") if each["listening"]}
        if proxy := client.call("info")["proxy"]:
            held.add(("proxy", proxy["port"]))
    return held


async def check_local_ports(found: Iterable[Checked], held: Held) -> None:
    """In the order of the file: of two that want the same port, the second does not get it. `held` are those of an
    instance that runs with the same file."""
    ours, processes = LocalPorts(), Processes()
    for each in found:
        fix = OF_SERVICES if each.kind == "services" else OF_A_FORWARD
        wanted = [(forward, forward.local) for forward in each.forwards if forward.local is not None and each.enabled]
        problems: list[Problem] = []
        for forward, port in wanted:
            if holder := ours.holder(forward):
                problems.append(in_use(port, holder, fix))
                continue
            ours.hold(forward, port)
            if (forward.id, port) not in held:
                try:
                    await check_free(forward, processes, fix)
                except ForwardError as trouble:
                    problems.append(trouble.problem)
        if wanted:
            each.free = not problems
            each.running = any((forward.id, port) in held for forward, port in wanted)
        if len(problems) > 1:
            together = f"{len(problems)} local ports: {some([problem.message for problem in problems])}"
            problems = [Problem(Cause.LOCAL_PORT, together, problems[0].next_step)]
        each.problems += problems
