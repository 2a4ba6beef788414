"""Asks a cluster what a namespace has to forward to, for --init."""

from __future__ import annotations

from functools import partial

import trio

from kpf_supervise.forwarding.listener import taken
from kpf_supervise.inspection.file_from_cluster import Made, Place, file_of, read_offer
from kpf_supervise.inspection.session import Session
from kpf_supervise.model import Cluster, ForwardError
from kpf_supervise.watching.listing import Workload, read_workload

_KINDS = ("deployment", "statefulset", "daemonset")


async def make(session: Session, cluster: Cluster, namespace: str | None) -> Made:
    """The file for a namespace; None is the context's own. Raises ForwardError."""
    questions = await session.questions(cluster, namespace)
    _, offers, unreadable = await questions.list_all(questions.path_of_all("services"), read_offer)
    if unreadable:
        session.board.notice(f"a service is left out, because it can't be read: {unreadable}")
    if not offers:
        await questions.check_namespace()
    workloads: dict[str, list[Workload]] = {}

    async def list_kind(kind: str) -> None:
        try:
            read = partial(read_workload, kind)
            workloads[kind] = (await questions.list_all(questions.path_of_all(f"{kind}s"), read))[1]
        except ForwardError:  # not allowed: they are no more than comments
            workloads[kind] = []

    async with trio.open_nursery() as nursery:
        for kind in _KINDS:
            nursery.start_soon(list_kind, kind)
    context = questions.cluster.context or ""
    kubeconfig = str(cluster.kubeconfig) if cluster.kubeconfig is not None else ""
    place = Place(context, questions.namespace, kubeconfig)
    if session.sandbox is not None:  # its kubeconfig goes with it
        place = Place("", questions.namespace)
    in_order = [each for kind in _KINDS for each in sorted(workloads[kind], key=lambda each: each.target.name)]
    return file_of(offers, in_order, place, lambda port: taken("localhost", port) is not None)
