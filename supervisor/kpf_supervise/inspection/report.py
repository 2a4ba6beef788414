"""What was found out about a file, as a table for people and as JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kpf_supervise.inspection.findings import Checked, CheckedCluster, Report
from kpf_supervise.kpfctl.rendering import table
from kpf_supervise.model import Problem
from kpf_supervise.panel_state.cells import NOTHING

_CLUSTERS = ("CONTEXT", "SERVER", "USER", "LOGIN")
_FORWARDS = ("ID", "TARGET", "PORT", "PODS", "RIGHTS", "LOCAL", "WORKS")


def document(report: Report) -> dict[str, Any]:
    """For JSON. Each field is described in docs/command-line.md."""
    return {
        "ok": report.ok,
        "config": report.config,
        "kubectl": {"path": report.kubectl, "version": report.version},
        "clusters": [_cluster(each) for each in report.clusters],
        "forwards": [_forward(each) for each in report.found],
    }


def _cluster(each: CheckedCluster) -> dict[str, Any]:
    return {
        "context": each.context,
        "kubeconfig": str(each.kubeconfig) if each.kubeconfig is not None else None,
        "user": each.user,
        "plugin": each.plugin,
        "version": each.server,
        "problem": _problem(each.problem) if each.problem is not None else None,
        "hints": list(map(_problem, each.hints)),
    }


def _forward(each: Checked) -> dict[str, Any]:
    return {
        "id": each.id,
        "kind": each.kind,
        "ok": each.ok,
        "enabled": each.enabled,
        "context": each.context,
        "namespace": each.namespace,
        "target": each.target,
        "remotePort": each.remote,
        "podPort": each.pod_port,
        "pods": each.pods,
        "readyPods": each.ready,
        "services": each.services,
        "address": each.address,
        "localPort": each.local,
        "localPortFree": each.free,
        "running": each.running,
        "rights": each.rights,
        "problems": list(map(_problem, each.problems)),
        "hints": list(map(_problem, each.hints)),
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {"cause": problem.cause, "message": problem.message, "nextStep": problem.next_step}


def lines(report: Report) -> list[str]:
    """For people."""
    shown = [f"kubectl {report.version or '(version not known)'}, {report.kubectl}", ""]
    if report.clusters:
        shown += [*_table(_CLUSTERS, map(_cluster_cells, report.clusters)), ""]
    if report.found:
        shown += [*_table(_FORWARDS, map(_cells, report.found)), ""]
    told = {each.problem for each in report.clusters if each.problem is not None}
    shown += [f"{each.context or 'the cluster'}: {each.problem}" for each in report.clusters if each.problem]
    shown += _told(
        "", [(each.id, problem) for each in report.found for problem in each.problems if problem not in told]
    )
    hints = [(each.context or "the cluster", hint) for each in report.clusters for hint in each.hints]
    shown += _told("hint: ", [*hints, *((each.id, hint) for each in report.found for hint in each.hints)])
    return [*shown, _verdict(report)]


def _cluster_cells(each: CheckedCluster) -> tuple[str, ...]:
    how = f" with {each.plugin}" if each.plugin else ""
    login = f"signed in{how}" if each.server else f"not signed in{how}" if each.plugin else NOTHING
    return each.context or NOTHING, each.server or NOTHING, each.user or NOTHING, login


def _cells(each: Checked) -> tuple[str, ...]:
    target = each.target or (f"{each.services} services in {each.namespace}" if each.services is not None else NOTHING)
    pods = NOTHING if each.pods is None else f"{each.ready} of {each.pods}"
    works = ("yes" if each.ok else "no") if each.enabled else "disabled"
    return each.id, target, _port(each), pods, _rights(each.rights), _local(each), works


def _port(each: Checked) -> str:
    if each.remote is None:
        return NOTHING
    return str(each.remote) if each.pod_port in (None, each.remote) else f"{each.remote} → {each.pod_port}"


def _rights(rights: dict[str, bool]) -> str:
    if not rights:
        return NOTHING
    lacking = [right for right, has in rights.items() if not has]
    return "all" if not lacking else f"{len(rights) - len(lacking)} of {len(rights)}"


def _local(each: Checked) -> str:
    if not each.enabled:
        return NOTHING
    host = f"[{each.address}]" if ":" in each.address else each.address
    state = " (runs)" if each.running else " (taken)" if each.free is False else ""
    if each.local is not None:
        return f"{host}:{each.local}{'+' if each.kind == 'each' else ''}{state}"
    return f"{host}, {len(each.forwards)} ports{state}" if each.kind == "services" else f"{host}, any free"


def _told(prefix: str, told: Iterable[tuple[str, Problem]]) -> list[str]:
    """What is the same for several is told once."""
    names: dict[str, list[str]] = {}
    for name, problem in told:
        names.setdefault(str(problem), []).append(name)
    return [f"{prefix}{', '.join(dict.fromkeys(found))}: {text}" for text, found in names.items()]


def _verdict(report: Report) -> str:
    asked = [each for each in report.found if each.enabled]
    bad = [each for each in asked if not each.ok]
    if not bad:
        return "all would work"
    return f"{len(bad)} of {len(asked)} would not work"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    found = [head, *rows]
    return table(found, [max(map(len, column)) for column in zip(*found, strict=True)])
