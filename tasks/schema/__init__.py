"""The public records: payloads, results and batches, their names, estimates and errors."""
