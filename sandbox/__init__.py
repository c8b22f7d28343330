"""A local stand-in of the video API: it answers the API's calls and renders real MP4 files.

Accounts, sessions and the ledger are kept in memory: a restart begins without them.
"""
