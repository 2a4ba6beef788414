"""The entry points of the commands kpf-supervise and kpfctl."""

import os
import signal
import sys


def kpf_supervise() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports: no traceback, exit code 130
    from kpf_supervise.cli.program import program

    program()


def kubectl_kpf() -> None:
    """As a plugin: `kubectl kpf …`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kpf_supervise.cli.program import program

    program("kubectl kpf")


def kubectl_complete_kpf() -> None:
    """What kubectl runs to complete the words after `kubectl kpf`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kpf_supervise.cli.plugin import complete

    complete()


def kpfctl() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kpf_supervise.kpfctl.program import program

    program()


def by_name() -> None:
    """Of the single file: a link to it that is called kpfctl is kpfctl."""
    (kpfctl if os.path.basename(sys.argv[0]).startswith("kpfctl") else kpf_supervise)()
