"""Prometheus metrics and the HTTP server that exposes them."""
