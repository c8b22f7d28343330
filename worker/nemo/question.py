"""Whether a text of the agent asks the user something. Pure: English and Chinese."""

import re
from typing import Final

_LAST_SENTENCES: Final = 3
"""How many sentences are examined: options or a closing phrase may follow a question."""

_OPTION: Final = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)、:]|[A-Da-d][.)、])\s*\S.*$", re.MULTILINE)
"""A line of a list, such as "- 5 seconds" or "2) 10 seconds"."""
_SENTENCE: Final = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_REQUEST: Final = re.compile(
    r"^\W*(?:(?:please|kindly)\s+(?:tell|choose|pick|select|specify|confirm|clarify|provide|describe|"
    r"share|upload|send|answer|let me know)\b|let me know\b|tell me\b|i need to know\b|"
    r"(?:could|can|would|which|what|how)\b.*[:：]$|"
    r"请(?:问|告诉|选择|确认|提供|上传|说明|描述|指定|补充)|(?:您|你)(?:想|希望|需要|要)(?:我|哪|什么|怎)|"
    r".*(?:吗|呢)\W*$)",
    re.IGNORECASE,
)


def asks_question(text: str) -> bool:
    """Return whether one of the last sentences of a text is a question, or requests an answer.

    It is False for a text that announces work, such as "I will animate the picture."
    """
    without_options = _OPTION.sub("", text)
    sentences = [found.group().strip() for found in _SENTENCE.finditer(without_options)]
    last = [sentence for sentence in sentences if re.search(r"\w", sentence)][-_LAST_SENTENCES:]
    return any(sentence.endswith(("?", "？")) or _REQUEST.match(sentence) for sentence in last)
