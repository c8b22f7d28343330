"""Celery messages as they lie in a Redis list: whole, with parts replaced, or mutated."""

import base64
import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from tests.support.mutations import mutated

# Refused where it is still whole, so that it never becomes a job.
_REFUSED: Final = json.dumps([[{"image": "cat.jpg", "seconds": 900}], {}, {}]).encode()


def raw_message(
    body: bytes = b'[[{"image":"SECRET"}],{},{}]',
    content_type: str = "application/json",
    headers: object = None,
    properties: object = None,
) -> bytes:
    """A message in the form in which Celery writes it, with parts replaced."""
    task = {"lang": "py", "task": "tasks.submit", "id": str(uuid4())}
    if isinstance(headers, dict):
        headers = {**task, **headers}
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": task if headers is None else headers,
            "properties": properties
            if properties is not None
            else {
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "reelqueue"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    ).encode()


def mutated_submission(chance: random.Random) -> bytes:
    """A submission with changed bytes, or with values of other types, in its body or around it."""
    match chance.randrange(4):
        case 0:
            return raw_message(mutated(chance, _REFUSED))
        case 1:
            return mutated(chance, raw_message(_REFUSED))
        case 2:
            return raw_message(json.dumps(_with_odd_values(chance, json.loads(_REFUSED))).encode())
        case _:
            options = dict.fromkeys(_OPTIONS)
            message = json.loads(raw_message(_REFUSED, headers={**options, "argsrepr": "()"}))
            return json.dumps(_with_odd_values(chance, message)).encode()


_OPTIONS: Final = (
    *("eta", "expires", "retries", "timelimit", "root_id", "parent_id", "group", "group_index"),
    *("compression", "ignore_result", "replaced_task_nesting", "stamped_headers", "origin"),
)
_ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 1e308, 10**30, "", "x", "\x00", "\ud83d", "a\nb", "2026-01-01", "é" * 300),
    *([], {}, [[]], [None], {"task": "x"}, [{"task": "tasks.submit"}], {"": {}}, [1] * 100),
)


def _with_odd_values(chance: random.Random, value: Any) -> Any:
    """Replace, remove or add some values anywhere in a structure."""
    for _ in range(chance.randint(1, 3)):
        place = chance.choice(list(_places(value)))
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        name = chance.choice(names) if names else None
        if name is None or chance.random() < 0.1:
            extra = copy.deepcopy(chance.choice(_ODD))
            if isinstance(place, list):
                place.append(extra)
            else:
                place["odd"] = extra
        elif chance.random() < 0.2:
            del place[name]
        else:
            place[name] = copy.deepcopy(chance.choice(_ODD))
    return value


def _places(value: Any) -> Iterator[Any]:
    """The structure itself, and all structures in it."""
    yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from _places(inner)
