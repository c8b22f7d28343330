"""Every knob of the service, typed, bounded and described, read from the environment.

All durations are seconds and take fractions. A ``.env`` file in the working directory is read
too; the environment wins over it.
"""

import base64
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIN_KEY: Final = 24
MAX_KEY: Final = 64
"""Bytes of a key for webhooks, as the Standard Webhooks specification has it."""

Seconds = Annotated[float, Field(gt=0)]

CLIP_NAME_PLACE: Final = re.compile(r"\{(?P<field>[a-z_]+|data\.[^{}:]+)(?::0(?P<width>[1-9]))?\}")
"""A place in the template of a clip's name: ``{row}``, ``{row:04}``, ``{data.COLUMN}``."""
CLIP_NAME_FIELDS: Final = ("row", "image", "key", "job_id", "batch", "prompt")
"""What a place may name, besides the caller's own columns."""


def _words(value: object) -> object:
    """Read ``"a, b"`` as ``["a", "b"]``; anything that is not a string is left to pydantic."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


SHORTEST_PATIENCE: Final = 3.0
LONGEST_PATIENCE: Final = 10.0
"""Bounds of the wait for an answer of Redis, in seconds."""
LONGEST_CONNECTING: Final = 5.0
"""The longest wait for a connection to it, in seconds."""


class Settings(BaseSettings):
    """The settings of one process. Immutable; tokens and secrets are never shown by ``repr``."""

    model_config = SettingsConfigDict(
        env_prefix="REELQUEUE_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    # --- the video API -------------------------------------------------------------------
    api_url: str = Field(
        "https://mega-api-prod.nemovideo.ai",
        validation_alias=AliasChoices("NEMO_API_URL", "api_url"),
        description="Base URL of the video API.",
    )
    web_url: str = Field(
        "https://nemovideo.com",
        validation_alias=AliasChoices("NEMO_WEB_URL", "web_url"),
        description="Base URL of the links for people: claim, register.",
    )
    tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        validation_alias=AliasChoices("NEMO_TOKEN", "tokens"),
        description="Registered tokens, comma-separated; none: one anonymous token is asked for.",
    )
    client_id: str | None = Field(
        None,
        validation_alias=AliasChoices("NEMO_CLIENT_ID", "client_id"),
        description="Client id (a UUID) of the anonymous token; none: made once and kept in Redis.",
    )
    skill_platform: str | None = Field(
        None,
        validation_alias=AliasChoices("SKILL_SOURCE", "skill_platform"),
        description="Value of X-Skill-Platform; none: read off the install path.",
    )
    skill_version: str = Field(
        "1.0.0",
        validation_alias=AliasChoices("SKILL_VERSION", "skill_version"),
        description="Value of X-Skill-Version.",
    )

    # --- Redis -----------------------------------------------------------------------------
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Where the job records and the results live (redis:// or rediss://).",
    )
    broker_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("BROKER_URL", "broker_url"),
        description="Where the Celery queues live; none: the same as REDIS_URL.",
    )
    namespace: str = Field(
        "rq", pattern=r"^[A-Za-z0-9_.-]{1,32}$", description="Prefix of all keys in Redis."
    )

    # --- media -------------------------------------------------------------------------------
    media_url: str = Field(
        default_factory=lambda: Path("var/media").absolute().as_uri(),
        description="Store of the source images (any fsspec URL).",
    )
    output_url: str = Field(
        default_factory=lambda: Path("var/output").absolute().as_uri(),
        description="Store of the finished clips (any fsspec URL).",
    )
    clip_name: str = Field(
        "{row}-{image}",
        min_length=1,
        max_length=200,
        description="Template of the clips' names: row, image, key, job_id, batch, prompt, data.*",
    )
    media_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders from which other services may name files by path."
    )
    private_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Hosts in private ranges that images, clips and webhooks may reach."
    )

    # --- webhooks ----------------------------------------------------------------------------
    webhook_secret: SecretStr | None = Field(
        None,
        description="Secret that webhooks are signed with, whsec_…; none: no webhooks are sent.",
    )

    # --- work --------------------------------------------------------------------------------
    concurrency: int = Field(1000, ge=1, description="Slots of one worker process.")
    account_in_flight: int = Field(50, ge=1, description="The most messages at once for a token.")
    clip_cost: int = Field(100, ge=1, description="First estimate of a clip's price, in credits.")
    balance_seconds: Seconds = Field(60, description="How often the balance is read.")
    wakeup_cap: int = Field(
        500,
        ge=1,
        validation_alias=AliasChoices("REELQUEUE_WAKEUP_CAP", "REELQUEUE_HINT_CAP", "wakeup_cap"),
        description="Maximum number of wake-up messages in the Celery queue.",
    )
    result_days: float = Field(30, gt=0, description="How long finished records are kept, in days.")
    tombstone_days: float | None = Field(
        None, gt=0, description="How long a pruned job's key stays known, in days; none: for good."
    )

    # --- timing --------------------------------------------------------------------------------
    render_poll_seconds: Seconds = Field(30, description="Between two looks at a render.")
    render_max_polls: int = Field(10, ge=1, description="Looks at one render before it is slow.")
    stream_timeout_seconds: Seconds = Field(900, description="The longest one message may run.")
    stream_idle_seconds: Seconds = Field(600, description="The longest run of only heartbeats.")
    still_working_seconds: Seconds = Field(120, description="Between two «still working» notes.")
    settle_first_seconds: Seconds = Field(30, description="From a broken stream to a first look.")
    settle_seconds: Seconds = Field(60, description="Between two looks after a broken stream.")
    settle_checks: int = Field(5, ge=2, description="Unchanged looks before an outcome is unknown.")
    rate_limit_seconds: Seconds = Field(30, description="Cool-down after a 429 without a date.")
    lease_seconds: Seconds = Field(30, description="How long a worker owns a job unless it beats.")
    tick_seconds: Seconds = Field(0.5, description="Between two rounds of the ticker.")

    # --- operating -----------------------------------------------------------------------------
    sentry_dsn: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SENTRY_DSN", "sentry_dsn"),
        description="Sentry project; none: Sentry is off.",
    )
    log_format: Literal["console", "json"] = Field("console", description="Form of a log line.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe line that is written."
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of a worker's metrics; none: they are not served."
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="Address that the metrics are served on: no login."
    )

    @field_validator("tokens", "media_roots", "private_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _words(value)

    @field_validator("tombstone_days", "metrics_port", mode="before")
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("api_url", "web_url")
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("webhook_secret")
    @classmethod
    def _signing_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            text = value.get_secret_value()
            try:
                key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not text.startswith("whsec_") or not MIN_KEY <= len(key) <= MAX_KEY:
                raise ValueError(
                    "REELQUEUE_WEBHOOK_SECRET must be whsec_ and the base64 of 24 to 64 bytes"
                )
        return value

    @field_validator("clip_name")
    @classmethod
    def _known_places(cls, value: str) -> str:
        for place in CLIP_NAME_PLACE.finditer(value):
            field = place["field"]
            if field not in CLIP_NAME_FIELDS and not field.startswith("data."):
                raise ValueError(f"there is no {{{field}}}: use {', '.join(CLIP_NAME_FIELDS)}")
        if re.search(r"[{}/\\]", CLIP_NAME_PLACE.sub("", value)):
            raise ValueError("holds a brace without its other half, or a slash")
        return value

    @model_validator(mode="after")
    def _tick_within_the_lease(self) -> Self:
        # The ticker reads a pause of half a lease as an outage, and gives every owner grace.
        if self.tick_seconds * 4 > self.lease_seconds:
            raise ValueError(
                "REELQUEUE_TICK_SECONDS must be at most a quarter of REELQUEUE_LEASE_SECONDS"
            )
        return self

    @property
    def broker(self) -> SecretStr:
        """The broker's URL: ``BROKER_URL``, else ``REDIS_URL``."""
        return self.broker_url or self.redis_url

    @property
    def redis_patience(self) -> float:
        """Seconds of silence after which a connection to Redis counts as dead.

        A third of a lease: a beat that met a dead connection can go out anew before the lease ends.
        """
        return min(LONGEST_PATIENCE, max(SHORTEST_PATIENCE, self.lease_seconds / 3))

    @property
    def redis_connect_patience(self) -> float:
        """Seconds that a connection to Redis may take to be made."""
        return min(LONGEST_CONNECTING, self.redis_patience)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings once a process.

    Raises:
        pydantic.ValidationError: A value is out of its bounds; the message names the variable.
    """
    return Settings()
