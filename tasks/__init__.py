"""The queue's face: enqueue image jobs and follow them, from Python and from the command line."""

from tasks.api import cancel, get, release, retry, submit, submit_batch, wait
from tasks.payload import Batch, ImageJob, InvalidPayloadError, Result
from tasks.producer import KeyConflict, RedisUnavailable, Submission, UnknownId

__all__ = [
    "Batch",
    "ImageJob",
    "InvalidPayloadError",
    "KeyConflict",
    "RedisUnavailable",
    "Result",
    "Submission",
    "UnknownId",
    "cancel",
    "get",
    "release",
    "retry",
    "submit",
    "submit_batch",
    "wait",
]
