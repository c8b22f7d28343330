"""Rendering of clips: H.264 files, each of one picture."""
