"""Who lists a forward."""

from __future__ import annotations

from enum import StrEnum


class Origin(StrEnum):
    """Who lists a forward. If several list one of the same id, the first of these counts."""

    FILE = "file"
    KPFCTL = "kpfctl"  # or the panel: started over the control socket
    EACH = "each"  # a forward for each pod
    SERVICES = "services"  # those of whole namespaces
    PROXY = "proxy"  # the names that its clients use

    def outranks(self, other: Origin) -> bool:
        """Whether its forwards get the local ports of those of `other`."""
        order = [Origin.FILE, *SOURCES]
        return self in order and other in SOURCES and order.index(self) < order.index(other)


# They add and remove forwards by themselves, and leave their local ports to those before them.
SOURCES = (Origin.EACH, Origin.SERVICES, Origin.PROXY)
