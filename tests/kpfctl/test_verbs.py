"""What kpfctl asks of an instance, and what it says, without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self

import pytest
import yaml
from click.testing import CliRunner, Result

from kpf_supervise.control.client import NoAnswer, Refused
from kpf_supervise.events import serialize
from kpf_supervise.kpfctl import change, details, env, group, show, start
from kpf_supervise.model import FINAL, TEMPLATE, Cause, Problem, State, Status, Target


class Instance:
    """In the place of a connection to one. It knows these forwards, and tells `events` after the list of them."""

    def __init__(self, *statuses: Status, events: list[dict[str, Any]] | None = None) -> None:
        self.forwards = [serialize.port_forward(each) for each in statuses]
        self.told = events or []
        self.calls: list[tuple[str, str | None]] = []
        self.answers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def call(self, method: str, **params: Any) -> Any:
        if method in ("portforward:list", "subscribe"):
            return self.forwards
        self.calls.append((method, params.get("id")))
        return self.answers[method] if method in self.answers else params.get("id")

    def events(self, until: float = 0) -> Iterator[dict[str, Any]]:
        """As if the timeout came after these."""
        yield from self.told


def status(id: str, state: State = State.ACTIVE, cause: Cause | None = None) -> Status:
    problem = Problem(cause, "it has failed", "Do this") if cause else None
    forward = replace(TEMPLATE, id=id, target=Target("pod", "a"))
    return Status(forward=forward, state=state, problem=problem, port=1)


def run(instance: Instance, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        for verbs in (change, details, env, show, start):
            patch.setattr(verbs, "connect", lambda timeout=0.0: instance)
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


def grouped(id: str, group: str, port: int | None = 1) -> Status:
    found = status(id, State.ACTIVE if port else State.STOPPED)
    return replace(found, port=port, forward=replace(found.forward, groups=(group,)))


def test_every_verb_takes_groups() -> None:
    instance = Instance(grouped("db", "back"), status("web"), grouped("api", "back", None))
    assert run(instance, "list", "--group", "back", "-o", "name").stdout == "db\napi\n"
    assert run(instance, "env", "--group", "back", "-o", "dotenv").stdout.splitlines()[0].startswith("KPF_DB_")
    assert run(instance, "stop", "web", "--group", "back").exit_code == 0
    assert run(instance, "restart", "--group", "back").exit_code == 0
    stops = [("portforward:stop", id) for id in ("web", "db", "api")]
    assert instance.calls == [*stops, ("restart", "db"), ("restart", "api")]
    instance.calls.clear()
    assert run(instance, "start", "--group", "back").stdout == "api\n"
    assert instance.calls == [("restart", "api")]
    assert [run(instance, "start", *ids).stdout for ids in (["api"], ["db"], ["a*"])] == ["api\n", "", "api\n"]
    assert "Name the port to forward" in run(instance, "start", "nosuch").stderr
    assert "Name the port to forward" in run(instance, "start", "api", "-n", "shop").stderr
    for verb in ("logs", "describe"):
        done = run(Instance(), verb)
        assert (done.exit_code, "Name the forwards, or a group of them: --group NAME." in done.stderr) == (2, True)
    done = run(instance, "stop", "--all", "--group", "back")
    assert "--all means every forward. Leave out --group back, or --all." in done.stderr


def test_a_list_of_a_group_is_followed_with_what_joins_it() -> None:
    event = {"event": "added", "forward": "api", "portForward": serialize.port_forward(grouped("api", "back"))}
    other = {"event": "active", "forward": "web", "portForward": serialize.port_forward(status("web"))}
    instance = Instance(grouped("db", "back"), status("web"), events=[other, event])
    assert run(instance, "list", "--group", "back", "-o", "name", "-w").stdout == "db\napi\n"


def test_the_help_says_which_ids_may_be_left_out() -> None:
    for verb, ids in [("wait", "[ID...]"), ("stop", "ID... | --all"), ("restart", "ID... | --all")]:
        usage = run(Instance(), verb, "--help").stdout.splitlines()[0]
        assert usage.endswith(f"[OPTIONS] {ids}")


@pytest.mark.parametrize("verb", [["wait", "web"], ["start", "pod/web", ":80", "--wait"]])
def test_a_timeout_is_in_seconds_where_it_has_no_unit(verb: list[str]) -> None:
    for said, seconds in [("5", 5.0), ("0.5", 0.5), ("5s", 5.0), ("1m30s", 90.0)]:
        with pytest.MonkeyPatch.context() as patch:
            given: list[float] = []
            for verbs in (change, start):
                patch.setattr(
                    verbs, "until_active", lambda _, ids, timeout, keep, given=given: given.append(timeout) or []
                )
            assert run(Instance(status("web")), *verb, "--timeout", said).exit_code == 0
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


def stated(id: str, state: State, **facts: Any) -> dict[str, Any]:
    return serialize.port_forward(status(id, state)) | facts


def test_a_list_may_have_some_forwards_and_no_head() -> None:
    forwards = [status("web/http"), status("web/9090"), status("db")]
    whole = run(Instance(*forwards), "list").stdout
    assert run(Instance(*forwards), "ls").stdout == whole
    head, *rows = whole.splitlines()
    assert head.split()[:3] == ["ID", "STATE", "LOCAL"]
    assert run(Instance(*forwards), "list", "--no-headers").stdout.splitlines() == rows
    assert run(Instance(*forwards), "list", "web", "-o", "name").stdout == "web/http\nweb/9090\n"
    assert run(Instance(*forwards), "ls", "db", "web/*", "-o", "name").stdout == "web/http\nweb/9090\ndb\n"
    assert run(Instance(), "list", "--no-headers").stdout == ""
    done = run(Instance(*forwards), "list", "x")
    assert (done.exit_code, done.stdout) == (1, "")


def test_watching_some_forwards_shows_also_those_that_come_later() -> None:
    events = [
        {"event": "active", "forward": id, "portForward": stated(id, State.ACTIVE)}
        for id in ("db", "web/9090", "web-1")
    ]
    gone: list[dict[str, Any]] = [{"event": "removed", "forward": id, "portForward": None} for id in ("web/http", "db")]
    done = run(Instance(status("web/http"), status("db"), events=events + gone), "list", "web/*", "-w", "-o", "name")
    assert (done.stdout, done.stderr) == ("web/http\nweb/9090\n", "web/http is no longer listed\n")
    done = run(Instance(events=events), "list", "db", "--watch", "-o", "json")
    assert done.exit_code == 1  # there is none now
    done = run(Instance(events=events), "list", "--watch", "-o", "json")
    whole, *lines = done.stdout.splitlines()
    assert (whole, [json.loads(line)["id"] for line in lines]) == ("[]", ["db", "web/9090", "web-1"])


def test_the_log_of_several_forwards_is_in_the_order_of_time() -> None:
    def event(second: int, id: str) -> dict[str, Any]:
        time = f"2026-11-23T12:00:0{second}.000Z"
        return {"time": time, "forward": id, "event": "active", "message": f"message {second}"}

    class Logging(Instance):
        def call(self, method: str, **params: Any) -> Any:
            logs = {"web/http": [event(1, "web/http"), event(4, "web/http")], "db": [event(2, "db"), event(3, "db")]}
            return logs[params["id"]] if method == "logs" else super().call(method, **params)

    told = [event(4, "web/http"), event(5, "web/http"), event(6, "api")]
    instance = Logging(status("web/http"), status("db"), status("api"), events=told)
    done = run(instance, "logs", "web", "db")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["1", "2", "3", "4"]
    done = run(instance, "logs", "web", "-f")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["1", "4", "5"]


def test_env_for_other_programs() -> None:
    forwards = [
        replace(status("web/http"), port=8080),
        replace(status("db"), port=5432, forward=replace(status("db").forward, address="0.0.0.0")),
        replace(status("off"), port=None),
    ]
    plain = {"KPF_WEB_HTTP_HOST": "localhost", "KPF_WEB_HTTP_PORT": "8080", "KPF_WEB_HTTP_ADDR": "localhost:8080"}
    assert json.loads(run(Instance(*forwards), "env", "web", "-o", "json").stdout) == plain
    lines = run(Instance(*forwards), "env", "-o", "dotenv").stdout.splitlines()
    assert lines[:3] == [f"{name}={value}" for name, value in plain.items()]
    assert lines[3:] == ["KPF_DB_HOST=127.0.0.1", "KPF_DB_PORT=5432", "KPF_DB_ADDR=127.0.0.1:5432"]
    assert run(Instance(*forwards), "env", "-o", "fish", "web").stdout.splitlines()[0] == (
        "set -gx KPF_WEB_HTTP_HOST 'localhost'"
    )
    done = run(Instance(*forwards), "env", "-o", "compose")
    service = yaml.safe_load(done.stdout)
    assert service["environment"]["KPF_WEB_HTTP_ADDR"] == "host.docker.internal:8080"
    assert service["environment"]["KPF_DB_HOST"] == "host.docker.internal"
    assert ("containers do not reach web/http: it listens" in done.stderr) is (sys.platform == "linux")


def test_describe_shows_all_that_is_known() -> None:
    instance = Instance(replace(status("web", State.FAILED, Cause.FORBIDDEN), port=8080), status("db"))
    settings = {"hold": "30s", "children": 1, "lazy": False, "reconnect": {"attempts": 3}}
    instance.answers["describe"] = {"settings": settings, "own": [], "connections": []}
    instance.answers["info"] = {"config": None}
    instance.answers["logs"] = [
        {"time": "2026-11-23T12:00:00.000Z", "forward": "web", "event": "failed", "message": "it has failed"}
    ]
    done = run(instance, "describe", "8080")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "web"
    assert lines[1].startswith("State: failed for ")
    for line in (
        "Cause: it has failed",
        "Next step: Do this",
        "Local address: localhost:8080",
        "Target: pod/a, port 0",
        "Pod: –",
        "Declared: by the command line",
        "hold: 30s",
        "lazy: false",
        'reconnect: {"attempts": 3}',
    ):
        assert line in lines
    assert lines[-1].endswith("it has failed")
    assert run(instance, "describe", "*").stdout.count("Settings:") == 2
    assert run(instance, "describe").exit_code == 2


FAILED = {"final": True, "error": "there is none", "nextStep": "Make one"}


@pytest.mark.parametrize("verb", [[], ["--wait"]])
def test_what_can_not_work_is_not_started(verb: list[str]) -> None:
    events = [{"event": "failed", "forward": "web", "portForward": stated("web", State.FAILED, **FAILED)}]
    instance = Instance(status("web", State.CONNECTING), events=events)
    done = run(instance, "start", "pod/web", ":80", "--name", "web", *verb)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "web is failed: there is none. Make one"
    assert "nothing was started" in done.stderr
    assert instance.calls == [("portforward:start", "web"), ("portforward:stop", "web")]
    kept = run(instance, "start", "pod/web", ":80", "--name", "web", "--keep-waiting")
    assert (kept.exit_code, kept.stdout) == (0, "web\n")


@pytest.mark.parametrize(
    "state", [State.ACTIVE, State.IDLE, State.WAITING, State.RECONNECTING, State.CONNECTING, State.FAILED]
)
def test_what_may_work_yet_is_started(state: State) -> None:
    """Also if nothing is known of it when the time is over."""
    done = run(Instance(status("web", state)), "start", "pod/web", ":80", "--name", "web")
    assert (done.exit_code, done.stdout) == (0, "web\n")
    assert (f"web is {state}: no answer yet" in done.stderr) is (state not in (State.ACTIVE, State.IDLE))


PORTS = [{"port": 80, "name": "http"}, {"port": 9090, "name": ""}]


@pytest.mark.parametrize(
    ("words", "answer", "said"),
    [
        ("svc/web :http", PORTS, ""),
        ("svc/web :80", PORTS, ""),
        ("svc/web :81", PORTS, "service/web has no port 81. It has: 80 (http), 9090"),
        ("svc/web :https", PORTS, "service/web has no port https. It has: 80 (http), 9090"),
        ("svc/web :https", [], "service/web has no port https. It has: none"),
        ("deploy/web :81", PORTS, ""),  # a container may listen where it declares nothing
        ("deploy/web :https", PORTS, "deployment/web has no port https"),
        ("-l app=web :https", PORTS, ""),  # the pods may come later
        ("svc/web :http", Refused("there is none", Cause.NO_SUCH_OBJECT), "web is failed: there is none"),
        ("svc/web :http", Refused("you may not", Cause.FORBIDDEN), "web is failed: you may not"),
        ("pod/web :http", Refused("you may not", Cause.FORBIDDEN), ""),
        ("svc/web :http", Refused("no answer", Cause.API_UNREACHABLE), ""),
        ("svc/web :http", Refused("no method", ""), ""),
        ("svc/web :http", NoAnswer("it hangs"), ""),
    ],
)
def test_of_a_lazy_forward_the_cluster_is_asked(words: str, answer: Any, said: str) -> None:
    class Asked(Instance):
        def call(self, method: str, **params: Any) -> Any:
            if method != "ports":
                return super().call(method, **params)
            if isinstance(answer, Exception):
                raise answer
            return answer

    instance = Asked(status("web", State.IDLE))
    instance.forwards[0]["lazy"] = True
    done = run(instance, "start", *words.split(), "--name", "web", "--lazy")
    assert (done.exit_code, done.stdout) == ((1, "") if said else (0, "web\n")), done.stderr
    assert said in done.stderr
    assert (("portforward:stop", "web") in instance.calls) is bool(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("service/web", "Name the port to forward, for example: kpfctl start service/web 8080:http"),
        ("-l app=web", "Name the port to forward, for example: kpfctl start -l app=search 9200 --lazy"),
        ("", "Name a TARGET, for example: kpfctl start service/web 8081:http 9091:9090 -n shop --wait"),
        ("svc/web 80 --group a", "--group starts forwards as they are declared: leave out all else but --wait"),
        ("--group a -n shop", "--group starts forwards as they are declared: leave out all else but --wait"),
        ("-l app=web pod/a", 'the target "pod/a" beside a selector. Keep one of the two'),
        ("-l app: 80", '"app:" is not a label key'),
        ("svc/web:80 80", '"svc/web:80" has a port in it. Write: kpfctl start service/web 80'),
        ("svc/web 80/udp", "kubectl can't forward UDP"),
        ("svc/web 80 --hold 5", '"5" has no unit'),
        ("svc/web 80 --children 17", '"17" is not a number of children'),
        ("svc/web 80 --kubeconfig /nosuch", "File '/nosuch' does not exist"),
    ],
)
def test_start_says_what_is_wrong_before_it_asks(words: str, said: str) -> None:
    instance = Instance()
    done = run(instance, "start", *words.split())
    assert (done.exit_code, instance.calls) == (2, [])
    assert said in " ".join(done.stderr.split())


def test_start_with_a_selector_and_all_options() -> None:
    given: list[dict[str, Any]] = []

    class Starting(Instance):
        def call(self, method: str, **params: Any) -> Any:
            if method == "portforward:start":
                given.append(params)
                return params["id"]
            return super().call(method, **params)

    options = "--hold 5s --children 3 --kubeconfig /dev/null --context a --address ::1"
    run(Starting(), "start", "-l", "app in (a,b)", "80", ":81", *options.split())
    assert [each["id"] for each in given] == ["app-in-a-b-80", "app-in-a-b-81"]
    assert given[0] == {
        "resource_type": "selector",
        "name": "app in (a,b)",
        "local_port": 80,
        "remote_port": 80,
        "namespace": None,
        "context": "a",
        "kubeconfig": "/dev/null",
        "address": "::1",
        "hold": "5s",
        "children": 3,
        "lazy": None,
        "id": "app-in-a-b-80",
    }
