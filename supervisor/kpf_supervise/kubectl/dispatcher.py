"""A kubectl that is a dispatcher: it picks one of the kubectls beside it, and asks the API server which one fits.

gcloud's asks for that with the user's credentials, so it runs the credential plugin even for a question about local
files. The others are called kubectl.1.27 and so on.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import NamedTuple

_NAME = re.compile(r"kubectl\.(\d+)\.(\d+)")


class Dispatched(NamedTuple):
    version: tuple[int, int]
    path: str


def dispatched_by(binary: str) -> list[Dispatched]:
    """The kubectls that `binary` picks from, oldest first; none if it is no dispatcher."""
    found = shutil.which(binary)
    if found is None:
        return []
    folder, name = os.path.split(os.path.realpath(found))
    if name != "kubectl":
        return []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    matches = [match for each in names if (match := _NAME.fullmatch(each))]
    return sorted(
        Dispatched((int(each[1]), int(each[2])), os.path.join(folder, each[0]))
        for each in matches
        if os.access(os.path.join(folder, each[0]), os.X_OK)
    )
