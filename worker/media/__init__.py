"""The files that jobs bring: detected by content, checked, cleaned, made fit for upload.

All of it blocks: call it through `worker.resources.offload`.
"""

from worker.media.attachments import check_attachment
from worker.media.image_headers import MAX_IMAGE_MEMORY, memory_needed
from worker.media.images import measure_contrast, prepare_image
from worker.media.prepared_file import PreparedFile, PreparedImage
from worker.media.refusals import MAX_SOURCE_BYTES

__all__ = [
    "MAX_IMAGE_MEMORY",
    "MAX_SOURCE_BYTES",
    "PreparedFile",
    "PreparedImage",
    "check_attachment",
    "measure_contrast",
    "memory_needed",
    "prepare_image",
]
