"""The queue's face: enqueue image jobs and follow them, from Python and from the command line."""

from tasks.api import cancel, get, redo, release, retry, say, submit, submit_batch, wait
from tasks.producer.edits import Answer, NotSayable
from tasks.producer.producer import Submission
from tasks.schema.errors import KeyConflict, RedisUnavailable, UnknownId
from tasks.schema.payload import Batch, ImageJob, InvalidPayloadError, Result

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
