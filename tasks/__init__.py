"""The queue's face: enqueue image jobs and follow them, from Python and from the command line."""

from tasks.api import cancel, get, redo, release, retry, say, submit, submit_batch, wait
from tasks.errors import KeyConflict, RedisUnavailable, UnknownId
from tasks.follow_up import Answer, NotSayable
from tasks.payload import Batch, ImageJob, InvalidPayloadError, Result
from tasks.producer import Submission

__all__ = [
    "Answer",
    "Batch",
    "ImageJob",
    "InvalidPayloadError",
    "KeyConflict",
    "NotSayable",
    "RedisUnavailable",
    "Result",
    "Submission",
    "UnknownId",
    "cancel",
    "get",
    "redo",
    "release",
    "retry",
    "say",
    "submit",
    "submit_batch",
    "wait",
]
