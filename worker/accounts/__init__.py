"""Accounts of the video API: tokens, balances, and missing credits."""
