"""What is done over time: each fault of the matrix and each rule of the contract as a history, without a process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kpf_supervise.decision.decide import decide
from kpf_supervise.decision.step import Step, WrongTransitionError
from kpf_supervise.decision.tunnel_states import TUNNEL_TRANSITIONS, TunnelState, TunnelTrigger
from kpf_supervise.discovery.choice import destination
from kpf_supervise.model import Reconnect, Target
from tests.decision.histories_of_balance import BALANCE, CROWD
from tests.decision.histories_of_faults import FAULTS
from tests.decision.histories_of_rules import RULES
from tests.decision.histories_of_sign_ins import AT_THE_START, LATER
from tests.decision.histories_of_starts import STARTS
from tests.decision.script import Script
from tests.decision.world import FORWARD, World, pod
from tests.faults.matrix import FAULTS as MATRIX

BEGIN = """
web-1 is ready
#1 is ready
open connects
5 s pass
"""


def begun() -> Script:
    script = Script(World())
    script.play(BEGIN)
    return script


@pytest.mark.parametrize("name", [*FAULTS, *RULES])
def test_history(name: str) -> None:
    history = (FAULTS | RULES)[name].strip()
    assert begun().play(history) == history


@pytest.mark.parametrize("name", [*BALANCE, *CROWD])
def test_balance(name: str) -> None:
    """Over three pods, with at most three kubectls."""
    script = Script(World(replace(FORWARD, balance=True, children=3)))
    for number in range(1, 4 if name in BALANCE else 6):
        script.world.pods[f"web-{number}"] = pod(f"web-{number}")
    history = (BALANCE | CROWD)[name].strip()
    assert script.play(history) == history


@pytest.mark.parametrize("name", STARTS)
def test_start_before_the_pods_are_known(name: str) -> None:
    script = Script(World(replace(FORWARD, target=Target("service", "web"))))
    script.play("nothing is known")
    assert script.world.transcript[-1] == "start #1 on service/web"
    script.world.pods = {"web-1": pod("web-1"), "web-2": pod("web-2", terminating=True)}
    history = STARTS[name].strip()
    assert script.play(history) == history


@pytest.mark.parametrize("name", AT_THE_START)
def test_sign_in_at_the_start(name: str) -> None:
    script = Script(World())
    script.play("nothing is known")
    script.world.pods = {"web-1": pod("web-1")}
    history = AT_THE_START[name].strip()
    assert script.play(history) == history


@pytest.mark.parametrize("name", LATER)
def test_sign_in_later(name: str) -> None:
    history = LATER[name].strip()
    assert begun().play(history) == history


def test_where_kubectl_may_open_a_login_window_nothing_starts_before_the_pods_are_known() -> None:
    script = Script(World(replace(FORWARD, target=Target("service", "web"))))
    script.world.signs_in = True
    script.play("nothing is known")
    assert script.world.started == []


def test_the_port_of_a_headless_service_that_no_pod_listens_on_is_explained() -> None:
    target = Target("service", "web")
    spec = {"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 80, "targetPort": 8080}]}
    script = Script(World(replace(FORWARD, target=target, remote=80, reconnect=Reconnect(attempts=0))))
    script.world.target = destination(target, json.dumps({"spec": spec}).encode())
    script.play("web-1 is ready\n#1 is ready")
    script.play("#1 says remote-refused")
    assert script.world.told == (
        "kubectl says remote-refused. service/web is headless, so its port 80 is not translated, as in the cluster: "
        "use port 8080 of its pods"
    )


def test_each_fault_of_the_matrix_has_a_history() -> None:
    assert {fault.name for fault in MATRIX} == set(FAULTS)


def test_a_decision_without_new_facts_asks_for_nothing() -> None:
    for history in (FAULTS | RULES).values():
        script = begun()
        script.play(history)
        decision = decide(script.world.facts(), script.world.memory)
        assert (decision.actions, decision.memory) == ((), script.world.memory)


def test_what_is_not_in_the_table_can_not_happen() -> None:
    world = begun().world
    (tunnel,) = world.tunnels
    for state in TunnelState:
        for trigger in TunnelTrigger:
            tunnel.state = state
            step = Step(world.facts(), world.memory)
            after = TUNNEL_TRANSITIONS[state].get(trigger)
            if after is None:
                with pytest.raises(WrongTransitionError, match=f"a tunnel that is {state}: {trigger}"):
                    step.change(tunnel, trigger)
            else:
                step.change(tunnel, trigger)
                assert step.state(tunnel) is after
