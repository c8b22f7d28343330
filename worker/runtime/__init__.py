"""What a worker process does: boot steps, ticker, leases, and the checks before it may pay."""
