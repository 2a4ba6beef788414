"""`python -m kpf_supervise` runs kpf-supervise."""

from kpf_supervise.entry import kpf_supervise

kpf_supervise()
