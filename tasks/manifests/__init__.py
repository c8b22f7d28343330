"""Manifests: rows that are read, checked and submitted as a batch."""
