"""A file of another tool as a file of ours. Pure."""

from __future__ import annotations

from kpf_supervise.importing.formats import read
from kpf_supervise.importing.writing import Written, write

LARGEST = 1_000_000  # bytes of a file that is imported


def convert(data: bytes, source: str) -> Written:
    """`source` is its name for messages. Raises ConfigError if it can't be read; a Written with no forwards means that
    nothing in it is a port-forward that can be kept."""
    text = data.decode("utf-8-sig", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return write(read(text, source), source)
