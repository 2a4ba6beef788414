"""The embedded sandbox cluster as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import lines, running


@asynccontextmanager
async def open_sandbox(guard: OrphanGuard) -> AsyncIterator[Path]:
    """Run the embedded cluster in a separate process during the block; yields the path of its kubeconfig."""
    command = [sys.executable, "-P", "-m", "kpf_supervise.sandbox"]  # -P: import no module from the current folder
    async with running(command, guard) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        async with aclosing(lines(process.stdout)) as said:
            async for line in said:
                yield Path(line.decode().removeprefix("KUBECONFIG="))
                return
        trace = b"\n".join([line async for line in lines(process.stderr)]).decode(errors="replace")
        raise RuntimeError(f"the sandbox cluster did not start:\n{trace}")
