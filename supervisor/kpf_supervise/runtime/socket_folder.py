"""Folders for the sockets of `kubectl proxy`. Only this user can open them; what a killed instance left is removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kpf_supervise.runtime.paths import fallback_folder, make_private, runtime_folder

_PREFIX = "api-"
_NEW = ".new-"  # until it is locked


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A new folder of mode 0700 with a short path, locked during the block and removed after it: in the runtime folder,
    or if nothing can be made there, in /tmp. Removes what killed instances have left. Raises OSError."""
    try:
        new = _made(runtime_folder())
    except OSError:
        new = _made(fallback_folder())
    with _locked(new):
        _sweep(new.parent)
        folder = new.rename(new.with_name(new.name.replace(_NEW, _PREFIX)))  # from now on only the lock protects it
        try:
            yield folder
        finally:
            _remove(folder)


def _made(base: Path) -> Path:
    make_private(base)
    return Path(tempfile.mkdtemp(prefix=_NEW, dir=base))


def _sweep(base: Path) -> None:
    for left in base.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(left):  # in use, or already removed
            _remove(left)


def _remove(folder: Path) -> None:
    with suppress(OSError):
        folder.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`. Raises OSError if another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
