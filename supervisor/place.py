"""Where an instance has its socket, its log and its state. Standard library only: kpfctl looks there too."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path


def runtime_folder() -> Path:
    """The folder of the control sockets: in $XDG_RUNTIME_DIR where that is a folder of ours, else beside the temporary
    files. It need not exist."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given) and is_ours(Path(given)):
        return Path(given) / "kpf-supervise"
    return Path(tempfile.gettempdir()) / f"kpf-supervise-{os.getuid()}"


def state_folder() -> Path:
    """The folder of logs and saved states: in $XDG_STATE_HOME, else ~/.local/state. It need not exist."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state") / "kpf-supervise"


def name_of(config: Path | None) -> str:
    """What the files of the instance of this configuration are called: `shop-1f0c9a2e`; the same by whichever path it
    is reached."""
    if config is None:
        return "sandbox"
    digest = hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:8]
    return f"{config.stem[:24]}-{digest}"


def socket_of(config: Path | None, more: str = "") -> Path:
    """Where the instance of this configuration is reached, unless it was given another socket. `more` tells apart
    several of one configuration."""
    return runtime_folder() / f"{'-'.join(filter(None, (name_of(config), more)))}.sock"


def is_ours(folder: Path) -> bool:
    """Whether it is a folder of this user's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def make_private(folder: Path) -> None:
    """Make the folder, so that only this user may enter it. Raises OSError; PermissionError where it is another's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_ours(folder):
        raise PermissionError(f"{folder} belongs to somebody else, or is no folder")
    folder.chmod(0o700)


def has_terminal() -> bool:
    """Whether there is a terminal that can show a panel, and we are in its foreground."""
    if not (os.isatty(0) and os.isatty(1)) or os.environ.get("TERM", "") in ("", "dumb"):
        return False
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # a terminal that controls nobody
        return True
