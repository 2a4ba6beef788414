"""The words of a pod reach the terminal as text: no escape sequence is obeyed, and none of them forges a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS
from tests.program import supervising

FORGED = "Odd\x1b]0;owned\x07\n21:00:00 web active\u202e"
SHOWN = "Odd\ufffd]0;owned\ufffd 21:00:00 web active\ufffd"
WORDS: dict[str, dict[str, Any]] = {
    "a container's reason to wait": {"containerStatuses": [{"state": {"waiting": {"reason": FORGED}}}]},
    "a condition": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "No", "message": FORGED}]},
    "the pod's own reason": {"phase": "Failed", "reason": FORGED},
}


@pytest.mark.parametrize("where", WORDS)
async def test_a_pods_own_words_are_one_line_of_text(where: str, tmp_path: Path) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["status"] = {"phase": "Pending", **WORDS[where]}

    config = 'forwards: {it: {target: pod/pending, ports: "0:80"}}'
    async with open_cluster(tmp_path) as cluster:
        cluster.store.update("pods", "dev", "pending", change)
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config, "--log-format=text") as instance:
            await instance.told(lambda: any("waiting" in line for line in instance.output))
            shown = [line for line in instance.output if "waiting" in line]
            for words in (["events"], ["logs", "it"], ["list"], ["list", "-o", "wide"], ["list", "-o", "yaml"]):
                done = await instance.ctl(*words)
                shown += [line for line in done.stdout.split("\n") if "waiting" in line or "owned" in line]
                assert "\x1b" not in done.stdout
                assert "\n21:00:00 web" not in done.stdout
            assert len([line for line in shown if SHOWN in line]) >= 5
            assert all(map(str.isprintable, shown))
            assert not any(line.startswith("21:00:00 web") for line in instance.output)
