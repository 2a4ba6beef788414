"""`make screenshots`: the README's pictures of the panel, made from the real program on the sandbox cluster."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
import trio

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS
from tests.program import get
from tests.terminal import in_terminal

COLUMNS, ROWS = 138, 22
WIDTH, HEIGHT = 8.4, 18  # pixels per character
THEMES = {
    "dark": {"default": "#d4d4d4", "": "#1e1e1e", "green": "#6cc070", "brown": "#d7a94b", "red": "#f0716f"}
    | {"cyan": "#56b6c2", "blue": "#61afef", "magenta": "#c678dd"},
    "light": {"default": "#333333", "": "#ffffff", "green": "#1a7f37", "brown": "#8a6100", "red": "#c4232b"}
    | {"cyan": "#0e7490", "blue": "#0550ae", "magenta": "#8250df"},
}
CONFIG = """
defaults: {reconnect: {initial: 40s, max: 40s}}
forwards:
  web: {target: service/web, ports: ["8080:http", "9090:echo"]}
  db: {target: statefulset/db, ports: "5432:http"}
  search: {selector: "app=search,tier=backend", ports: "9200", lazy: true}
  queue: {target: pod/db-0, ports: "5672:8080"}
  mail: {target: pod/pending, ports: "1025:8080"}
  api: {target: deployment/api, ports: "8081:80"}
"""


def svg(screen: pyte.Screen, theme: dict[str, str]) -> str:
    """The screen as a picture."""
    width, height = COLUMNS * WIDTH + 20, ROWS * HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}">',
        f'<rect width="100%" height="100%" rx="8" fill="{theme[""]}"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">',
    ]
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        at = 0
        for (colour, bold, reverse, line), group in groupby(cells, lambda c: (c.fg, c.bold, c.reverse, c.underscore)):
            text = "".join(cell.data for cell in group)
            x, y = 10 + at * WIDTH, 10 + row * HEIGHT
            at += len(text)
            ink = theme.get(colour, theme["default"])
            if reverse:
                box = f'x="{x:.1f}" y="{y}" width="{len(text) * WIDTH:.1f}" height="{HEIGHT}"'
                parts.append(f'<rect {box} fill="{ink}"/>')
                ink = theme[""]
            if text.strip():
                more = ' font-weight="bold"' * bold + ' text-decoration="underline"' * line
                parts.append(
                    f'<text x="{x:.1f}" y="{y + 13.5}" textLength="{len(text) * WIDTH:.1f}" fill="{ink}"{more}>'
                    f"{escape(text)}</text>"
                )
    return "\n".join([*parts, "</g>", "</svg>", ""])


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kpf") as temporary:
        home = Path(temporary)
        file = home / "shop.yaml"
        file.write_text(CONFIG)
        async with open_cluster(home) as cluster:
            environment = {**os.environ, "HOME": temporary, "KUBECONFIG": str(cluster.kubeconfig)}
            command = [sys.executable, "-m", "kpf_supervise", str(file), "--kubectl", KUBECTLS[-1].path]
            async with in_terminal(command, environment, COLUMNS, ROWS) as terminal:
                await terminal.shows("4 active")
                await terminal.shows("1 failed")
                await get(8080, "/bytes/1200000")
                cluster.faults.refuse_upgrade(503)
                terminal.type("\x1b[B" * 4 + "r")
                await terminal.shows("reconnecting 1/3")
                async with await trio.open_tcp_stream("127.0.0.1", 8080):
                    async with await trio.open_tcp_stream("127.0.0.1", 1025):
                        terminal.type("\x1b[H" + "\x1b[B" * 6)
                        await terminal.shows(lambda text: re.search(" mail .* 0 +1 ", text) is not None)
                        for size in (300_000, 700_000, 200_000, 900_000, 500_000):
                            await get(8080, f"/bytes/{size}")
                            await trio.sleep(1.0)  # from one reading of the counters to the next
                        await terminal.shows("3.8M")
                        await terminal.shows("█")
                        for name, theme in THEMES.items():
                            (folder / f"panel-{name}.svg").write_text(svg(terminal.screen, theme))
    print(f"{folder}/panel-dark.svg and panel-light.svg are made anew")


if __name__ == "__main__":
    trio.run(main, Path(__file__).parent.parent / "docs")
