"""Dry runs: what submitting a manifest would do and cost, and what would make better clips."""
