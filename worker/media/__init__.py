"""The files that jobs bring, and finished clips: detected by content, checked, made fit for upload.

All of it blocks: call it through `worker.resources.offload`.
"""
