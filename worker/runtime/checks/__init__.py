"""Checks of Redis, the payment journal and the stores, which the worker repeats."""
