"""Requests to hosts that users name, for source files and webhooks, except in private networks."""
