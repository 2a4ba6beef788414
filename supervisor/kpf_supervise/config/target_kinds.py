"""The kinds of target, and the names that kubectl knows them by."""

from __future__ import annotations

from kpf_supervise.model import TARGET_KINDS

SHORT_NAMES = {
    "pod": ("po",),
    "service": ("svc",),
    "deployment": ("deploy",),
    "statefulset": ("sts",),
    "daemonset": ("ds",),
    "replicaset": ("rs",),
}
KINDS = {alias: kind for kind in TARGET_KINDS for alias in (kind, f"{kind}s", *SHORT_NAMES[kind])}
KINDS |= {f"{alias}.apps": kind for alias, kind in KINDS.items() if kind not in ("pod", "service")}
