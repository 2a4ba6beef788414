"""`python -m kpf_supervise` is kpf-supervise."""

from kpf_supervise.entry import kpf_supervise

kpf_supervise()
