"""Tells systemd when all forwards are up: sd_notify(3), for units of Type=notify."""

from __future__ import annotations

import os
import socket

from .board import Board
from .command import missing
from .model import UNPRINTED


async def tell_service_manager(board: Board) -> None:
    """READY=1 once every forward that is meant to run and not lazy has been active at the same time, and a STATUS at
    each change. Does nothing where no service manager listens ($NOTIFY_SOCKET). Until cancelled; then STOPPING=1."""
    address = os.environ.pop("NOTIFY_SOCKET", "")  # no kubectl of ours is to speak for us
    if not address:
        return
    ready = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, board.subscription() as events:

        def say(text: str) -> None:
            try:
                manager.sendto(text.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
            except OSError as error:
                board.notice(f"the service manager at $NOTIFY_SOCKET takes no word: {error.strerror or error}")

        def tell() -> None:
            nonlocal ready
            left = missing(board)
            count = len(board.statuses)
            text = f"STATUS={count - len(left)} of {count} forwards are up"
            if left:
                text += f"; {left[0].forward.id} is {left[0].state}"
            elif not ready:
                ready = True
                text += "\nREADY=1"
            say(text)

        tell()
        try:
            async for event in events:
                if event.kind not in UNPRINTED:
                    tell()
        finally:
            say("STOPPING=1")
