"""All settings of the service: typed, bounded, described, and read from the environment.

Settings are grouped by topic; the groups are not part of the names of the variables. Durations are
in seconds and accept fractions. Variables that the environment does not set are read from ``.env``
in the working directory.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.clip_name_template import check_template
from config.redis_address import RedisAddress, parse_redis_address
from config.setting_types import (
    CommaSeparated,
    Days,
    HeaderValue,
    Host,
    HttpUrl,
    MediaRoot,
    NoneIfEmpty,
    QueueName,
    RedisUrl,
    Seconds,
    SentryDsn,
    StoreUrl,
    Token,
    WebhookSecret,
)
from config.settings_source import GroupedVariables
from config.validation_messages import validation_message

MIN_REDIS_TIMEOUT: Final = 3.0
MAX_REDIS_TIMEOUT: Final = 10.0
MAX_REDIS_CONNECT_TIMEOUT: Final = 5.0

Durability = Literal["fsync", "journal"]


class _Group(BaseModel):
    """A group of settings. Each is read from ``REELQUEUE_<NAME>`` unless it names its variable."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: f"REELQUEUE_{name.upper()}"),
        populate_by_name=True,
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


class ApiSettings(_Group):
    """Video API."""

    url: HttpUrl = Field("https://mega-api-prod.nemovideo.ai", validation_alias="NEMO_API_URL")
    """Base URL of the video API."""
    web_url: HttpUrl = Field("https://nemovideo.com", validation_alias="NEMO_WEB_URL")
    """Base URL of the web pages where users claim a session or register."""
    tokens: Annotated[tuple[Token, ...], CommaSeparated] = Field((), validation_alias="NEMO_TOKEN")
    """Access tokens of registered accounts, comma-separated. If unset, the workers request one
    anonymous token, which pays for one clip."""
    client_id: Annotated[HeaderValue | None, NoneIfEmpty] = Field(
        None, validation_alias="NEMO_CLIENT_ID"
    )
    """Client ID (a UUID) for the anonymous token. If unset, one is generated and kept in Redis."""
    skill_platform: Annotated[HeaderValue | None, NoneIfEmpty] = Field(
        None, validation_alias="SKILL_SOURCE"
    )
    """Value of the X-Skill-Platform header. If unset, it is derived from the install path."""
    skill_version: HeaderValue = Field("1.0.0", validation_alias="SKILL_VERSION")
    """Value of the X-Skill-Version header."""
    clip_cost: int = Field(100, ge=1)
    """First estimate of the price of a clip, in credits."""


class RedisSettings(_Group):
    """Redis."""

    url: RedisUrl = Field(SecretStr("redis://127.0.0.1:6379/0"), validation_alias="REDIS_URL")
    """Redis server of the job records and results: redis://, rediss:// (TLS), unix:// or
    redis+sentinel://host:26379,host2:26379/mymaster/0."""
    broker_url: Annotated[RedisUrl | None, NoneIfEmpty] = Field(None, validation_alias="BROKER_URL")
    """Redis server of the Celery queues. If unset, the same as REDIS_URL."""
    namespace: str = Field("rq", pattern=r"^[A-Za-z0-9_.-]{1,32}$")
    """Prefix of all keys in Redis."""
    durability: Durability = "fsync"
    """fsync: pay only where Redis flushes each write to disk before it replies. journal: payments
    are protected by the payment journal alone, for managed servers without an append-only file."""
    replicas: int = Field(0, ge=0, le=100)
    """Replicas that must confirm each submission and each intent to pay, before a submission is
    answered and before the message is sent. 0: none."""
    queue: QueueName | None = None
    """Celery queue of `tasks.submit`. If unset, reelqueue, or reelqueue.NAMESPACE under another
    namespace than rq."""

    @property
    def address(self) -> RedisAddress:
        """The server of the records."""
        return parse_redis_address(self.url.get_secret_value())

    @property
    def broker_address(self) -> RedisAddress:
        """The server of the Celery queues: ``BROKER_URL``, or else ``REDIS_URL``."""
        return parse_redis_address((self.broker_url or self.url).get_secret_value())

    @property
    def submit_queue(self) -> str:
        """The queue of `tasks.submit`."""
        if self.queue is not None:
            return self.queue
        default = RedisSettings.model_fields["namespace"].default
        return "reelqueue" if self.namespace == default else f"reelqueue.{self.namespace}"


class StorageSettings(_Group):
    """Storage of images and clips."""

    media_url: StoreUrl = Field(default_factory=lambda: Path("var/media").absolute().as_uri())
    """Store of the source images: a folder, s3://, gs://, az:// or any fsspec URL. If unset,
    var/media in the working directory."""
    output_url: StoreUrl = Field(default_factory=lambda: Path("var/output").absolute().as_uri())
    """Store of the clips: a folder, s3://, gs://, az:// or any fsspec URL. If unset, var/output in
    the working directory."""
    journal_url: Annotated[StoreUrl | None, NoneIfEmpty] = None
    """Payment journal, which all workers share: a folder, an object store (s3://, gs://, az://) or
    any fsspec URL. If unset, .journal in the media store."""
    clip_name: str = Field("{row}-{image}", min_length=1, max_length=200)
    """Template of the clip names: {row}, {image}, {key}, {job_id}, {batch}, {aspect},
    {prompt}, {data.COLUMN}; {row:04} has leading zeros."""
    link_seconds: Annotated[Seconds, Field(le=604_800)] = 86_400
    """Seconds for which signed links to clips in an object store open, at most 604800, a week."""
    media_roots: Annotated[tuple[MediaRoot, ...], CommaSeparated] = ()
    """Folders, and folders in stores such as s3://bucket/folder, from which other services may name
    files, comma-separated. Workers read stores with the credentials of their environment."""

    @field_validator("clip_name")
    @classmethod
    def _check_clip_name(cls, value: str) -> str:
        check_template(value)
        return value

    @property
    def journal_address(self) -> str:
        """The address of the payment journal."""
        return self.journal_url or f"{self.media_url.rstrip('/')}/.journal"


class EgressSettings(_Group):
    """Requests to other hosts than the video API."""

    private_hosts: Annotated[tuple[Host, ...], CommaSeparated] = ()
    """Hosts in private address ranges that images, clips and webhooks may use, comma-separated."""
    webhook_secret: Annotated[WebhookSecret | None, NoneIfEmpty] = None
    """Secret that signs webhooks: whsec_ and the base64 of 24 to 64 random bytes. If unset, a
    payload with a webhook is refused."""


class LimitSettings(_Group):
    """Limits of concurrent work."""

    concurrency: int = Field(1000, ge=1)
    """Slots of one worker process."""
    account_in_flight: int = Field(50, ge=1)
    """Maximum number of messages in flight for one token."""
    wakeup_cap: int = Field(
        500, ge=1, validation_alias=AliasChoices("REELQUEUE_WAKEUP_CAP", "REELQUEUE_HINT_CAP")
    )
    """Maximum number of wake-up messages in the Celery queue. The old name, REELQUEUE_HINT_CAP,
    is still read."""


class RetentionSettings(_Group):
    """Retention of records."""

    result_days: Days = 30
    """How long finished records are kept, in days."""
    tombstone_days: Annotated[Days | None, NoneIfEmpty] = None
    """How long the key of a pruned job is remembered, in days; afterwards the same key is paid
    again. If unset, forever."""


class TimingSettings(_Group):
    """Intervals, time limits and numbers of checks."""

    balance_seconds: Seconds = 60
    """Interval of the balance checks."""
    render_poll_seconds: Seconds = 30
    """Interval of the polls of a render."""
    render_max_polls: int = Field(10, ge=1)
    """Polls of one render before its job is held as render_slow."""
    stream_timeout_seconds: Seconds = 900
    """Maximum duration of one message's stream."""
    stream_idle_seconds: Seconds = 600
    """Maximum time in which a stream sends nothing, or only heartbeats."""
    still_working_seconds: Seconds = 120
    """Interval of the "still working" notes while a stream is read."""
    settle_first_seconds: Seconds = 30
    """Delay of the first check after a broken stream."""
    settle_seconds: Seconds = 60
    """Interval of the further checks after a broken stream."""
    settle_checks: int = Field(5, ge=2)
    """Checks without a change before an outcome is unknown."""
    store_patience_seconds: Seconds = 900
    """How long a job waits for a store that fails before it is held as store."""
    rate_limit_seconds: Seconds = 30
    """Cool-down of an account after a 429 response without Retry-After."""
    lease_seconds: Seconds = 30
    """How long a worker owns a job without a heartbeat."""
    tick_seconds: Seconds = 0.5
    """Interval of the ticker. At most a quarter of REELQUEUE_LEASE_SECONDS."""

    @model_validator(mode="after")
    def _check_tick_against_lease(self) -> Self:
        # After half a lease without a tick, the ticker assumes an outage and extends all leases.
        if self.tick_seconds * 4 > self.lease_seconds:
            raise ValueError(
                "REELQUEUE_TICK_SECONDS must be at most a quarter of REELQUEUE_LEASE_SECONDS"
            )
        return self


class OperationsSettings(_Group):
    """Logs, error reports and metrics."""

    sentry_dsn: Annotated[SentryDsn | None, NoneIfEmpty] = Field(
        None, validation_alias="SENTRY_DSN"
    )
    """DSN of the Sentry project. If unset, Sentry is off."""
    log_format: Literal["console", "json"] = "console"
    """Format of the log lines: console or json."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged: debug, info, warning or error. The option --loglevel of a worker
    has precedence."""
    metrics_port: Annotated[int | None, NoneIfEmpty] = Field(None, ge=1, le=65535)
    """Port on which a worker serves its metrics for Prometheus. If unset, metrics are not
    served."""
    metrics_host: Host = "127.0.0.1"
    """Address on which metrics are served, without a login. Set 0.0.0.0 for a Prometheus on
    another host."""
    stage_events: bool = False
    """Whether Flower shows the tasks of the stages in addition to one row per job: 0 or 1."""


class Settings(BaseSettings):
    """The settings of one process. Immutable; ``repr`` shows no token, password or secret."""

    model_config = SettingsConfigDict(env_file=".env", frozen=True, hide_input_in_errors=True)

    api: ApiSettings = Field(default_factory=ApiSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    egress: EgressSettings = Field(default_factory=EgressSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    timing: TimingSettings = Field(default_factory=TimingSettings)
    operations: OperationsSettings = Field(default_factory=OperationsSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, first precedence first: arguments, environment, ``.env`` file."""
        return init_settings, GroupedVariables(settings_cls, dotenv_settings, env_settings)

    @property
    def redis_timeout(self) -> float:
        """Seconds that Redis may take to reply before its connection is closed.

        A third of a lease, within bounds: a heartbeat can then be repeated on a new connection
        before the lease ends.
        """
        return min(MAX_REDIS_TIMEOUT, max(MIN_REDIS_TIMEOUT, self.timing.lease_seconds / 3))

    @property
    def redis_connect_timeout(self) -> float:
        """Seconds that connecting to Redis may take."""
        return min(MAX_REDIS_CONNECT_TIMEOUT, self.redis_timeout)


def describe_problems(error: ValidationError) -> str:
    """Describe invalid settings: the variable of each and what is wrong, never the value."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        variables = [part for part in problem["loc"] if str(part).isupper()]
        name = str(variables[-1] if variables else problem["loc"][0])
        text = validation_message(problem)
        problems.append(text if text.startswith("REELQUEUE_") else f"{name}: {text}")
    return f"The settings are invalid. {'. '.join(problems)}."


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read at the first call.

    Raises:
        pydantic.ValidationError: A value is invalid. `describe_problems` describes the error.
    """
    return Settings()
