"""Requests to addresses that other people name: source files, webhooks, and their guard."""
