"""Tells systemd when all forwards are up: sd_notify(3), for units of Type=notify."""

from __future__ import annotations

import math
import os
import socket

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.model import UNPRINTED
from kpf_supervise.runtime.command import missing
from kpf_supervise.text import shorten

_AGAIN = 5.0  # seconds until an unreachable manager is tried again


async def tell_service_manager(board: Board) -> None:
    """Send READY=1 once all forwards that should run and are not lazy are active at the same time, and STATUS at each
    change. If the manager can't be reached, a notice says so once, and sending is retried until it succeeds. Does
    nothing without a service manager ($NOTIFY_SOCKET). Runs until cancelled, then sends STOPPING=1."""
    address = os.environ.pop("NOTIFY_SOCKET", "")  # our kubectls must not notify in our place
    if not address:
        return
    ready = complained = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, board.subscription() as events:
        manager.setblocking(False)  # a manager that reads nothing must not block the program

        def say(text: str) -> bool:
            """Send it. Returns whether the manager received it."""
            nonlocal complained
            try:
                manager.sendto(text.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
            except (OSError, ValueError) as error:  # ValueError: not a valid address
                reason = (error.strerror if isinstance(error, OSError) else None) or error
                if not complained:  # this notice is an event too
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
