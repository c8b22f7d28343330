"""Dry runs: what submitting a manifest would do and cost, with suggestions for better clips."""
