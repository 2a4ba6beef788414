"""`python -m kpf_supervise.kpfctl` is kpfctl."""

from kpf_supervise.entry import kpfctl

kpfctl()
