"""Why a kubectl failed, from its last output: the cause, a message for the user and the next step. Pure.

Every pattern was recorded from kubectl 1.20 to 1.36 against a real cluster.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from kpf_supervise.kubectl.command_line import command
from kpf_supervise.kubectl.credentials import plugin_trouble
from kpf_supervise.kubectl.output import Said, read_line
from kpf_supervise.model import ANYWHERE, Cause, Cluster, Problem

_REFUSED = re.compile(r"The connection to the server (?P<server>\S+) was refused")
_FIX_PROXY = "Check HTTPS_PROXY, or proxy-url in the kubeconfig"
_IN_TROUBLE = "the API server is in trouble: {line}"
_CHECK_READYZ = "Check with: {kubectl} get --raw /readyz"


# What kubectl's last output means: pattern → cause, message, next step. The first match wins. {kubectl} is the kubectl
# command for that cluster, as the user would type it.
_CAUSES: list[tuple[re.Pattern[str], Cause, str, str]] = [
    (
        re.compile(
            r'context "(?P<name>[^"]*)" does not exist|context was not found for specified context: (?P<other>\S+)'
        ),
        Cause.NO_SUCH_CONTEXT,
        "the kubeconfig has no such context: {name}{other}",
        "See: kubectl config get-contexts",
    ),
    (
        re.compile(r'NotFound\): namespaces "(?P<name>[^"]*)" not found'),
        Cause.NO_SUCH_NAMESPACE,
        "there is no namespace {name}",
        "See: {kubectl} get namespaces",
    ),
    (
        re.compile(r'NotFound\): (?P<kind>[a-z]+?)s(\.\S+)? "(?P<name>[^"]*)" not found'),
        Cause.NO_SUCH_OBJECT,
        'there is no {kind} "{name}" in the namespace',
        "See: {kubectl} get {kind}s",
    ),
    (
        re.compile(
            r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
            r'(?: in API group "(?P<group>[^"]*)")?(?: in the namespace "(?P<namespace>[^"]*)")?'
        ),
        Cause.FORBIDDEN,
        "you ({user}) may not {verb} {resource} in namespace {namespace}",
        'Ask for a role with the rule: apiGroups ["{group}"], resources [{resource}], verbs [{verb}]',
    ),
    (
        re.compile(r"Unable to connect to the server: (?P<status>Proxy Authentication Required)$"),
        Cause.PROXY,
        "the proxy wants a user and a password ({status})",
        "Put them into HTTPS_PROXY, or proxy-url in the kubeconfig",
    ),
    (  # kubectl reports only the status of the proxy's answer to CONNECT
        re.compile(r"Unable to connect to the server: (?P<status>(?!EOF$)[A-Z][A-Za-z ]+|unknown status code)$"),
        Cause.PROXY,
        "the proxy does not let kubectl through ({status})",
        _FIX_PROXY,
    ),
    (
        re.compile(r"(proxyconnect|socks connect) \w+: (?P<rest>[^\"]*)"),
        Cause.PROXY,
        "the proxy does not answer ({rest})",
        _FIX_PROXY,
    ),
    (
        re.compile(r"[Ff]orbidden"),
        Cause.FORBIDDEN,
        "forbidden: {line}",
        "Ask for the permission that it names",
    ),
    (
        re.compile(
            r"You must be logged in to the server|\(Unauthorized\)|upgrading connection: .*Unauthorized"
            r"|the server has asked for the client to provide credentials"
        ),
        Cause.UNAUTHORIZED,
        "the API server does not accept your credentials (Unauthorized)",
        "Log in again, then check with: {kubectl} get pods",
    ),
    (
        re.compile(r"pod is not running\. Current status=(?P<phase>\w+)"),
        Cause.POD_NOT_RUNNING,
        "the pod is not running (it is {phase})",
        "See: {kubectl} describe pods",
    ),
    (
        re.compile(r"[Ss]ervice is defined without a selector"),
        Cause.NO_SELECTOR,
        "the service has no selector, so it leads to no pods",
        "Name the pod, the workload or a selector instead",
    ),
    (
        re.compile(r"(?P<what>(Service|Pod) .*does not have a (named port|service port) .*)"),
        Cause.NO_SUCH_PORT,
        "{what}",
        "Fix the port in the configuration",
    ),
    (
        re.compile(r"unable to upgrade connection: (?P<rest>.*)|error upgrading connection: (?P<other>.*)"),
        Cause.UPGRADE_REFUSED,
        "the API server or kubelet would not open the tunnel: {rest}{other}",
        "Is the node up? Check with: {kubectl} get nodes",
    ),
    (
        re.compile(
            r"http: server gave HTTP response|tls: first record does not look like a TLS handshake"
            r"|BadRequest\): the server rejected our request for an unknown reason"
        ),
        Cause.TLS,
        "what answers there is no API server that speaks the kubeconfig's http or https",
        "Check server in the kubeconfig: https, host and port",
    ),
    (
        re.compile(r"(?P<rest>(tls|x509): [^\"]*)"),
        Cause.TLS,
        "no trusted connection to the API server: {rest}",
        "Check server and certificate-authority in the kubeconfig, this machine's clock, and that no login page of the "
        "network is in between",
    ),
    (
        re.compile(r"lookup (?P<host>[^\s:]+)( on \S+)?: no such host"),
        Cause.API_UNREACHABLE,
        "the API server's name is not known: {host} (DNS)",
        "Is the VPN up? Else check server in the kubeconfig",
    ),
    (
        re.compile(
            rf"{_REFUSED.pattern}|[Uu]nable to connect to the server: (?P<rest>.*)"
            r"|dial tcp:? (?P<address>.*)|(?P<eof>unexpected EOF|i/o timeout|TLS handshake timeout|net/http: .*)"
        ),
        Cause.API_UNREACHABLE,
        "the API server does not answer ({server}{rest}{address}{eof})",
        "Is the cluster up, and the VPN? Check with: {kubectl} get --raw /version",
    ),
    (
        re.compile(r"ServiceUnavailable|InternalError|the server is currently unable|Too Many Requests"),
        Cause.API_UNREACHABLE,
        _IN_TROUBLE,
        _CHECK_READYZ,
    ),
]


_BY_LINE = {
    Said.UNREACHED: Problem(
        Cause.REMOTE_REFUSED,
        "nothing in the pod listens on that port (connection refused)",
        "Check the port, and in the pod's log that its program listens on it",
    ),
    Said.POD_GONE: Problem(Cause.POD_GONE, "the pod is gone"),
    Said.STALLED: Problem(Cause.STALLED, "the tunnel to the pod no longer answers"),
    Said.RESET: Problem(Cause.STREAM, "the pod reset one connection, and kubectl ended with it"),
    Said.LOST: Problem(Cause.LOST, "lost connection to pod"),
}


def explain(words: Sequence[str], code: int | None, cluster: Cluster = ANYWHERE) -> Problem:
    """The cause of a kubectl failure, from its last stderr lines (oldest first) and exit code (None: still running).

    Exit code 0 can also mean a lost connection (kubectl 1.20).
    """
    lines = [read_line(word) for word in words if word.strip()]
    for said, problem in _BY_LINE.items():
        if any(line.said is said for line in lines):
            return problem
    kubectl = shlex.join(command("kubectl", cluster))
    if trouble := plugin_trouble([line.text for line in lines], kubectl):
        return trouble
    if cluster.proxy and any(_REFUSED.search(line.text) for line in lines):
        return Problem(Cause.PROXY, f"the proxy {cluster.proxy} does not answer (connection refused)", _FIX_PROXY)
    for pattern, cause, message, step in _CAUSES:
        for line in reversed(lines):
            if found := pattern.search(line.text):
                facts = {name: value or "" for name, value in found.groupdict().items()}
                facts |= {"line": line.text, "kubectl": kubectl}
                return Problem(cause, message.format_map(facts).rstrip("."), step.format_map(facts))
    if lines:
        return Problem(Cause.OTHER, f"kubectl said: {lines[-1].text.removeprefix('error: ')}")
    if code is not None and code < 0:
        return Problem(Cause.LOST, f"kubectl was killed by signal {-code}")
    return Problem(Cause.LOST, f"kubectl ended without a word (exit code {code})")


def in_trouble(said: str, cluster: Cluster) -> Problem:
    """The API server answers, but can't serve now."""
    step = _CHECK_READYZ.format(kubectl=shlex.join(command("kubectl", cluster)))
    return Problem(Cause.API_UNREACHABLE, _IN_TROUBLE.format(line=said), step)
