"""`python -m kpf_supervise.kpfctl` runs kpfctl."""

from kpf_supervise.entry import kpfctl

kpfctl()
