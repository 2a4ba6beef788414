"""A line that has died, in kubectl's words as they were recorded after 42 s; a script takes kubectl's place."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kpf_supervise.api.server import Interrupted
from tests.api.reading import PODS, WEB, Folders, proxies, read_all, reading
from tests.conftest import NEWEST
from tests.program import until

LOSES = """\
#!{python}
import http.server, os, socketserver, sys
fresh = os.path.exists({mark!r})
open({mark!r}, "w").close()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "-"
    def log_message(self, *_): pass
    def do_GET(self):
        lost = not fresh and self.path != "/version"
        if lost and "watch" not in self.path:
            return self.send_error(500, "http2: client connection lost")
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\\r\\n{{}}\\n\\r\\n")
        if lost:
            print("ReverseProxy read error: http2: client connection lost", file=sys.stderr, flush=True)
            self.close_connection = True
        else:
            self.wfile.write(b"0\\r\\n\\r\\n")
    error_content_type, error_message_format = "text/plain", "%(message)s"

path = sys.argv[-1].partition("=")[2]
with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
    print("Starting to serve on", path, flush=True)
    server.serve_forever()
"""


@pytest.mark.parametrize("question", ["a stream", "an object"])
async def test_when_kubectl_says_that_its_connection_is_lost_a_fresh_one_is_asked_at_once(
    question: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = Folders(tmp_path_factory.mktemp("s") / "r")
    binary = tmp_path / "kubectl"
    binary.write_text(LOSES.format(python=sys.executable, mark=str(tmp_path / "mark")))
    binary.chmod(0o755)
    async with reading(replace(NEWEST, path=str(binary)), tmp_path / "config", folders) as api:
        assert await api.read("/version") == b"{}\n"
        (before,) = proxies()
        if question == "a stream":
            dead: list[bool] = []
            api.line.listeners.add(lambda: dead.append(api.line.cut_off))
            with pytest.raises(Interrupted):
                await read_all(api, f"{PODS}?watch=1")
            assert dead[0]
        assert await api.read(WEB) == b"{}\n"
        await until(lambda: before not in proxies())
