"""The same work without this service: small programs that a measurement compares it with."""
