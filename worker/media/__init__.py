"""The media that jobs bring: recognised by content, checked, cleaned, made fit for upload.

All of it blocks: call it through `worker.resources.offload`.
"""

from worker.media.attachments import check_attachment
from worker.media.image_headers import MOST_MEMORY, memory_for
from worker.media.images import contrast_of, prepare_image
from worker.media.prepared_file import PreparedFile, PreparedImage
from worker.media.refusals import MAX_SOURCE_BYTES, MediaRefused

__all__ = [
    "MAX_SOURCE_BYTES",
    "MOST_MEMORY",
    "MediaRefused",
    "PreparedFile",
    "PreparedImage",
    "check_attachment",
    "contrast_of",
    "memory_for",
    "prepare_image",
]
