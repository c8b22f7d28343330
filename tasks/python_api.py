"""The functions and classes that the package ``tasks`` exports."""

from tasks.manifests import batch_submission
from tasks.producer import actions, queries, submissions
from tasks.producer import redo as redo_
from tasks.producer.follow_up import edits
from tasks.producer.follow_up.answers import Answer
from tasks.producer.producer import with_default_producer
from tasks.schema.batch import Batch
from tasks.schema.errors import (
    InvalidPayloadError,
    KeyConflict,
    NotSayable,
    RedisUnavailable,
    UnknownId,
)
from tasks.schema.image_job import ImageJob
from tasks.schema.result import Result
from tasks.schema.submission import Submission

submit = with_default_producer(submissions.submit)
submit_batch = with_default_producer(batch_submission.submit_batch)
get = with_default_producer(queries.get)
wait = with_default_producer(queries.wait)
say = with_default_producer(edits.say)
redo = with_default_producer(redo_.redo)
cancel = with_default_producer(actions.cancel)
retry = with_default_producer(actions.retry)
release = with_default_producer(actions.release)

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
