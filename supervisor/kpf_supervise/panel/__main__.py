"""`python -m kpf_supervise.panel --socket PATH` shows the instance that serves PATH; kpf-supervise runs it beside
itself. The exit codes are in `ending`."""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from kpf_supervise.panel_state.ending import FAILED, NO_TEXTUAL, QUIT


def show(socket: Path, own: bool) -> tuple[int, str]:
    """Show the panel until it ends. Returns the exit code, and why there was nothing to show. Raises ImportError if
    Textual can't be loaded. After a bug, the traceback is printed."""
    from kpf_supervise.panel.program import Panel
    from kpf_supervise.panel_state.link import Link

    panel = Panel(Link(socket), own)
    code = panel.run()
    if panel._exception is not None:
        traceback.print_exception(panel._exception)
        return FAILED, ""
    return code or QUIT, panel.trouble


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kpf_supervise.panel")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--own", action="store_true", help="quitting it ends the instance")
    given = parser.parse_args()
    try:
        code, trouble = show(given.socket, given.own)
    except ImportError as error:
        print(error, file=sys.stderr)
        return NO_TEXTUAL
    if trouble:
        print(trouble, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
