"""`python -m kpf_supervise.panel --socket PATH` shows the instance that serves PATH. kpf-supervise and kpfctl run it.

Exit codes: 0 the user quit; 1 a bug, with its traceback on stderr; 3 the instance has ended; 4 the terminal was closed;
5 Textual can't be loaded, with the reason on stderr; 128 + N ended by signal N.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

ENDED, NO_TEXTUAL = 3, 5


def show(socket: Path, own: bool) -> tuple[int, str]:
    """Show the panel until it ends. Returns the exit code, and why there was nothing to show. Raises ImportError if
    Textual can't be loaded. After a bug, the traceback is printed."""
    from kpf_supervise.panel.link import Link
    from kpf_supervise.panel.program import Panel

    panel = Panel(Link(socket), own)
    code = panel.run()
    if panel._exception is not None:
        traceback.print_exception(panel._exception)
        return 1, ""
    return code or 0, panel.trouble


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
