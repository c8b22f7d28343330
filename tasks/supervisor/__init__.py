"""The supervisor process, which starts, restarts and stops several worker processes."""
