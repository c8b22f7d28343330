"""The clip: an H.264 file made from one picture."""
