"""Where an instance has its socket, its log and its state. Standard library only: kpfctl looks there too."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from kpf_supervise.model import LONGEST_SOCKET

_SHORT = Path("/tmp")  # also on macOS, whose own folder of temporary files has a path of 49 characters
_SHORTEST_NAME = len("1f0c9a2e-4194304.sock")  # of a socket: the digest and a pid


def runtime_folder() -> Path:
    """The folder of the control sockets: in $XDG_RUNTIME_DIR where that is a folder of ours, else beside the temporary
    files, and in /tmp where the path of a socket would be too long for the kernel. It need not exist."""
    given, own = os.environ.get("XDG_RUNTIME_DIR", ""), f"kpf-supervise-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / own
    if os.path.isabs(given) and is_ours(Path(given)):
        folder = Path(given) / "kpf-supervise"
    return folder if _room(folder) >= _SHORTEST_NAME else _SHORT / own


def _room(folder: Path) -> int:
    """How many bytes a socket's name may have there."""
    return LONGEST_SOCKET - len(os.fsencode(folder)) - 1


def state_folder() -> Path:
    """The folder of logs and saved states: in $XDG_STATE_HOME, else ~/.local/state. It need not exist."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state") / "kpf-supervise"


def name_of(config: Path | None) -> str:
    """What the files of the instance of this configuration are called: `shop-1f0c9a2e`; the same by whichever path it
    is reached."""
    return "sandbox" if config is None else f"{config.stem[:24]}-{_digest(config)}"


def _digest(config: Path) -> str:
    return hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:8]


def socket_of(config: Path | None, more: str = "") -> Path:
    """Where the instance of this configuration is reached, unless it was given another socket. `more` tells apart
    several of one configuration. Of the file's name stays what there is room for; the digest alone would do."""
    folder = runtime_folder()
    end = "-".join(filter(None, ("sandbox" if config is None else _digest(config), more))) + ".sock"
    room = min(max(_room(folder) - len(end) - 1, 0), 24)
    stem = os.fsencode(config.stem)[:room].decode(errors="ignore") if config else ""
    return folder / "-".join(filter(None, (stem, end)))


def is_ours(folder: Path) -> bool:
    """Whether it is a folder of this user's, in which nobody else can put anything."""
    return os.path.lexists(folder) and not distrust(folder)


def distrust(folder: Path, also_writable: bool = False) -> str:
    """Why the files in this folder may be another user's, and the fix; "" where only this user can have put them there,
    or nothing is there. With `also_writable`, a folder of ours that others can write is accepted."""
    try:
        found = folder.lstat()
    except OSError:
        return ""
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is not a folder. Remove it, or set XDG_RUNTIME_DIR to a folder of yours"
    if found.st_uid != os.getuid():
        owner = user_name(found.st_uid)
        return f"{folder} belongs to {owner}, not to you. Remove it, or set XDG_RUNTIME_DIR to a folder of yours"
    if found.st_mode & 0o022 and not also_writable:
        return f"{folder} can be written by other users. Run: chmod 700 {folder}"
    return ""


def user_name(uid: int) -> str:
    """`alice (uid 1000)`."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def make_private(folder: Path) -> None:
    """Make the folder, so that only this user may enter it. Raises OSError; PermissionError where it is another's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if wrong := distrust(folder, also_writable=True):
        raise PermissionError(wrong)
    folder.chmod(0o700)


def has_terminal() -> bool:
    """Whether there is a terminal that can show a panel, and we are in its foreground."""
    if not (os.isatty(0) and os.isatty(1)) or os.environ.get("TERM", "") in ("", "dumb"):
        return False
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # a terminal that controls nobody
        return True
