"""Stores of files, and the paths and store addresses that other services may name."""
