"""Job, batch and account records in Redis, and the scripts that alone may change them."""
