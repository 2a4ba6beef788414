"""The program that `kpfctl ensure` runs in the background: an instance without a file, which ends when it is unused.
Its argument is the path of its control socket."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from kpf_supervise.app import Job, run
from kpf_supervise.cli.kubectl import chosen_kubectl, not_runnable
from kpf_supervise.config.contents import Config


def main(socket: Path) -> int:
    """Returns the exit code."""
    source, binary = chosen_kubectl(None, None, None)
    if why := not_runnable(binary):
        fix = "Install kubectl (1.20 or later), or name its path in $KUBECTL"
        print(f"kpf-supervise: {source}: cannot run {binary}: {why}. {fix}", file=sys.stderr)
        return 1
    return trio.run(run, Job(config=Config(forwards=()), path=None, kubectl=binary, socket=socket, until_unused=True))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
