"""Recovery after a loss of Redis: whether the ledger belongs to its journal, and rebuilding it.

It has no part in the death of a worker, whose jobs are dispatched again when their leases end.
"""
