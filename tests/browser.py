"""A real browser without a window, controlled over the DevTools protocol: `python -m tests.browser BROWSER ADDRESS`
opens the panel, waits until it shows an active forward, presses s, waits until the forward is stopped, and prints what
it saw. The page draws on a canvas, so what it shows is read from what its WebSocket receives."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import sys
import tempfile
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
PATIENCE = 30.0  # seconds for each step


def found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.received = ""  # over the page's own WebSocket
        self.refused: list[str] = []  # resources

    async def call(self, method: str, **params: Any) -> None:
        await self._socket.send_json({"id": next(self._ids), "method": method, "params": params})

    async def until(self, *words: str) -> None:
        """Wait until the page has received all of these since the last call."""
        self.received = ""
        async with asyncio.timeout(PATIENCE):
            while not all(word in self.received for word in words):
                message = json.loads((await self._socket.receive()).data)
                if message.get("method") == "Network.webSocketFrameReceived":
                    frame = message["params"]["response"]
                    data = base64.b64decode(frame["payloadData"]) if frame["opcode"] == 2 else b""
                    self.received += data.decode(errors="replace")
                elif message.get("method") == "Network.loadingFailed":
                    self.refused.append(message["params"].get("blockedReason", ""))


async def main(browser: str, address: str) -> None:
    with tempfile.TemporaryDirectory(prefix="kpf") as profile:
        words = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
        ]
        process = await asyncio.create_subprocess_exec(browser, *words, "about:blank", stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE), ClientSession() as session:
                while "DevTools listening on" not in (line := (await process.stderr.readline()).decode()):
                    assert line, "the browser has ended"
                port = line.rpartition(":")[2].partition("/")[0]
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    (target,) = [each for each in await answer.json() if each["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.call("Network.enable")
                    await page.call("Page.navigate", url=address)
                    await page.until("● active", "localhost:")
                    print("active")
                    for kind in ("mousePressed", "mouseReleased"):  # gives the terminal the focus
                        await page.call(
                            "Input.dispatchMouseEvent", type=kind, x=300, y=300, button="left", clickCount=1
                        )
                    for kind in ("keyDown", "keyUp"):
                        await page.call("Input.dispatchKeyEvent", type=kind, key="s", text="s", code="KeyS")
                    await page.until("■ stopped")
                    print("stopped")
                    print("refused:", *page.refused)
        finally:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
