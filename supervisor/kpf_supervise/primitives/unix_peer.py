"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # macOS, sys/un.h


class Connected(Protocol):
    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


def peer_pid(connected: Connected) -> int:
    """The pid of the peer (for a client's socket: of the process that listens), or 0."""
    if sys.platform == "linux":
        pid: int = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid
    try:
        return int.from_bytes(connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4), sys.byteorder)
    except OSError:
        return 0


def peer_uid(connected: Connected) -> int:
    """The user id of the peer."""
    if sys.platform == "linux":
        uid: int = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        return uid
    found: int = struct.unpack_from("2I", connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76))[1]
    return found
