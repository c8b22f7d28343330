"""Requests to addresses that other people name: the guard, image sources, webhooks."""
