"""What is wrong with a value, in the words of the project."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from config.validation_messages import validation_message


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""


CASES = [
    (Annotated[float, Field(ge=1, le=60)], 0, "must be at least 1"),
    (Annotated[float, Field(ge=1, le=60)], 60.5, "must be at most 60"),
    (Annotated[float, Field(gt=0.5)], 0, "must be more than 0.5"),
    (Annotated[float, Field(lt=2)], 2, "must be less than 2"),
    (Annotated[float, Field(allow_inf_nan=False)], "nan", "must be a finite number"),
    (float, "ten", "must be a number"),
    (float, None, "must be a number"),
    (int, "ten", "must be a whole number"),
    (int, 1.5, "must be a whole number"),
    (bool, "maybe", "must be true or false (1 or 0)"),
    (str, 1, "must be a text"),
    (Annotated[str, Field(pattern="a")], "\ud800", "is not UTF-8 text"),
    (Annotated[str, Field(min_length=1)], "", "must not be empty"),
    (Annotated[str, Field(min_length=2)], "a", "must have at least 2 characters"),
    (Annotated[str, Field(max_length=2)], "abc", "must have at most 2 characters"),
    (Annotated[str, Field(pattern="^[a-z]$")], "1", "must match the pattern ^[a-z]$"),
    (Annotated[tuple[int, ...], Field(max_length=1)], (1, 2), "must have at most 1 entries"),
    (tuple[int, ...], 1, "must be a list"),
    (list[int], 1, "must be a list"),
    (dict[str, int], 1, "must be an object"),
    (Literal["a", "b"], "c", "must be 'a' or 'b'"),
    (Model, 1, "must be an object"),
    (Model, {"color": 1}, "is unknown"),
    (bytes, 1, "Input should be a valid bytes"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), CASES)
def test_each_common_type_of_error(annotation: Any, value: object, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(annotation).validate_python(value)
    (problem,) = raised.value.errors()
    assert validation_message(problem) == message
