"""Which version this is, and of which commit. Imports nothing of this package: setup.py reads it, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Not read from the installed package's metadata: after an upgrade, that is not the version of a running instance.
VERSION = "0.1.0"
COMMIT_FILE = "commit.txt"  # in what was built
_HERE = Path(__file__).parent
_PATIENCE = 5.0  # seconds


def commit() -> str:
    """The commit that this was built from; in a clone, the one that is checked out, with `-dirty` if files have
    changed. Empty if nobody knows."""
    try:
        return (_HERE / COMMIT_FILE).read_text().strip()
    except OSError:
        pass
    clone = _HERE.parent.parent
    if not (clone / ".git").exists():
        return ""
    command = ["git", "-C", str(clone), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=9"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def described() -> str:
    """Version and commit, for people."""
    known = commit()
    return f"{VERSION} (commit {known})" if known else VERSION
