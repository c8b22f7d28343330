"""Accounts, projects, uploads and renders, held in memory."""
