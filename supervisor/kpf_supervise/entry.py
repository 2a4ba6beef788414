"""The entry points of the commands kpf-supervise and kpfctl."""

import signal


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
