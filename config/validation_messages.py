"""What pydantic finds wrong with a value, in the words of this project.

Payloads, settings and the options of the command line are all validated by pydantic.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_TEXTS: Final[Mapping[str, str]] = {
    "bool_parsing": "must be true or false (1 or 0)",
    "bool_type": "must be true or false (1 or 0)",
    "dict_type": "must be an object",
    "extra_forbidden": "is unknown",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a text",
    "string_unicode": "is not UTF-8 text",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
}
"""The message for each type of error. Names in braces are of the error's context."""


def validation_message(problem: ErrorDetails) -> str:
    """Return what is wrong with a value, without repeating it; pydantic's text for rare types.

    Args:
        problem: One of ``ValidationError.errors()``, with its context.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    error = context.get("error")
    if isinstance(error, ValidationError):
        # A list of the command line validates each of its values by itself.
        return validation_message(error.errors(include_url=False, include_input=False)[0])
    if error is not None:
        return str(error)
    if kind == "string_too_short":
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} characters"
    if kind not in _TEXTS:
        return problem["msg"]
    return _TEXTS[kind].format_map({name: _shown(value) for name, value in context.items()})


def _shown(value: Any) -> str:  # noqa: ANN401 - pydantic's type of a context
    """Return a bound without a fraction that is zero: 60, and not 60.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
