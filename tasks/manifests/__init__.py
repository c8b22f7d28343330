"""Manifests: folders and files of rows that are checked and submitted as a batch."""
