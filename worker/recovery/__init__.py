"""Recovery: whether the ledger belongs to its journal, and rebuilding it from the journal."""
