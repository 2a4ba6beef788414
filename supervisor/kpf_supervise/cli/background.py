"""The program that `kpfctl ensure` runs in the background: an instance without a file, which ends when it is unused.
Its argument is the path of its control socket."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from kpf_supervise.app import Job, run
from kpf_supervise.cli.kubectl import runnable_kubectl
from kpf_supervise.config.contents import Config


def main(socket: Path) -> int:
    """Returns the exit code."""
    binary = runnable_kubectl(None, None, None)
    return trio.run(run, Job(config=Config(forwards=()), path=None, kubectl=binary, socket=socket, until_unused=True))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
