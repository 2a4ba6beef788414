"""How kpfctl prints forwards, other than as tables."""

from __future__ import annotations

import json
import sys
from typing import Any

Forwards = list[dict[str, Any]]


def document(output: str, forwards: Forwards) -> str:
    if output == "json":
        return json.dumps(forwards, indent=2, ensure_ascii=not takes_all()) + "\n"
    if output == "name":
        return "".join(f"{each['id']}\n" for each in forwards)
    import yaml

    return yaml.safe_dump(forwards, sort_keys=False, allow_unicode=takes_all(), explicit_start=True)


def takes_all() -> bool:
    """Whether stdout can encode every character. If not, JSON and YAML escape the others."""
    return sys.stdout.encoding.lower().startswith("utf")
