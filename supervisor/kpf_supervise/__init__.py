"""Keeps Kubernetes port-forwards alive."""

# in the code itself: what the environment says of itself may be of another version once that was upgraded
__version__ = "0.1.0"
