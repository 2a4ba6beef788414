"""A credential plugin whose behaviour can be changed at any time, and that counts its runs."""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpf_supervise.sandbox import plugin

API = "client.authentication.k8s.io/v1beta1"  # the version that every kubectl since 1.20 knows


class CredentialPlugin:
    """Put its `user` into a kubeconfig. Its tokens are accepted by every sandbox cluster until they expire or are
    revoked; call `Tokens.ask` there."""

    def __init__(self, folder: Path) -> None:
        """It answers at once, with tokens for 15 minutes. `folder` is made."""
        folder.mkdir()
        self._folder = folder
        (folder / "user").touch()
        self._behaviour: dict[str, object] = {"takes": 0.0, "lifetime": 900.0, "fails": "", "window": False}
        self._write({})

    def behave(self, *, takes: float | None = None, lifetime: float | None = None, fails: str | None = None) -> None:
        """What runs begun from now on do (None: as before).

        Each takes so many seconds; its token is valid for `lifetime` seconds, told in whole ones; or it fails with
        these words on stderr ("": it succeeds).
        """
        given = {"takes": takes, "lifetime": lifetime, "fails": fails}
        self._write({name: value for name, value in given.items() if value is not None})

    def _write(self, changes: Mapping[str, object]) -> None:
        self._behaviour |= changes
        file = self._folder / "behaviour.new"
        file.write_text(json.dumps(self._behaviour))
        file.replace(self._folder / "behaviour")

    @contextmanager
    def window(self) -> Iterator[None]:
        """During the block, each run opens a window, says so on stderr, and waits there for the end of the block."""
        with (self._folder / "user").open("w") as user:
            fcntl.flock(user, fcntl.LOCK_EX)
            self._write({"window": True})
            try:
                yield
            finally:
                self._write({"window": False})

    @property
    def runs(self) -> list[int]:
        """The process id of each run, in order."""
        return [int(pid) for pid, _ in self._told("runs")]

    @property
    def begun(self) -> list[float]:
        """When each run began, in seconds since the epoch."""
        return [float(time) for _, time in self._told("runs")]

    @property
    def windows(self) -> list[int]:
        """The process id of each run that opened a window, in order."""
        return [int(pid) for pid, _ in self._told("windows")]

    def _told(self, what: str) -> list[list[str]]:
        file = self._folder / what
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def user(self) -> dict[str, Any]:
        """The user for a kubeconfig. Add keys to its `exec` for other ways to be run."""
        command = {"command": sys.executable, "args": ["-IS", plugin.__file__, str(self._folder)]}
        return {"exec": {"apiVersion": API, "interactiveMode": "IfAvailable", **command}}
