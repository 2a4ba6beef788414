"""The embedded sandbox cluster: a Kubernetes API server on loopback for real kubectl, with pods that serve traffic."""

from kpf_supervise.sandbox.cluster import Cluster, open_cluster
from kpf_supervise.sandbox.credential_plugin import CredentialPlugin
from kpf_supervise.sandbox.faults import Faults
from kpf_supervise.sandbox.kubeconfig import write_kubeconfig
from kpf_supervise.sandbox.timing import Timing

__all__ = ["Cluster", "CredentialPlugin", "Faults", "Timing", "open_cluster", "write_kubeconfig"]
