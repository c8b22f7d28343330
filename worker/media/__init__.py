"""Checks and preparation of the files of a job for upload, and inspection of finished clips.

File types are detected by content. All functions block: call them through
`worker.resources.offload`.
"""
