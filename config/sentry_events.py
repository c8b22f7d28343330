"""Completes the events and breadcrumbs that Sentry makes of log lines.

A structlog line reaches Sentry as a dictionary. Its event name becomes the message, by which Sentry
groups. The fields in `_TAGS`, which identify the job, become tags; the others become context.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

_TAGS: Final = frozenset(
    {
        *("job_id", "batch_id", "account", "state", "reason", "part", "thread", "webhook_id"),
        "exception_type",
    }
)
_MAX_TAG: Final = 200
"""The longest tag that Sentry accepts."""
_NOT_FIELDS: Final = frozenset({"event", "level", "logger", "timestamp", "exc_info", "stack_info"})
"""Keys of a structlog line that Sentry reads from the log record itself."""
_LAST_LINE: Final = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)")


def enrich_event(event: dict[str, Any], hint: Mapping[str, Any]) -> None:
    """Set an event's message, tags and context from its log line, if it was made of one."""
    found = _fields(hint)
    if found is None:
        return
    name, fields = found
    event["logentry"] = {"message": name, "params": []}
    event.pop("message", None)
    extra = event.get("extra") or {}
    event["extra"] = {key: value for key, value in extra.items() if not key.startswith("_")}
    if kind := _exception_type(str(fields.get("exception") or "")):
        fields["exception_type"] = kind
        # Without a fingerprint, all errors that are logged by one line of code would be one issue.
        event["fingerprint"] = [name, kind]
    tags = event.get("tags") or {}
    event["tags"] = tags | {key: str(fields[key])[:_MAX_TAG] for key in _TAGS & fields.keys()}
    rest = {key: value for key, value in fields.items() if key not in _TAGS}
    if rest:
        event["contexts"] = (event.get("contexts") or {}) | {"log": rest}


def enrich_breadcrumb(crumb: dict[str, Any], hint: Mapping[str, Any]) -> None:
    """Set a breadcrumb's message and data from its log line, if it was made of one."""
    found = _fields(hint)
    if found is not None:
        crumb["message"], crumb["data"] = found


def _fields(hint: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the event name and the fields of a structlog line; None for other events."""
    record = hint.get("log_record")
    if not isinstance(record, logging.LogRecord) or not isinstance(record.msg, dict):
        return None
    name = str(record.msg.get("event", ""))
    return name, {key: value for key, value in record.msg.items() if key not in _NOT_FIELDS}


def _exception_type(text: str) -> str | None:
    """Return the type in the last line of a formatted traceback that starts with one."""
    for line in reversed(text.splitlines()):
        if found := _LAST_LINE.match(line):
            return found[1]
    return None
