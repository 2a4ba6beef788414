"""kpfctl with all its verbs."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper

from kpf_supervise.kpfctl import (  # noqa: F401  each declares its verbs
    change,
    completion_verb,
    details,
    ensure,
    env,
    login,
    show,
    start,
)
from kpf_supervise.kpfctl.group import main
from kpf_supervise.shell_completion.shells import PROGRAMS


def program() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the normal end of --follow: no message
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, for example, has no arrows: print ? instead of failing
    main(prog_name="kpfctl", complete_var=PROGRAMS["kpfctl"])
