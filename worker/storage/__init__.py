"""Stores of files, and the local paths that other services may name."""
