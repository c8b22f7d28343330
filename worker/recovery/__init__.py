"""Recovery after a loss of Redis: whether the ledger belongs to its journal, and rebuilding it.

The death of a worker is no case for it: its jobs are dispatched again when their leases end.
"""
