"""Records of the ledger as frozen dataclasses, and the states that they can have."""
