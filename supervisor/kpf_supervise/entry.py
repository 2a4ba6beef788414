"""The commands kpf-supervise and kpfctl, from their first moment on."""

import signal


def kpf_supervise() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are still being read: no traceback, 130
    from kpf_supervise.cli import program

    program()


def kpfctl() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kpf_supervise.kpfctl.program import program

    program()
