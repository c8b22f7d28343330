"""The payment journal: a second record of every payment, in a file store outside Redis.

Whether a turn was paid is decided by an entry here, because Redis can be lost, flushed, restored
from a backup, or failed over to a replica that missed the last writes. This package uses neither
Redis nor the video API.
"""
