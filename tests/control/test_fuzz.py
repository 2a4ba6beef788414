"""Ten thousand malformed messages to a running instance: each gets its error, and the next good one its answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kpf_supervise.control.methods import METHODS

EXAMPLES, EACH = 2_000, 5  # hypothesis' examples, and the messages in each

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
    st.integers(max_value=-1),
    st.integers(min_value=65_536),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["", "-x", "a/../b", "UPPER CASE", "\x00", "\ud800", "x" * 300]),
)
GOOD = {"resource_type": "pod", "name": "a", "local_port": 0, "remote_port": 80}


@st.composite
def wrong_start(draw: st.DrawFn) -> dict[str, Any]:
    params: dict[str, Any] = dict(GOOD)
    name = draw(st.sampled_from(sorted(GOOD)))
    if draw(st.booleans()):
        del params[name]
    else:
        params[name] = draw(junk)
    return {"jsonrpc": "2.0", "id": draw(st.integers()), "method": "portforward:start", "params": params}


unknown = st.text(max_size=20).filter(lambda name: name not in METHODS)  # it does hit on names that stand in the code
near_misses = st.one_of(
    wrong_start(),
    st.fixed_dictionaries(
        {
            "jsonrpc": st.just("2.0"),
            "id": st.one_of(st.integers(), st.text(max_size=5)),
            "method": st.sampled_from(sorted(METHODS)),
            "params": st.one_of(junk.filter(lambda value: value != {}), st.just({"nosuch": 1})),
        }
    ),
    st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "id": st.integers(), "method": unknown}),
    st.fixed_dictionaries({"jsonrpc": junk, "id": junk, "method": st.sampled_from(sorted(METHODS))}),
    st.dictionaries(st.sampled_from(["jsonrpc", "id", "params"]), junk, max_size=3),
    junk,
)
malformed = st.one_of(
    near_misses.map(lambda value: json.dumps(value).encode()),
    st.lists(near_misses, min_size=1, max_size=3).map(lambda value: json.dumps(value).encode()),
    st.binary(min_size=1, max_size=100).map(lambda data: b"\xff" + data.replace(b"\n", b"")),
    st.text(min_size=1, max_size=50).map(lambda text: ("{" + text.replace("\n", "")).encode(errors="replace")),
    st.sampled_from([b"[]", b"{}", b"NaN", b"1e999", b"[" * 20_000, b'{"id":1e999}', b'"', b"9" * 5_000]),
)


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
    @given(st.lists(malformed, min_size=EACH, max_size=EACH))
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
    assert refused >= 10_000


def as_list(answer: Any) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]


def test_a_line_without_an_end_is_cut_off(instance_socket: Path) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(instance_socket))
        data = b"x" * 1_000_000
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            peer.sendall(data)
