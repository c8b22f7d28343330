"""A local stand-in of the video API: it speaks the same wire and renders real MP4 files.

It holds its accounts, sessions and ledger in memory: a restart begins anew.
"""
