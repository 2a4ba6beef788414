"""Recordings of real kubectls (1.20 to 1.36) with a real cluster, line by line: recordings/*.txt and *.jsonl."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recordings"
_LINE = re.compile(r"\[ *\+(?P<at>[\d.]+)s\] (?P<what>\w+): (?P<text>.*)")


@dataclass(frozen=True)
class Recording:
    """One run of kubectl: its lines in order as (stream, text), and its exit code if it exited by itself."""

    name: str
    lines: list[tuple[str, str]]
    code: int | None

    @property
    def stderr(self) -> list[str]:
        return [text for what, text in self.lines if what == "stderr"]


def recordings(prefix: str) -> list[Recording]:
    """The recordings whose case begins with `prefix`, one per kubectl; always at least one."""
    found = []
    for path in sorted(FOLDER.glob(f"{prefix}*.txt")):
        rows = [match for line in path.read_text().splitlines() if (match := _LINE.match(line))]
        code = next((re.match(r"code=(-?\d+)", row["text"]) for row in rows if row["what"] == "exit"), None)
        lines = [(row["what"], row["text"]) for row in rows if row["what"] in ("stdout", "stderr")]
        found.append(Recording(path.stem, lines, int(code[1]) if code else None))
    assert found, prefix
    return found


def pod_events(name: str) -> list[tuple[float, dict[str, Any]]]:
    """The watch events of one history, with their times in seconds from the action."""
    rows = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    return [(row["t"], row["event"]) for row in rows]
