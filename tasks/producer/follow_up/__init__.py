"""Texts of people about a job: answers to them, uploads, and edits, which are new jobs."""
