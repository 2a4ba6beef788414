"""The paths of an instance's socket, log and state. Imports little, since kpfctl needs this too and starts quickly."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kpf_supervise.model import LONGEST_SOCKET, Forward

_SHORT = Path("/tmp")  # also on macOS, whose own temporary folder has a path of 49 characters
_SHORTEST_NAME = len("1f0c9a2e-4194304.sock")  # of a socket: the digest and a pid


def runtime_folder() -> Path:
    """The folder of the control sockets: in $XDG_RUNTIME_DIR if that is a folder of ours, else in the temporary folder,
    or in /tmp if a socket's path would be too long for the kernel. It need not exist."""
    given, fallback = os.environ.get("XDG_RUNTIME_DIR", ""), fallback_folder()
    folder = Path(tempfile.gettempdir()) / fallback.name
    if os.path.isabs(given) and is_ours(Path(given)):
        folder = Path(given) / "kpf-supervise"
    return folder if _room(folder) >= _SHORTEST_NAME else fallback


def fallback_folder() -> Path:
    """A folder for sockets with a short path. It need not exist."""
    return _SHORT / f"kpf-supervise-{os.getuid()}"


def _room(folder: Path) -> int:
    """How many bytes the name of a socket in this folder may have."""
    return LONGEST_SOCKET - len(os.fsencode(folder)) - 1


def state_folder() -> Path:
    """The folder of logs and saved states: in $XDG_STATE_HOME, else ~/.local/state. It need not exist."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state") / "kpf-supervise"


def name_of(config: Path | None, forwards: Sequence[Forward] = ()) -> str:
    """The base name of the instance's log and state, such as `shop-1f0c9a2e`. All paths to one configuration give the
    same name. Without a configuration, it is that of the forwards: the same command line finds its state again."""
    if config is not None:
        return f"{config.stem[:24]}-{_digest(config)}"
    if not forwards:
        return "no-file"
    facts = [
        (each.id, each.target, each.local, each.remote, each.namespace, each.cluster.context, each.cluster.kubeconfig)
        for each in forwards
    ]
    lines = "\n".join(" ".join(map(str, each)) for each in facts)
    return f"{forwards[0].id.partition('/')[0][:24]}-{_digest_of(os.fsencode(lines))}"


def _digest(config: Path) -> str:
    return _digest_of(os.fsencode(config.resolve()))


def _digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def socket_of(config: Path | None, more: str = "") -> Path:
    """The default control socket of this configuration's instance. `more` distinguishes several instances of one
    configuration, and those without any. The part from the file's name is cut to fit: the digest alone is unique."""
    folder = runtime_folder()
    end = "-".join(filter(None, ("run" if config is None else _digest(config), more))) + ".sock"
    room = min(max(_room(folder) - len(end) - 1, 0), 24)
    stem = os.fsencode(config.stem)[:room].decode(errors="ignore") if config else ""
    return folder / "-".join(filter(None, (stem, end)))


def is_ours(folder: Path) -> bool:
    """Whether the folder belongs to this user, and nobody else can write to it."""
    return os.path.lexists(folder) and not distrust(folder)


def distrust(folder: Path, also_writable: bool = False) -> str:
    """Why the files in this folder may be another user's, and the fix; "" if only this user can have put them there,
    or the folder does not exist. With `also_writable`, a folder of ours that others can write to is accepted."""
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
    """The name and the id of a user: `alice (uid 1000)`."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def make_private(folder: Path) -> None:
    """Create the folder, accessible only to this user. Raises OSError; PermissionError if it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if wrong := distrust(folder, also_writable=True):
        raise PermissionError(wrong)
    folder.chmod(0o700)


def has_terminal() -> bool:
    """Whether there is a terminal that can show a panel, and we are in its foreground."""
    if not os.isatty(1) or os.environ.get("TERM", "") in ("", "dumb"):
        return False
    return owns_terminal()


def owns_terminal() -> bool:
    """Whether stdin is a terminal, and we are in its foreground: we may read from it."""
    if not os.isatty(0):
        return False
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # not a controlling terminal
        return True
