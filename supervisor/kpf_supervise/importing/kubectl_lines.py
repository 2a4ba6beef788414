"""`kubectl port-forward` as it stands in scripts, Makefiles, Procfiles and notes, and kubefwd's command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from kpf_supervise.importing import kubefwd
from kpf_supervise.importing.flags import Flags, read_flags
from kpf_supervise.importing.found import VARIABLE, Entry, Found
from kpf_supervise.importing.shell_words import Command, Unreadable, commands, inside

_KUBECTL = re.compile(r"(kubectl|kubecolor|oc|k)([.-]?v?\d[\d.]*)?(\.exe)?|\$[({]?\w*(kubectl|KUBECTL)\w*[)}]?")
_LABEL = re.compile(r"([A-Za-z0-9][\w.-]*):")  # Procfile's and YAML's, or a make target
_NO_NAMES = ("run", "command", "cmd", "entrypoint", "script", "exec", "args", "shell")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
# Commands whose words are no command.
_QUIET = ("echo", "printf", "grep", "egrep", "pgrep", "pkill", "killall", "kill", "ps", "alias", "cat", "which", "type")
_PREFIXES = ("sudo", "exec", "nohup", "time", "env", "command", "then", "do", "else", "if", "while", "until", "!", "@")
_VALUES = {  # flags of kubectl that take a value, by their one-letter form if they have one
    "namespace": "n",
    "context": "",
    "kubeconfig": "",
    "address": "",
    "pod": "p",
    "cluster": "",
    "user": "",
    "server": "s",
    "token": "",
    "username": "",
    "password": "",
    "as": "",
    "as-group": "",
    "as-uid": "",
    "certificate-authority": "",
    "client-certificate": "",
    "client-key": "",
    "tls-server-name": "",
    "pod-running-timeout": "",
    "request-timeout": "",
    "cache-dir": "",
    "profile": "",
    "profile-output": "",
    "v": "v",
    "vmodule": "",
    "kuberc": "",
}
_KEPT = ("namespace", "context", "kubeconfig", "address", "pod")
# They say which cluster it is, or who asks: without them the forward would be another one.
_DECISIVE: tuple[str, ...] = ("cluster", "user", "server", "username", "as", "as-group", "as-uid", "token", "password")
_DECISIVE += ("certificate-authority", "client-certificate", "client-key", "tls-server-name")
_DECISIVE += ("insecure-skip-tls-verify",)
_NESTED = 4  # commands in the words of others: sh -c "sh -c '…'"


def read(text: str, name: str = "", where: str = "") -> Found:
    """All forwards in a text with command lines. `name`: of those that are given none; `where`: instead of lines."""
    found = Found(tool="kubectl port-forward lines")
    all_of_them = list(_nested(text, 1, _NESTED))
    pods = _assigned(all_of_them)
    for command in all_of_them:
        place = where or f"line {command.line}"
        if isinstance(command, Unreadable):
            if "port-forward" in command.text:
                found.lost.append((place, f"its quotes can't be read: {command.text.strip()}"))
            continue
        _read_command(found, command.words, name, place, pods)
    if not found.forwards and found.services:
        found.tool = "kubefwd's command line"
    return found


def _nested(text: str, line: int, depth: int) -> Iterator[Command | Unreadable]:
    """Also the commands that are words of others, as in `sh -c "kubectl port-forward …"`."""
    for command in commands(text, line):
        yield command
        if isinstance(command, Command) and depth and not _is_quiet(command.words):
            for word in command.words:
                if re.search(r"\s", word) and re.search(r"port-forward|kubefwd", word) and not _is_substitution(word):
                    yield from _nested(word, command.line, depth - 1)


def _is_substitution(word: str) -> bool:
    """Those inside a word are commands of their own already."""
    found = VARIABLE.search(word)
    return found is not None and "port-forward" in found[0]


def _is_quiet(words: Sequence[str]) -> bool:
    plain = [word.lstrip("@-") for word in words if not _ASSIGNMENT.fullmatch(word)]
    first = next((word for word in plain if word and word not in _PREFIXES and not _LABEL.fullmatch(word)), "")
    return PurePath(first).name in _QUIET


def _assigned(found: Sequence[Command | Unreadable]) -> dict[str, str]:
    """The variables that hold a pod's name, as the notes of many Helm charts say it: by name, the substitution. Those
    that are set more than once are left out."""
    values: dict[str, list[str]] = {}
    for command in found:
        for word in command.words if isinstance(command, Command) else ():
            if assigned := _ASSIGNMENT.fullmatch(word):
                values.setdefault(assigned[1], []).append(assigned[2])
    return {name: each[0] for name, each in values.items() if len(each) == 1}


def _read_command(found: Found, words: Sequence[str], name: str, where: str, pods: Mapping[str, str]) -> None:
    if "kubefwd" in [PurePath(word).name for word in words] and not _is_quiet(words):
        at = [PurePath(word).name for word in words].index("kubefwd")
        kubefwd.read(found, words[at + 1 :], where)
        return
    at = next((at for at, word in enumerate(words) if _KUBECTL.fullmatch(PurePath(word.lstrip("@-")).name)), -1)
    if "port-forward" in words[max(at, 0) :] and not _is_quiet(words):
        if at < 0:
            found.lost.append((where, f"port-forward of another program than kubectl: {' '.join(words)}"))
            return
        if {"-h", "--help"} & {*words}:
            return
        label = _LABEL.fullmatch(words[0])
        own = label[1] if label and at > 0 and label[1] not in _NO_NAMES else ""
        found.forwards.append(_port_forward(words[:at], words[at + 1 :], own or name, where, pods))
    elif at >= 0 and {"use-context", "set-context"} & {*words}:
        found.lost.append((where, f"it changes the context of what follows: {' '.join(words[at:])}"))
    elif words[0] == "export" and any(word.startswith("KUBECONFIG=") for word in words):
        found.lost.append((where, f"it changes the kubeconfig of what follows: {' '.join(words)}"))


def _port_forward(before: Sequence[str], after: Sequence[str], name: str, where: str, pods: Mapping[str, str]) -> Entry:
    """`before` and `after` are the words around kubectl."""
    flags = read_flags(after[1:] if after[:1] == ("--",) else after, _VALUES)  # minikube kubectl -- port-forward
    at = flags.arguments.index("port-forward") if "port-forward" in flags.arguments else len(flags.arguments)
    arguments = flags.arguments[at + 1 :]
    entry = Entry(where=where, name=name)
    for each in before:
        if (assigned := _ASSIGNMENT.fullmatch(each)) and assigned[1] == "KUBECONFIG":
            entry.options["kubeconfig"] = assigned[2]
        elif assigned:
            entry.lost.append(f"the variable {assigned[1]}")
        elif PurePath(each).name == "timeout":
            entry.lost.append("timeout: it runs until you stop it")
    return _with(entry, flags, arguments, pods)


def _with(entry: Entry, flags: Flags, arguments: Sequence[str], pods: Mapping[str, str]) -> Entry:
    for option in ("namespace", "context", "kubeconfig"):
        if option in flags.values:
            entry.options[option] = flags.values[option][-1]
    addresses = [each for value in flags.values.get("address", []) for each in value.split(",")]
    if addresses and addresses != ["localhost"]:
        entry.options["address"] = addresses[0]
        if len(addresses) > 1:
            entry.lost.append(f"the addresses {', '.join(addresses[1:])}: a forward has one. Declare one for each")
    target, *ports = [*flags.values.get("pod", [])[-1:], *arguments] or [""]
    _aim(entry, target, pods)
    entry.options["ports"] = ports
    entry.name = entry.name or target.rpartition("/")[2]
    others = [flag for flag in (*flags.values, *flags.switches) if flag not in _KEPT]
    decisive = [flag for flag in others if flag in _DECISIVE]
    if decisive:
        shown = ", ".join(f"--{flag}" for flag in decisive)
        entry.refused = f"a context of the kubeconfig has to say which cluster and user it is, instead of {shown}"
    elif others:
        entry.lost.append(", ".join(f"--{flag}" for flag in others))
    if not target:
        entry.refused = "it names no target"
    elif not ports:
        entry.refused = "it names no port"
    return entry


def _aim(entry: Entry, target: str, pods: Mapping[str, str]) -> None:
    """The target of a forward. The name of a pod that a selector has found becomes the selector."""
    bare = re.sub(r"^pods?/", "", target)
    variable = re.fullmatch(r"\$\$?\{?([A-Za-z_]\w*)\}?", bare)
    asked = inside(pods.get(variable[1], "") if variable else bare)
    for command in commands(asked) if asked else ():
        words = command.words if isinstance(command, Command) else ()
        if len(words) > 1 and _KUBECTL.fullmatch(PurePath(words[0]).name) and "get" in words:
            flags = read_flags(words[1:], {**_VALUES, "selector": "l", "output": "o", "field-selector": ""})
            kinds = [word for word in flags.arguments if word in ("pod", "pods", "po")]
            if kinds and "selector" in flags.values:
                entry.options["selector"] = flags.values["selector"][-1]
                entry.name = entry.name or entry.options["selector"].partition(",")[0].rpartition("=")[2]
                if "namespace" in flags.values:
                    entry.options.setdefault("namespace", flags.values["namespace"][-1])
                return
    entry.options["target"] = target
