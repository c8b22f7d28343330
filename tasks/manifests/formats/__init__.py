"""Formats: the lines of each kind of manifest, and files of rejected rows."""
