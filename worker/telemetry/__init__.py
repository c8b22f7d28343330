"""Metrics for Prometheus, with their HTTP server, and the events by which Flower shows jobs."""
