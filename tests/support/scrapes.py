"""What a scrape of metrics says, read as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

Scrape = dict[str, float]
"""A value for each series, by its name with its labels, as in ``name{label="value"}``."""


def parse_scrape(text: str) -> Scrape:
    """All series of a scrape; none may occur twice."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            series = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert series not in found, series
            found[series] = sample.value
    return found
