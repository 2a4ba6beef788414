"""An ApiServer in this process, with folders for its sockets that can be counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise import model
from kpf_supervise.api.process import READING
from kpf_supervise.api.server import ApiServer, Interrupted
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.model import ForwardError
from kpf_supervise.runtime.socket_folder import socket_folder
from kpf_supervise.sandbox import Cluster
from tests.kubectls import Kubectl
from tests.program import PATIENCE

WEB = "/api/v1/namespaces/dev/services/web"
PODS = "/api/v1/namespaces/dev/pods"


class Folders:
    """Folders for sockets in a place where they can be counted. `broken`: none can be made."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.broken = False
        base.mkdir()

    @contextmanager
    def __call__(self) -> Iterator[Path]:
        if self.broken:
            raise PermissionError(13, "Permission denied", str(self.base))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(self.base))
            folder: AbstractContextManager[Path] = socket_folder()
            place = folder.__enter__()
        try:
            yield place
        finally:
            folder.__exit__(None, None, None)

    @property
    def there(self) -> list[Path]:
        return sorted((self.base / "kpf-supervise").glob("*"))

    @property
    def socket(self) -> Path:
        return self.there[0] / "s"


@asynccontextmanager
async def reading(
    kubectl: Kubectl,
    kubeconfig: Path,
    folders: Folders,
    notices: list[str] | None = None,
    lets_through: Sequence[str] = READING,
) -> AsyncIterator[ApiServer]:
    told = notices if notices is not None else []
    async with open_orphan_guard() as guard, trio.open_nursery() as nursery:
        cluster = model.Cluster(kubeconfig)
        api = ApiServer(kubectl.path, cluster, guard, folders, told.append, lets_through=lets_through)
        nursery.start_soon(api.run)
        with trio.fail_after(PATIENCE):
            yield api
        nursery.cancel_scope.cancel()


def proxies() -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has exited
            if "proxy" in each.cmdline():
                found.append(each)
    return found


async def failure(api: ApiServer, path: str) -> model.Problem:
    with pytest.raises(ForwardError) as raised:
        await api.read(path)
    return raised.value.problem


async def read_all(api: ApiServer, path: str) -> list[bytes]:
    async with api.stream(path) as lines:
        return [line async for line in lines]


async def broken_off(api: ApiServer, cluster: Cluster, happens: Callable[[], Awaitable[object]]) -> bool:
    """Stream pods until what happens breaks that off; whether the line was told to be dead."""
    died = False

    def hear() -> None:
        nonlocal died
        died = died or api.line.cut_off

    api.line.listeners.add(hear)
    try:
        async with api.stream(f"{PODS}?watch=1&resourceVersion={cluster.store.version}") as lines:
            await happens()
            await anext(lines)
    except Interrupted:
        return died
    finally:
        api.line.listeners.discard(hear)
    raise AssertionError("it goes on")
