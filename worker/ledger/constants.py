"""Constants of the Python code as Lua definitions, so that the scripts use the same values."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from worker.ledger.model.accounts import FIRST_WINDOW
from worker.ledger.model.jobs import MAX_TURNS, VERSION
from worker.ledger.model.states import (
    ENDS,
    POISON_REMEDY,
    PRIORITY_WEIGHTS,
    RUNNING,
    SESSION_STATES,
    UNDECIDED,
    State,
)

POLL_GRACE_MS: Final = 10_000
"""After which a poll that no worker has claimed in a group becomes due as a step of its own."""


def _table(values: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{name} = {value}" for name, value in values.items()) + "}"


def _set(names: Iterable[str]) -> str:
    return _table(dict.fromkeys(sorted(names), "true"))


LUA_CONSTANTS: Final = f"""
local PRIORITY_WEIGHTS = {_table(PRIORITY_WEIGHTS)}
local STATES = {_set(State)}
local RUNNING = {_set(RUNNING)}
local ENDS = {_set(ENDS)}
local SESSION_STATES = {_set(SESSION_STATES)}
local UNDECIDED = {_set(UNDECIDED)}
local POISON_REMEDY = {json.dumps(POISON_REMEDY)}
local MAX_TURNS = {MAX_TURNS}
local RECORD_VERSION = {VERSION}
local FIRST_WINDOW = {FIRST_WINDOW}
local POLL_GRACE = {POLL_GRACE_MS}
"""
"""Definitions that precede every script."""
