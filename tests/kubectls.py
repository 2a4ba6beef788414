"""The real kubectl binaries that the end-to-end tests run, found once, when this module is imported.

They are those in $KUBECTLS (paths, separated as in $PATH), $KUBECTL, the one on PATH, and the Debian one that
`.ci/run` unpacks into `.cache/debian`. If there are none, they are what `tools/find-kubectl` finds or installs.

A vendor's kubectl may be a *dispatcher*: it asks the server for its version and runs the matching `kubectl.1.NN`
beside it. A test of it would not know which version it tests, so the oldest and newest of those are tested instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = ROOT / ".cache/debian/usr/bin/kubectl"
OLDEST = (1, 20, 0)  # the oldest supported version
DISPATCHED = re.compile(r"kubectl\.1\.(\d+)")


@dataclass(frozen=True, slots=True)
class Kubectl:
    path: str
    version: tuple[int, int, int]
    label: str  # the version as kubectl prints it, without the "v": "1.33.1"

    def __str__(self) -> str:
        return f"kubectl {self.label} ({self.path})"


def behind(path: str) -> list[str]:
    """The binaries to test for `path`: itself, or the oldest and newest binary that it dispatches to."""
    real = Path(path).resolve()
    if DISPATCHED.fullmatch(real.name):  # named or linked explicitly
        return [path]
    siblings = [
        (int(m[1]), str(p))
        for p in real.parent.glob("kubectl.1.*")
        if (m := DISPATCHED.fullmatch(p.name)) and os.access(p, os.X_OK)
    ]
    return [min(siblings)[1], max(siblings)[1]] if siblings else [path]


def probe(path: str) -> Kubectl | None:
    """Ask a binary for its version. Returns None if it isn't a working kubectl."""
    try:
        answer = subprocess.run(
            [path, "version", "--client", "-o", "json"],
            env={**os.environ, "KUBECONFIG": os.devnull},  # no user settings, no server
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=30,
        )
        label: str = json.loads(answer.stdout)["clientVersion"]["gitVersion"].removeprefix("v")
        major, minor, patch = re.findall(r"\d+", label)[:3]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return Kubectl(path, (int(major), int(minor), int(patch)), label)


def find() -> list[Kubectl]:
    """All usable binaries, oldest first, one per version. If there is none, raises RuntimeError with the reason."""
    words = [*os.environ.get("KUBECTLS", "").split(os.pathsep), os.environ.get("KUBECTL", "")]
    named = [shutil.which(word) or word for word in words if word]
    paths = [*named, *filter(None, [shutil.which("kubectl")]), *([str(DEBIAN)] if DEBIAN.exists() else [])]
    binaries = list(dict.fromkeys(binary for path in paths for binary in behind(path)))
    with ThreadPoolExecutor() as pool:
        probed = dict(zip(binaries, pool.map(probe, binaries), strict=True))
    usable = {path: k for path, k in probed.items() if k and k.version >= OLDEST}
    for path in named:
        if not usable.keys() & behind(path):
            raise RuntimeError(f"$KUBECTL(S) names {path}, which isn't a kubectl of 1.20 or newer that runs here")
    if not usable:
        tool = subprocess.run(
            ROOT / "tools/find-kubectl", check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        last = probe(tool.stdout.strip())
        if last is None:
            raise RuntimeError(f"no kubectl to test with:\n{tool.stderr}")
        usable = {last.path: last}
    by_version: dict[str, Kubectl] = {}
    for kubectl in usable.values():
        by_version.setdefault(kubectl.label, kubectl)
    return sorted(by_version.values(), key=lambda k: (k.version, k.label))


KUBECTLS = find()
