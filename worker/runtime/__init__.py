"""The worker process: boot step, heartbeat, ticker, leases, and the checks before payments."""
