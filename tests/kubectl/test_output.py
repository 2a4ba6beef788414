"""What recorded kubectls said, and what we take it to mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpf_supervise.kubectl.causes import explain
from kpf_supervise.kubectl.command_line import port_forward, to_answer, to_go_on
from kpf_supervise.kubectl.output import Said, read_line
from kpf_supervise.model import FINAL, Cause, Cluster, Problem
from tests.recordings import FOLDER, recordings


@pytest.mark.parametrize(
    ("case", "cause", "message"),
    [
        ("b07-", Cause.NO_SUCH_OBJECT, 'there is no pod "nosuch" in the namespace'),
        ("b08-", Cause.NO_SUCH_OBJECT, 'there is no service "nosuch" in the namespace'),
        ("b08b-", Cause.NO_SUCH_OBJECT, 'there is no deployment "nosuch" in the namespace'),
        ("b09-", Cause.NO_SUCH_NAMESPACE, "there is no namespace nosuchns"),
        ("b10-", Cause.NO_SUCH_CONTEXT, "the kubeconfig has no such context: nosuchctx"),
        ("b11-", Cause.POD_NOT_RUNNING, "the pod is not running (it is Pending)"),
        ("b14-", Cause.NO_SELECTOR, "the service has no selector, so it leads to no pods"),
        ("b15-", Cause.NO_SELECTOR, "the service has no selector, so it leads to no pods"),
        ("b16-", Cause.NO_SUCH_PORT, "Service 'web' does not have a named port 'nosuch'"),
        ("b17-", Cause.NO_SUCH_PORT, "Service web does not have a service port 81"),
        ("b18-", Cause.NO_SUCH_PORT, "does not have a named port 'nosuch'"),
        ("b20-", Cause.API_UNREACHABLE, "the API server does not answer (127.0.0.1:16999)"),
        ("b21-", Cause.UNAUTHORIZED, "the API server does not accept your credentials"),
        ("b22-", Cause.FORBIDDEN, "you (nobody) may not get pods in namespace dev"),
        ("b24-", Cause.FORBIDDEN, "you (limited) may not get services in namespace dev"),
        ("b26-", Cause.FORBIDDEN, "you (limitedget) may not list pods in namespace dev"),
        ("g6-raw-limited", Cause.FORBIDDEN, "you (limited) may not watch pods in namespace dev"),
        ("g6-raw-badtoken", Cause.UNAUTHORIZED, "the API server does not accept your credentials"),
        ("g6-raw-down", Cause.API_UNREACHABLE, "the API server does not answer (127.0.0.1:16999)"),
        ("c07-", Cause.LOST, "lost connection to pod"),
        ("c08-", Cause.LOST, "lost connection to pod"),
        ("d01-", Cause.REMOTE_REFUSED, "nothing in the pod listens on that port (connection refused)"),
        ("c01-", Cause.POD_GONE, "the pod is gone"),
        ("c11-", Cause.STALLED, "the tunnel to the pod no longer answers"),
    ],
)
def test_causes(case: str, cause: Cause, message: str) -> None:
    for recording in recordings(case):
        problem = explain(recording.stderr, recording.code)
        assert (problem.cause, message in problem.message) == (cause, True), (recording.name, problem)


SERVER = "Unable to connect to the server:"
KLOG = (
    'E1123 09:31:53.61 31175 memcache.go:265] "Unhandled Error" err="couldn\'t get current server API group list: Get '
)
BROWSER = "Run this in a terminal, where it can ask you: kubectl --context=dev get pods"


@pytest.mark.parametrize(
    ("words", "cause", "message", "step"),
    [
        (
            [
                "please run:",
                "please run:",
                "  cloud login",
                f"{SERVER} getting credentials: exec: executable plugins/cloud failed with exit code 1",
            ],
            Cause.CREDENTIALS,
            "the kubeconfig's credential plugin cloud failed: please run: cloud login",
            BROWSER,
        ),
        (
            [f"{SERVER} getting credentials: exec: executable cloud failed with exit code 3"],
            Cause.CREDENTIALS,
            "the kubeconfig's credential plugin cloud failed: exit code 3",
            BROWSER,
        ),
        (
            [f"{SERVER} getting credentials: exec: fork/exec plugins/cloud: no such file or directory"],
            Cause.CREDENTIALS,
            "the kubeconfig's credential plugin plugins/cloud is not installed",
            "Install it, or fix its command in the kubeconfig",
        ),
        (
            [f"{SERVER} getting credentials: exec plugin cannot support interactive mode: stdin is no terminal"],
            Cause.CREDENTIALS,
            "the kubeconfig's credential plugin wants to ask you something, and there is no terminal here",
            BROWSER,
        ),
        (
            [f'{SERVER} getting credentials: plugin "cloud" not allowed: policy set to "DenyAll"'],
            Cause.CREDENTIALS,
            "your kuberc does not allow the kubeconfig's credential plugin cloud",
            "Add it to credentialPluginAllowlist there",
        ),
        (
            [
                f"{SERVER} getting credentials: "
                'plugin path "/b/cloud" is not permitted by the credential plugin allowlist'
            ],
            Cause.CREDENTIALS,
            "your kuberc does not allow the kubeconfig's credential plugin /b/cloud",
            "Add it to credentialPluginAllowlist there",
        ),
        (
            [f"{SERVER} getting credentials: decoding stdout: couldn't get version/kind; json parse error"],
            Cause.CREDENTIALS,
            "the kubeconfig's credential plugin failed: decoding stdout: couldn't get version/kind; json parse error",
            BROWSER,
        ),
        (
            ["error: You must be logged in to the server (the server has asked for the client to provide credentials)"],
            Cause.UNAUTHORIZED,
            "the API server does not accept your credentials (Unauthorized)",
            "Log in again, then check with: kubectl --context=dev get pods",
        ),
        (
            [f"{SERVER} Forbidden"],
            Cause.PROXY,
            "the proxy does not let kubectl through (Forbidden)",
            "Check HTTPS_PROXY, or proxy-url in the kubeconfig",
        ),
        (
            [
                KLOG + '"https://a/api": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: connection refused"',
                "The connection to the server a was refused - did you specify the right host or port?",
            ],
            Cause.PROXY,
            "the proxy does not answer (dial tcp 127.0.0.1:1: connect: connection refused)",
            "Check HTTPS_PROXY, or proxy-url in the kubeconfig",
        ),
        (
            [f"{SERVER} EOF"],
            Cause.API_UNREACHABLE,
            "the API server does not answer (EOF)",
            "Is the cluster up, and the VPN? Check with: kubectl --context=dev get --raw /version",
        ),
        (
            ["Error from server (BadRequest): the server rejected our request for an unknown reason"],
            Cause.TLS,
            "what answers there is no API server that speaks the kubeconfig's http or https",
            "Check server in the kubeconfig: https, host and port",
        ),
    ],
)
def test_causes_on_the_way_to_the_api_server(words: list[str], cause: Cause, message: str, step: str) -> None:
    assert explain(words, 1, Cluster(context="dev")) == Problem(cause, message, step)


def test_every_cause_of_a_definite_answer_has_a_next_step() -> None:
    for case in ("b07-", "b08-", "b09-", "b10-", "b14-", "b16-", "b20-", "b21-", "b22-"):
        for recording in recordings(case):
            assert explain(recording.stderr, 1).next_step, recording.name


def test_the_next_step_of_forbidden_is_the_rule_to_ask_for() -> None:
    for recording in recordings("g6-raw-limited"):
        assert 'apiGroups [""], resources [pods], verbs [watch]' in explain(recording.stderr, 1).next_step


@pytest.mark.parametrize("case", ["a01-", "c01-", "c10-", "d01-"])
def test_ready_comes_before_connections(case: str) -> None:
    for recording in recordings(case):
        said = [read_line(text).said for what, text in recording.lines if what == "stdout"]
        assert said[0] is Said.READY, recording.name
        assert set(said) <= {Said.READY, Said.HANDLING}, recording.name


def test_ready_names_the_port() -> None:
    assert read_line("Forwarding from 127.0.0.1:34911 -> 8080").port == 34911
    assert read_line("Forwarding from [::1]:34911 -> 8080").port == 34911


def test_with_v_6_it_says_which_pod_it_has_chosen_and_nothing_else_of_it_is_a_message() -> None:
    files = sorted(FOLDER.glob("n03-v6-service__*.txt"))
    assert len(files) == 4
    for file in files:
        lines = [read_line(text) for text in file.read_text().splitlines()]
        assert next(line.pod for line in lines if line.said is Said.REQUEST).startswith("web-7767bf9d47-"), file.name
        assert {line.said for line in lines} <= {Said.REQUEST, Said.DETAIL, Said.READY}, file.name


def test_the_stacks_that_an_old_one_dumps_are_known_by_their_first_line() -> None:
    assert read_line("goroutine 1 [running]:").said is Said.DUMP


def test_a_notice_glued_to_the_line_hides_nothing() -> None:
    """kubectl 1.36 with an unreadable HOME prints `kuberc: …` without a newline."""
    glued = "kuberc: no preferences loaded from PATH: open PATH: permission denied"
    assert read_line(glued + "Forwarding from 127.0.0.1:34911 -> 8080").port == 34911
    assert explain([glued + 'Error from server (NotFound): pods "x" not found'], 1).cause is Cause.NO_SUCH_OBJECT


def test_a_reset_of_a_served_connection_is_no_unreachable_pod() -> None:
    for recording in recordings("c03-"):
        if "1.20" not in recording.name:
            said = [read_line(text).said for text in recording.stderr]
            assert said[0] in (Said.RESET, Said.UNREACHED), recording.name
            assert said[-1] is Said.LOST, recording.name
            reset = "connection reset by peer" in recording.stderr[0]
            assert (said[0] is Said.RESET) is reset, recording.name


def test_the_end_without_a_word() -> None:
    assert "exit code 0" in explain([], 0).message
    assert "signal 9" in explain([], -9).message
    assert explain([], 0).cause is Cause.LOST


def test_losses_are_tried_again_and_definite_answers_are_not() -> None:
    assert not FINAL & {Cause.LOST, Cause.STALLED, Cause.API_UNREACHABLE, Cause.REMOTE_REFUSED, Cause.POD_NOT_RUNNING}


def test_what_kubectl_says_is_scrubbed_first() -> None:
    assert explain(["error: the token=s3cr3t, and more"], 1).message == "kubectl said: the token=***, and more"


def test_command_lines() -> None:
    cluster = Cluster(Path("/tmp/kc"), "dev")
    assert port_forward("kubectl", cluster, "shop", "pod/web-1", 8080) == [
        "kubectl",
        "--kubeconfig=/tmp/kc",
        "--context=dev",
        "--namespace=shop",
        "port-forward",
        "--address=127.0.0.1",
        "pod/web-1",
        ":8080",
    ]
    assert to_go_on({"A": "1", "GOGC": "100"}, "auto") == {"A": "1", "GOGC": "100", "GOMAXPROCS": "1"}
    assert to_answer({"A": "1"}) == {"A": "1", "GOGC": "400"}
    assert to_answer({"GOGC": "100"}) == {"GOGC": "100"}
    assert to_go_on({"A": "1"}, "spdy")["KUBECTL_PORT_FORWARD_WEBSOCKETS"] == "false"
    assert to_go_on({"A": "1"}, "websocket")["KUBECTL_PORT_FORWARD_WEBSOCKETS"] == "true"
