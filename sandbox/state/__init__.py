"""The state in memory: accounts, sessions, uploads, renders and the call log."""
