"""The panel's connection to the control socket, with a pretended instance behind a real socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.panel_state.link import Link, Lost
from tests.panel.instance import played


@played
async def test_an_answer_is_taken_before_the_notifications_that_follow_it(tmp_path: Path) -> None:
    """They tell what is newer than the answer, although all come in one piece."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = json.loads(await reader.readline())["id"]
        answer = {"jsonrpc": "2.0", "id": id, "result": "before"}
        after = [{"jsonrpc": "2.0", "method": "event", "params": {"number": number}} for number in range(2)]
        writer.write(b"".join(json.dumps(each).encode() + b"\n" for each in (answer, *after)))
        await writer.drain()
        writer.close()

    taken: list[Any] = []
    link = Link(tmp_path / "socket")
    link.heard = lambda method, told: taken.append((method, told["number"]))
    async with await asyncio.start_unix_server(answer, tmp_path / "socket"):
        await link.connect()
        listening = asyncio.ensure_future(link.listen())
        taken.append(await link.call("subscribe"))
        await listening
    assert taken == ["before", ("event", 0), ("event", 1)]
    with pytest.raises(Lost):
        await link.call("info")
