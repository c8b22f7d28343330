"""Chatting: a picture, its clip, and further words about it, a line at a time."""

import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from tasks.cli.chat_input import ChatInput, parse_chat_input
from tasks.cli.commands.submit import checked_jobs
from tasks.cli.error_handling import CommandError
from tasks.cli.output import console, note, printable, result_fields
from tasks.cli.progress import wait_until_done
from tasks.producer import queries, submissions
from tasks.producer.answers import Answer, answer_credits
from tasks.producer.edits import say as say_to
from tasks.producer.producer import Producer, default_producer
from tasks.producer.text_routing import TextAction
from tasks.schema.errors import InvalidPayloadError, NotSayable, UnknownId
from tasks.schema.image_job import DEFAULT_PROMPT
from tasks.schema.result import Result
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import live_workers

GREETING: Final = (
    "Name a picture, by its path or its https address, and say what is to become of it.\n"
    "`exit` ends."
)
_LFLAG: Final = 3
"""Where they stand in what termios tells of a terminal."""
EXIT_WORDS: Final = frozenset({"exit", "quit"})
_SHOWN_FIELDS: Final = frozenset({"reason", "remedy", "clip", "film", "marked", "credits"})
"""What of a job's lines is told when it is done; its reply comes before them."""


def chat(
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE…", help="Image files, or addresses such as https://…."),
    ] = None,
) -> None:
    """Make a clip and edit it in a conversation, one line at a time.

    Each edit is paid for, and its price is shown first. Asking for an export, for credits or for
    the status and uploading a file are free. "exit" or Ctrl-D ends the conversation; Ctrl-C stops
    waiting for a job, which goes on.
    """
    checked_jobs(images or [], {})
    producer = default_producer()
    producer.ping()
    talk = Conversation(producer, list(images or []))
    try:
        talk.open()
        for typed in _input_lines():
            talk.handle(typed)
    finally:
        talk.close()


def _input_lines() -> Iterator[str]:
    """Lines, until somebody wants to leave."""
    prompt = ""
    if sys.stdin.isatty() and console().is_terminal:
        prompt = "> "
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives lines that can be edited and recalled
    while True:
        try:
            typed = input(prompt)
        except (EOFError, KeyboardInterrupt):
            if prompt:
                console().print()
            return
        except UnicodeDecodeError:
            raise CommandError("What was typed is not UTF-8 text.") from None
        if typed.strip().casefold() in EXIT_WORDS:
            return
        yield typed


@contextmanager
def _input_ignored() -> Iterator[None]:
    """Drop what is typed meanwhile, unseen: a line that nobody asked for would be paid for.

    Only at a terminal: what comes through a pipe was written on purpose.
    """
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    heard = termios.tcgetattr(terminal)
    modes: list[Any] = [*heard]
    modes[_LFLAG] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, modes)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, heard)


@dataclass(slots=True)
class Conversation:
    """A talk about one clip: first its pictures, then the job that was last made."""

    producer: Producer
    pictures: list[str] = field(default_factory=list)
    job_id: str | None = None

    def open(self) -> None:
        """Greet, or ask what is to become of the pictures."""
        if self.pictures:
            self._ask_for_prompt()
        else:
            _tell(GREETING)

    def close(self) -> None:
        """Say how it can be gone on with."""
        if self.job_id is not None:
            note(f'To go on later: `reelqueue say {self.job_id} "…"`.')
        elif self.pictures:
            note("Nothing was submitted.")

    def handle(self, typed: str) -> None:
        """Do what a line asks for; what is refused is told, and the talk goes on.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        line = parse_chat_input(typed)
        if line.missing and line.action in (TextAction.UPLOAD, TextAction.EDIT):
            _tell(f"There is no file {', '.join(line.missing)}. Nothing was sent.")
            return
        try:
            if self.job_id is None:
                self._handle_before_job(line, empty=not typed.strip())
            elif typed.strip():
                self._handle_about_job(self.job_id, line)
        except (NotSayable, UnknownId) as error:
            _tell(str(error))
        except InvalidPayloadError as error:
            _tell("\n".join(error.problems))

    # --- before there is a job ---------------------------------------------------------------

    def _handle_before_job(self, line: ChatInput, *, empty: bool) -> None:
        if empty:
            if self.pictures:
                self._submit(DEFAULT_PROMPT)
        elif line.action is TextAction.CREDITS:
            _tell(answer_credits(self.producer).text)
        elif line.action in (TextAction.EXPORT, TextAction.STATE):
            _tell("There is no clip yet.")
        else:
            checked_jobs(line.files, {})
            self.pictures += line.files
            self._handle_pictures(line)

    def _handle_pictures(self, line: ChatInput) -> None:
        if not self.pictures:
            _tell("Name a picture first, as in «animate photo.jpg with a slow push-in».")
        elif line.action is TextAction.EDIT and not line.files:
            self._submit(line.text)
        elif line.action is TextAction.EDIT and len(self.pictures) == 1:
            _tell(self._price(1))
            self._submit(line.text)
        else:
            self._ask_for_prompt()

    def _ask_for_prompt(self) -> None:
        _tell(
            f"What is to become of {', '.join(self.pictures)}? {self._price(len(self.pictures))}\n"
            f"An empty line takes «{DEFAULT_PROMPT}»."
        )

    def _submit(self, prompt: str) -> None:
        jobs = checked_jobs(self.pictures, {"prompt": prompt})
        made = [submissions.submit(self.producer, job).job_id for job in jobs]
        self.job_id, self.pictures = made[-1], []
        self._follow(made)

    # --- about a job -------------------------------------------------------------------------

    def _handle_about_job(self, job_id: str, line: ChatInput) -> None:
        if line.action is TextAction.EDIT:
            _tell(self._price(1))
        elif line.action is TextAction.UPLOAD and not line.files:
            raise NotSayable("Name the file to upload, as in «upload logo.png».")
        done = say_to(self.producer, job_id, line.text, attach=line.files)
        if not isinstance(done, Answer):
            self.job_id = done.job_id
            self._follow([done.job_id], before=job_id)
            return
        _tell(done.text)
        if (
            done.action is TextAction.EXPORT
            and not queries.get(self.producer, job_id).ended_or_held
        ):
            self._follow([job_id], before=job_id)

    # --- waiting -----------------------------------------------------------------------------

    def _follow(self, job_ids: Sequence[str], before: str | None = None) -> None:
        """Show jobs until they stand still, and go on with the last of them that has a clip.

        Args:
            job_ids: The jobs.
            before: What the talk is about if nothing came of them.
        """
        try:
            self._warn_without_worker()
            with _input_ignored():
                found = wait_until_done(self.producer, job_ids, quiet=False)
        except KeyboardInterrupt:
            _tell(f"Not waiting any more; it goes on: `reelqueue watch {' '.join(job_ids)}`.")
            return
        results = [result for result in found.values() if isinstance(result, Result)]
        for result in results:
            _tell_result(result, named=len(results) > 1)
        self._choose(results, before)

    def _warn_without_worker(self) -> None:
        with self.producer.redis_errors():
            alive = live_workers(self.producer.ledger).count
        if not alive:
            _tell("No worker runs, so nothing moves until one does: `reelqueue worker`.")

    def _choose(self, results: Sequence[Result], before: str | None) -> None:
        """What the talk is about now: what has a clip, else what can be spoken of at all."""
        fit = [result for result in results if _accepts_messages(result)]
        made = [result for result in fit if result.video is not None]
        if not fit:
            self.job_id = before
            _tell(GREETING if before is None else "What is said now is about the clip before it.")
            return
        chosen = (made or fit)[-1]
        self.job_id = chosen.job_id
        if len(results) > 1:
            _tell(
                f'What is said now is about {chosen.image}. About another: `reelqueue say JOB "…"`.'
            )
        if _is_question(chosen):
            _tell(f"Answer it here. {self._price(1)}")

    def _price(self, messages: int) -> str:
        return f"It costs about {messages * self.producer.clip_price():g} credits."


def _accepts_messages(result: Result) -> bool:
    if result.state is State.FAILED:
        return result.paid_messages > 0
    return result.state is not State.CANCELLED


def _is_question(result: Result) -> bool:
    return result.reason is not None and result.reason.code is Reason.QUESTION


def _tell_result(result: Result, *, named: bool) -> None:
    if named:
        _tell(f"{result.job_id}  {result.state}  {result.image}")
    if _is_question(result) and result.reason:
        _tell(result.reason.message)
        return
    if result.reply:
        _tell(result.reply)
    for name, value in result_fields(result):
        if name in _SHOWN_FIELDS:
            console().print(f"  {name:<9} {printable(value)}")


def _tell(text: str) -> None:
    """Print a text from anywhere, of one or more lines."""
    for line in text.splitlines():
        console().print(printable(line))
