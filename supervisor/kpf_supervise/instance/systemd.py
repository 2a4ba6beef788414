"""Tells systemd when all forwards are up: sd_notify(3), for units of Type=notify."""

from __future__ import annotations

import math
import os
import socket

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.instance.command import missing
from kpf_supervise.model import UNPRINTED
from kpf_supervise.text import shorten

_AGAIN = 5.0  # seconds until a manager that could not be reached is tried again


async def tell_service_manager(board: Board) -> None:
    """READY=1 once every forward that is meant to run and not lazy has been active at the same time, and a STATUS at
    each change. A manager that can't be reached is told to the user once, and tried again until it hears. Does nothing
    where no service manager listens ($NOTIFY_SOCKET). Until cancelled; then STOPPING=1."""
    address = os.environ.pop("NOTIFY_SOCKET", "")  # no kubectl of ours is to speak for us
    if not address:
        return
    ready = complained = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, board.subscription() as events:
        manager.setblocking(False)  # one that reads nothing must not stop the program

        def say(text: str) -> bool:
            """Whether the manager has got it."""
            nonlocal complained
            try:
                manager.sendto(text.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
            except (OSError, ValueError) as error:  # ValueError: an address that is none
                reason = (error.strerror if isinstance(error, OSError) else None) or error
                if not complained:  # this notice is an event, too
                    complained = True
                    board.notice(
                        f"the service manager at $NOTIFY_SOCKET ({shorten(address)}) can't be reached: {reason}"
                    )
                return False
            return True

        def tell() -> bool:
            nonlocal ready
            left = missing(board)
            count = len(board.statuses)
            text = f"STATUS={count - len(left)} of {count} forwards are up"
            if left:
                text += f"; {left[0].forward.id} is {left[0].state}"
            first = not left and not ready
            heard = say(f"{text}\nREADY=1" if first else text)
            ready |= first and heard
            return heard

        heard = tell()
        try:
            while True:
                changed = False
                with trio.move_on_after(math.inf if heard else _AGAIN) as pause:
                    changed = (await events.receive()).kind not in UNPRINTED
                if changed or pause.cancelled_caught:
                    heard = tell()
        except trio.EndOfChannel:
            pass
        finally:
            say("STOPPING=1")
