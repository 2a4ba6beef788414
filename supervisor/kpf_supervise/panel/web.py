"""The panel in a browser: textual-serve on this machine only, for whoever knows the address.

textual-serve alone runs its program for everyone who connects: any user of this machine, and any web page that the
user's browser shows. So this adds, before anything of it is reached:

- a token in the path, made anew at each start, without which nothing is there at all;
- the host names of this machine only: a web page can't reach us under a name of its own (DNS rebinding);
- no request that a foreign page has made, in particular no WebSocket;
- no foreign resources and no referrer, with which the address would leave the browser; and no frame around it.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import web
from textual_serve.server import Server

_HOST = "127.0.0.1"
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self' ws://{host}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PanelServer(Server):
    """Serves the panel of the instance at `socket`, at `address`."""

    def __init__(self, socket: Path, port: int) -> None:
        command = [sys.executable, "-P", "-m", "kpf_supervise.panel", "--socket", str(socket)]
        super().__init__(shlex.join(command), host=_HOST, port=port, title="kpf-supervise")
        self._token = secrets.token_urlsafe(32)

    @property
    def address(self) -> str:
        return f"{self.public_url}/{self._token}/"

    async def serve_until_cancelled(self, ready: Callable[[str], None]) -> None:
        """`ready` gets the address once it is served. Raises OSError if the port is taken."""
        outer = web.Application(middlewares=[self._guard])
        outer.add_subapp(f"/{self._token}", await self._make_app())
        runner = web.AppRunner(outer, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, _HOST, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self.public_url = f"http://{_HOST}:{self.port}"
            ready(self.address)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def on_startup(self, app: web.Application) -> None:
        """Nothing is printed."""

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = {f"{_HOST}:{self.port}", f"localhost:{self.port}"}
        origin = request.headers.get("Origin")
        if request.host not in hosts or (origin is not None and origin not in {f"http://{host}" for host in hosts}):
            raise web.HTTPForbidden(text="this panel is only for its own page, at the address that kpfctl has printed")
        token = request.path.split("/")[1]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise web.HTTPNotFound
        request["headers"] = {name: text.replace("{host}", request.host) for name, text in _HEADERS.items()}
        response = await handler(request)
        if not response.prepared:
            response.headers.update(request["headers"])
        return response


def serve(socket: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve the panel until SIGINT, SIGTERM or SIGHUP; with port 0 at any free one. Raises OSError."""

    async def until_signal() -> None:
        serving = asyncio.ensure_future(PanelServer(socket, port).serve_until_cancelled(ready))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_signal())
