"""What kpf-supervise is asked for: a configuration file, named or found, or forwards as on kubectl's command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from kpf_supervise.config.contents import Config
from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_address, parse_context, parse_kubeconfig, parse_namespace
from kpf_supervise.config.words import forward_name, ids_of, is_port, is_target, read_words
from kpf_supervise.model import TEMPLATE, Cluster, Forward
from kpf_supervise.text import quote, shorten

_Value = TypeVar("_Value")
HERE = Path("kpf.yaml")
_EMPTY = Config(forwards=())
_OF_FILES = (".yaml", ".yml", ".json")
NOTHING = """Say what to forward, as for kubectl port-forward:

  kpf-supervise service/web 8080:http 9090 -n shop

Or declare it in a file, ./kpf.yaml or one that you name:

    forwards:
      web: {target: service/web, ports: "8080:80"}
      db: {target: statefulset/db, ports: 5432}

kpf-supervise --init prints such a file with the services of your cluster, --import FILE one with what another tool has
declared, and --schema all options. kpf-supervise --proxy 1080 reaches every service, and needs no file."""


@dataclass(frozen=True, slots=True)
class Options:
    """Those that say where a TARGET is and how it is forwarded, as they were written."""

    selector: str | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    address: str | None = None
    lazy: bool = False

    def first(self, but: Sequence[str] = ()) -> str:
        """One that was given, and is not in `but`; "" if there is none."""
        given = {
            "-l": self.selector,
            "-n": self.namespace,
            "--context": self.context,
            "--kubeconfig": self.kubeconfig,
            "--address": self.address,
            "--lazy": self.lazy,
        }
        return next((name for name, value in given.items() if value and name not in but), "")


@dataclass(frozen=True, slots=True)
class Asked:
    """`config` is what the command line itself says, where there is no `file`."""

    file: Path | None = None
    config: Config = _EMPTY
    command: tuple[str, ...] = ()
    found: bool = False  # nobody has named the file


def read(words: Sequence[str], command: Sequence[str], options: Options, needs_none: bool) -> Asked:
    """What the words before `--`, `command` behind it, and the options ask for. `needs_none`: there is something to do
    without a file and without a TARGET. Raises click.UsageError."""
    ports_alone = options.selector is not None and words and is_port(words[0])
    if words and not ports_alone and is_file(words[0], words[1:2]):
        _only_a_file(words[0], words[1:2], options)
        return Asked(Path(words[0]), command=(*words[1:], *command))
    if words or options.selector is not None:
        return Asked(config=_forwards(words, options), command=tuple(command))
    if needs_none:
        if odd := options.first(but=("-n", "--context", "--kubeconfig")):
            raise click.UsageError(f"{odd} belongs to a TARGET, such as service/web 8080:http")
        return Asked(config=replace(_EMPTY, template=placed(options)), command=tuple(command))
    found = default_file()
    if found is None:
        raise click.UsageError(NOTHING)
    _only_a_file(str(found), (), options)
    return Asked(found, command=tuple(command), found=True)


def is_file(word: str, after: Sequence[str]) -> bool:
    """Whether the first word names a configuration file; `after` is the word after it. What exists is one, unless it
    reads as KIND/NAME, or is a folder, and a port is next. What does not exist is one if it is written like one."""
    written = word.lower().endswith(_OF_FILES)
    if any(map(is_port, after)):
        return not is_target(word) and (written or os.path.isfile(word))
    return written or os.path.exists(word) or word.startswith(("/", "./", "../", "~"))


def default_file() -> Path | None:
    """The file that is used if none is named."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return next(filter(os.path.exists, (HERE, folder / "kpf-supervise" / "config.yaml")), None)


def _only_a_file(file: str, after: Sequence[str], options: Options) -> None:
    """Raises click.UsageError for what belongs to a TARGET."""
    where = f"beside the target in {shorten(file)}"
    if odd := options.first():
        raise click.UsageError(f"{odd} belongs to a TARGET on the command line. Write the same {where}")
    if any(map(is_port, after)):
        raise click.UsageError(f"the port {after[0]} belongs to a TARGET. Write it {where}, as ports: {after[0]}")


def _forwards(words: Sequence[str], options: Options) -> Config:
    """What a file would say. What is added with kpfctl goes to the same cluster and namespace."""
    if len(words) == 1 and "/" not in words[0] and options.selector is None:
        call = f"kpf-supervise {shorten(words[0])} 8080:http"
        raise click.UsageError(f"there is no file {quote(words[0])}. If it is a pod, name its port, too: {call}")
    try:
        target, ports = read_words(words, options.selector, "kpf-supervise")
    except Mistake as mistake:
        command = any(":" not in word and not is_port(word) for word in words[1:])
        raise click.UsageError(f"{mistake}{' A COMMAND follows after --.' if command else ''}") from None
    template = placed(options)
    address = _value("--address", parse_address, options.address) or template.address
    ids = ids_of(forward_name(target.name), ports)
    forwards = (
        replace(template, id=id, target=target, local=local, remote=remote, address=address, lazy=options.lazy)
        for id, (local, remote) in zip(ids, ports, strict=True)
    )
    return Config(tuple(forwards), template=template)


def placed(options: Options) -> Forward:
    """A template in the cluster and the namespace that the options name."""
    kubeconfig = _value("--kubeconfig", partial(parse_kubeconfig, folder=Path()), options.kubeconfig)
    context = _value("--context", parse_context, options.context)
    namespace = _value("-n", parse_namespace, options.namespace)
    return replace(TEMPLATE, namespace=namespace, cluster=Cluster(kubeconfig, context))


def _value(option: str, parse: Callable[[str], _Value], text: str | None) -> _Value | None:
    try:
        return None if text is None else parse(text)
    except Mistake as mistake:
        raise click.UsageError(f"{option}: {mistake}") from None
