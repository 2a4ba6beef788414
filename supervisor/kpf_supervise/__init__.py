"""Keeps Kubernetes port-forwards alive."""

from kpf_supervise.version import VERSION as __version__

__all__ = ["__version__"]
