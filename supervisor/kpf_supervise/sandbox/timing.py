"""The durations of events in the sandbox cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Timing:
    """All in seconds. May be changed while the cluster runs. The defaults are short; `real()` has measured values."""

    control: float = 0.02  # from a change to the controller's reaction
    create: float = 0.05  # a pod: from ADDED to Running
    ready: float = 0.05  # from Running to Ready
    notice: float = 0.1  # from a crash to the pod status that shows it
    restart: float = 0.3  # from a crash to the next process
    terminate: float = 1.0  # how long a process serves after SIGTERM (TERM_DELAY in a container's env overrides it)
    teardown: float = 0.05  # from the end of the process to the end of its network; connections are refused meanwhile
    delete: float = 0.2  # from the end of its network to DELETED
    collect: float = 0.5  # from DELETED to the runtime's "failed to find sandbox"
    bookmark: float = 60.0  # between the bookmarks of a watch
    # None: a tunnel passes on each side's end at once, including half-closes. A number acts like containerd 2.1: the
    # client's half-close isn't passed on, and this long after one direction ends, the other is ended too. So a pod's
    # close reaches the client a second late, and a half-closed client has a second to get its answer.
    linger: float | None = None

    @classmethod
    def real(cls) -> Timing:
        """As measured with kubelet and API server 1.36, containerd 2.1."""
        return cls(
            create=0.25,
            ready=0.5,
            notice=0.66,
            restart=0.74,
            terminate=2.0,
            teardown=0.2,
            delete=0.76,
            collect=20.0,
            linger=1.0,
        )
