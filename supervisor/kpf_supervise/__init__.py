"""Keeps Kubernetes port-forwards alive."""

# Not read from the installed package's metadata: after an upgrade, that is not the version of a running instance.
__version__ = "0.1.0"
