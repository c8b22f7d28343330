"""A local stand-in of the video API: it replies to the API's calls and renders real MP4 files.

Accounts, sessions and the log of calls are kept in memory, and lost when the process ends.
"""
