"""The embedded sandbox cluster: a Kubernetes API server on loopback for real kubectl, with pods that really serve."""

from supervisor.sandbox.cluster import Cluster, open_cluster
from supervisor.sandbox.faults import Faults
from supervisor.sandbox.timing import Timing

__all__ = ["Cluster", "Faults", "Timing", "open_cluster"]
