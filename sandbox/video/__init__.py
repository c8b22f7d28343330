"""The clips: H.264 files, each made from one picture."""
