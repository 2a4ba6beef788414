"""What is told about a forward, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Endpoint, Reason, TunnelRecord, TunnelState
from kpf_supervise.discovery.sight import Departure
from kpf_supervise.model import Problem, State, Trigger


def looking(step: Step) -> None:
    step.tell(Trigger.CONNECT, f"looking for a pod of {step.facts.settings.target}")


def resting(step: Step) -> None:
    if step.forward_state is not State.IDLE:
        step.tell(Trigger.QUIET, listens(step.facts.local))


def listens(local: str) -> str:
    return f"{local} listens; kubectl starts with the first connection"


def restarted(step: Step) -> None:
    step.tell(Trigger.CONNECT, f"restarted: looking for a pod of {step.facts.settings.target}")


def signing_in(step: Step) -> None:
    step.tell(Trigger.NO_POD, f"{step.sight.signing_in}; connections to {step.facts.local} are held")


def signed_in(step: Step) -> None:
    step.tell(Trigger.CONNECT, f"signed in; looking for a pod of {step.facts.settings.target}")


def no_pod(step: Step, reason: str) -> None:
    lost = ""
    served = step.memory.served
    if step.forward_state in (State.ACTIVE, State.CONNECTING) and served is not None:
        lost = f"lost {served.name}, which {step.sight.why_left(served)}. "
    problem = step.sight.none_ready(reason)
    text = f"{lost}{problem.message}. Connections to {step.facts.local} are held"
    step.tell(Trigger.NO_POD, text, problem=problem)


def starting(step: Step, endpoint: Endpoint) -> None:
    if step.forward_state is not State.CONNECTING:
        step.tell(Trigger.CONNECT, f"starting kubectl for {endpoint.what}, port {endpoint.remote}")


def why_left(step: Step, endpoint: Endpoint) -> Departure | None:
    """Why the forward leaves the old pod. Determined at the start: the old pod may be gone when the new one serves."""
    left = step.memory.served
    if left is None or endpoint.pod is None or left.incarnation == endpoint.pod.incarnation:
        return None
    return Departure(left.name, step.sight.why_left(left))


def ready(step: Step, tunnel: TunnelRecord) -> None:
    took = (tunnel.ready or tunnel.started) - tunnel.started
    where = f"{tunnel.endpoint.label}:{tunnel.endpoint.remote} ({took:.2f} s){_of_pods(step, ', ')}"
    left = step.memory.left
    why = left.why if left is not None else None
    if step.reason(tunnel) is not None:
        step.tell(Trigger.READY, f"{tunnel.endpoint.label}:{tunnel.endpoint.remote} answers after all")
    elif step.memory.retired:
        step.tell(Trigger.READY, f"{step.memory.retired} → a fresh kubectl on {where}", kind="moved", left=why)
    elif left is not None:
        step.tell(Trigger.READY, f"{left} → {where}", kind="moved", left=why)
    else:
        target = f"{step.facts.settings.target}, pod " if tunnel.endpoint.pod is not None else ""
        step.tell(Trigger.READY, f"{step.facts.local} → {target}{where}")


def thinned(step: Step, faulty: TunnelRecord, lost: Sequence[TunnelRecord]) -> None:
    """Others serve."""
    why = faulty.fault.message if faulty.fault is not None else step.because(faulty)
    if not step.facts.settings.balance:
        left = len(step.all(TunnelState.SERVING))
        step.tell(Trigger.SPREAD, f"{why}; {left} of its kubectls serve on, and a fresh one is started")
        return
    gone = [tunnel.endpoint.pod for tunnel in lost if step.reason(tunnel) is Reason.MOVED]
    if gone:
        why = ", ".join(f"{pod.name} {step.sight.why_left(pod)}" for pod in gone if pod is not None)
    step.tell(Trigger.SPREAD, f"{why}; connections go to {_of_pods(step)}")


def spread(step: Step) -> None:
    """With `balance`, once all that were started serve."""
    starting = step.starts or step.all(TunnelState.STARTING)
    if step.facts.settings.balance and not starting and step.memory.pods != len(step.all(TunnelState.SERVING)):
        step.tell(Trigger.SPREAD, f"connections go to {_of_pods(step)}")


def _of_pods(step: Step, before: str = "") -> str:
    """With `balance`, how many of how many pods connections go to, which is remembered as told. Empty without it, and
    where listing pods is forbidden."""
    serving = step.all(TunnelState.SERVING)
    step.remember(pods=len(serving))
    if not step.facts.settings.balance or None in [tunnel.incarnation for tunnel in serving]:
        return ""
    ready = max(len(step.ready()), len(serving))
    return f"{before}{len(serving)} of {ready} pod{'s' * (ready != 1)}"


def outage(step: Step, problem: Problem) -> None:
    step.tell(Trigger.RETRY, f"as soon as the API server answers: {problem.message}", problem=problem)


def resumed(step: Step) -> None:
    step.tell(Trigger.RESUMED, "the API server answers again: the kubectl that it had serves on")


def pausing(step: Step, problem: Problem, pause: float, attempt: int) -> None:
    of = step.facts.settings.reconnect.attempts
    when = f"in {pause:.1f} s" if pause else "now"
    message = f"attempt {attempt}{f' of {of}' if of else ''} {when}: {problem.message}"
    pod = step.memory.pod
    if pod is not None and pod.name not in message:
        message += f" (pod {pod.name})"
    step.tell(Trigger.RETRY, message, problem=problem, attempt=attempt, attempts=of, delay=round(pause, 3))


def failed(step: Step, problem: Problem) -> None:
    step.tell(Trigger.GIVE_UP, str(problem), problem=problem)
