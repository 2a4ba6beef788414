"""What kpfctl asks of an instance, and what it says, without one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from kpf_supervise.control.client import Refused
from kpf_supervise.events import serialize
from kpf_supervise.kpfctl import change, group, show
from kpf_supervise.model import FINAL, TEMPLATE, Cause, Problem, State, Status, Target


class Instance:
    """In the place of a connection to one. It knows these forwards, and tells `events` after the list of them."""

    def __init__(self, *statuses: Status, events: list[dict[str, Any]] | None = None) -> None:
        self.forwards = [serialize.port_forward(each) for each in statuses]
        self.told = events or []
        self.calls: list[tuple[str, str | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, method: str, **params: Any) -> Any:
        if method in ("portforward:list", "subscribe"):
            return self.forwards
        self.calls.append((method, params.get("id")))
        return params.get("id")

    def events(self, until: float) -> Iterator[dict[str, Any]]:
        """As if the timeout came after these."""
        yield from self.told


def status(id: str, state: State = State.ACTIVE, cause: Cause | None = None) -> Status:
    problem = Problem(cause, "it has failed", "Do this") if cause else None
    forward = replace(TEMPLATE, id=id, target=Target("pod", "a"))
    return Status(forward=forward, state=state, problem=problem, port=1)


def run(instance: Instance, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        for verbs in (change, show):
            patch.setattr(verbs, "connect", lambda: instance)
        return CliRunner().invoke(group.main, words)


@pytest.mark.parametrize(("verb", "method"), [("stop", "portforward:stop"), ("restart", "restart")])
def test_of_several_forwards_all_or_none_are_taken(verb: str, method: str) -> None:
    done = run(instance := Instance(status("db"), status("web")), verb, "db", "nope", "wbe")
    assert (done.exit_code, instance.calls) == (1, [])
    assert 'there is no forward "nope". There is: db, web' in done.stderr
    assert 'there is no forward "wbe". Did you mean web?' in done.stderr
    done = run(instance := Instance(status("db"), status("web")), verb, "web", "db", "web")
    assert (done.exit_code, instance.calls) == (0, [(method, "web"), (method, "db")])
    done = run(instance := Instance(status("db")), verb, "nope")
    assert (done.exit_code, instance.calls) == (1, [])


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_all_and_names_do_not_go_together(verb: str) -> None:
    done = run(Instance(), verb, "--all", "web", "db")
    assert (done.exit_code, "--all means every forward. Leave out web db, or --all" in done.stderr) == (2, True)
    done = run(Instance(), verb)
    assert (done.exit_code, "Name the forwards, or use --all" in done.stderr) == (2, True)


def test_the_help_says_which_ids_may_be_left_out() -> None:
    for verb, ids in [("wait", "[ID...]"), ("stop", "ID... | --all"), ("restart", "ID... | --all")]:
        usage = run(Instance(), verb, "--help").stdout.splitlines()[0]
        assert usage.endswith(f"[OPTIONS] {ids}")


@pytest.mark.parametrize("verb", [["wait", "web"], ["start", "pod/web", ":80", "--wait"]])
def test_a_timeout_is_in_seconds_where_it_has_no_unit(verb: list[str]) -> None:
    for said, seconds in [("5", 5.0), ("0.5", 0.5), ("5s", 5.0), ("1m30s", 90.0)]:
        with pytest.MonkeyPatch.context() as patch:
            given: list[float] = []
            patch.setattr(change, "_wait", lambda client, ids, timeout, keep, given=given: given.append(timeout))
            assert run(Instance(), *verb, "--timeout", said).exit_code == 0
        assert given == [seconds]
    assert '"-5" is a negative duration' in run(Instance(), *verb, "--timeout", "-5").stderr
    assert '"5x" is not a duration' in run(Instance(), *verb, "--timeout", "5x").stderr


ACTIVE = {"event": "active", "forward": "web", "portForward": serialize.port_forward(status("web"))}


@pytest.mark.parametrize("cause", Cause)
def test_a_final_failure_ends_the_wait_and_no_other_does(cause: Cause) -> None:
    """One whose attempts were used up may come back by itself."""
    failed = status("web", State.FAILED, cause)
    done = run(Instance(failed, status("db", State.CONNECTING), events=[ACTIVE]), "wait", "web")
    final = cause in FINAL
    assert (failed.hopeless, serialize.port_forward(failed)["final"]) == (final, final)
    assert done.exit_code == (1 if final else 0)
    assert ("web is failed: it has failed. Do this" in done.stderr) is final
    assert ("--keep-waiting" in done.stderr) is final
    assert "db" not in done.stderr
    assert run(Instance(failed, events=[ACTIVE]), "wait", "web", "--keep-waiting").exit_code == 0
    failing = ACTIVE | {"event": "failed", "portForward": serialize.port_forward(failed)}
    waiting = Instance(status("web", State.CONNECTING), events=[failing, ACTIVE])
    assert run(waiting, "wait").exit_code == (1 if final else 0)


def test_what_is_only_on_its_way_is_not_hopeless() -> None:
    for state in set(State) - {State.FAILED}:
        assert not status("web", state, Cause.FORBIDDEN).hopeless


def test_at_the_timeout_all_that_are_missing_are_named() -> None:
    waiting = [status("web", State.RECONNECTING, Cause.LOST), status("db", State.CONNECTING), status("api")]
    done = run(Instance(*waiting), "wait")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "web is reconnecting: it has failed. Do this",
        "db is connecting: no answer yet",
    ]


def test_an_older_instance_does_not_say_what_is_final() -> None:
    instance = Instance(status("web", State.FAILED, Cause.FORBIDDEN), events=[ACTIVE])
    del instance.forwards[0]["final"]
    assert run(instance, "wait").exit_code == 0


def test_a_shell_that_evaluates_env_only_sets_variables() -> None:
    """Whatever an address is: the instance may be any program."""
    evil = replace(status("web").forward, address="x; echo owned $(echo owned)")
    done = run(Instance(replace(status("web"), forward=evil)), "env")
    script = f'{done.stdout}\nprintf %s "$KPF_WEB_HOST"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == evil.address


def test_what_the_instance_refuses_is_said_in_one_sentence() -> None:
    class Refusing(Instance):
        def call(self, method: str, **params: Any) -> Any:
            if method == "portforward:stop":
                raise Refused("it is gone")
            return super().call(method, **params)

    done = run(Refusing(status("db")), "stop", "db")
    assert (done.exit_code, done.stderr) == (1, "kpfctl: it is gone\n")
