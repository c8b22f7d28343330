"""What the tests start and wait for: real servers, real processes, conditions."""
