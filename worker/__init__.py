"""The engine: the video API, the ledger, the policy, and what a worker process is made of."""
