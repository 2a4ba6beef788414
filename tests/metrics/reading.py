"""Metrics as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPEN = "application/openmetrics-text;version=1.0.0"  # what it asks for


def parsed(text: str) -> dict[str, Metric]:
    """OpenMetrics, by name. Raises ValueError where the text breaks its rules."""
    return {each.name: each for each in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
