"""Thousands of malformed messages to a running instance: each gets its error, and the next good one its answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kpf_supervise.control.methods import METHODS
from tests.anything import EXAMPLES, RANDOM, made, some_bytes, text

pytestmark = RANDOM

EACH = 5  # messages over one connection

GOOD = {"resource_type": "pod", "name": "a", "local_port": 0, "remote_port": 80}
WHOLE = [b"[]", b"{}", b"NaN", b"1e999", b"[" * 20_000, b'{"id":1e999}', b'"', b"9" * 5_000]


def junk(random: Random) -> Any:
    """What no parameter may be."""
    return random.choice(
        [
            None,
            True,
            False,
            random.uniform(0.1, 0.9) + random.randint(-1000, 1000),
            random.randint(-(2**70), -1),
            random.randint(65_536, 2**70),
            [random.randint(-9, 9) for _ in range(random.randrange(4))],
            {text(random, 3): random.randint(-9, 9) for _ in range(random.randrange(3))},
            random.choice(["", "-x", "a/../b", "UPPER CASE", "\x00", "\ud800", "x" * 300]),
        ]
    )


def near_miss(random: Random) -> Any:
    """Almost a message."""
    id, method = random.choice([random.randint(-(2**70), 2**70), text(random, 5)]), random.choice(sorted(METHODS))
    match random.randrange(6):
        case 0:
            params: dict[str, Any] = dict(GOOD)
            name = random.choice(sorted(GOOD))
            del params[name]
            if random.randrange(2):
                params[name] = junk(random)
            return {"jsonrpc": "2.0", "id": id, "method": "portforward:start", "params": params}
        case 1:
            return {"jsonrpc": "2.0", "id": id, "method": method, "params": junk(random) or {"nosuch": 1}}
        case 2:
            return {"jsonrpc": "2.0", "id": id, "method": f"{text(random)}?"}
        case 3:
            return {"jsonrpc": junk(random), "id": junk(random), "method": method}
        case 4:
            names = random.sample(["jsonrpc", "id", "params"], random.randrange(4))
            return {name: junk(random) for name in names}
    return junk(random)


def malformed(random: Random) -> bytes:
    match random.randrange(5):
        case 0:
            return json.dumps(near_miss(random)).encode()
        case 1:
            return json.dumps([near_miss(random) for _ in range(random.randint(1, 3))]).encode()
        case 2:
            return b"\xff" + some_bytes(random, 100).replace(b"\n", b"")
        case 3:
            return ("{" + text(random, 50).replace("\n", "")).encode(errors="replace")
    return random.choice(WHOLE)


def messages(random: Random) -> list[bytes]:
    return [malformed(random) for _ in range(EACH)]


@pytest.fixture(scope="module")
def instance_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of an instance that needs no cluster, since nobody connects to its one forward."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "config.yaml").write_text('forwards: {it: {target: service/web, ports: ":http", lazy: true}}')
    path = Path(f"/tmp/kpf-fuzz-{os.getpid()}.sock")
    process = subprocess.Popen(
        [sys.executable, "-m", "kpf_supervise", str(folder / "config.yaml"), f"--socket={path}"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
    )
    assert process.stderr is not None
    assert b"idle" in process.stderr.readline()
    yield path
    process.terminate()
    assert process.wait(20) == 0
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_malformed_messages_get_errors_and_the_next_good_one_its_answer(instance_socket: Path) -> None:
    refused = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # to shrink a hundred messages takes far longer than to read them
        suppress_health_check=list(HealthCheck),
    )
    @given(made(messages))
    def converse(messages: list[bytes]) -> None:
        nonlocal refused
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(str(instance_socket))
            answers = peer.makefile("rb")
            for message in messages:
                peer.sendall(message + b"\n")
                for answer in as_list(json.loads(answers.readline())):
                    assert answer["jsonrpc"] == "2.0"
                    assert answer["error"]["code"] <= -32001
                    assert answer["error"]["message"]
                    refused += 1
            peer.sendall(b'{"jsonrpc": "2.0", "id": "good", "method": "portforward:list"}\n')
            good = json.loads(answers.readline())
            answers.close()
        assert (good["id"], [each["id"] for each in good["result"]]) == ("good", ["it"])

    converse()
    assert refused >= EXAMPLES * EACH


def as_list(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]


def test_a_line_without_an_end_is_cut_off(instance_socket: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(instance_socket))
        data = b"x" * 1_000_000
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            peer.sendall(data)
