"""Scrapes of metrics, parsed as Prometheus parses them."""

from prometheus_client.parser import text_string_to_metric_families

Scrape = dict[str, float]
"""The value of each series, by its name with labels, as in ``name{label="value"}``."""


def parse_scrape(text: str) -> Scrape:
    """Parse all series of a scrape; none may occur twice."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            series = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert series not in found, series
            found[series] = sample.value
    return found
