"""The conversation of ``reelqueue chat``: about images first, then about the job made of them."""

from collections.abc import Sequence
from typing import Final

from tasks.cli.commands.submit import checked_jobs
from tasks.cli.conversation.chat_input import ChatInput, parse_chat_input
from tasks.cli.conversation.terminal_input import input_ignored
from tasks.cli.output import console, note, result_fields
from tasks.cli.waiting import wait_until_done
from tasks.producer import actions, queries, submissions
from tasks.producer.follow_up.answers import Answer, answer_credits
from tasks.producer.follow_up.edits import say
from tasks.producer.follow_up.text_routing import TextAction
from tasks.producer.producer import Producer
from tasks.schema.errors import InvalidPayloadError, NotSayable, UnknownId
from tasks.schema.image_job import DEFAULT_PROMPT
from tasks.schema.result import Result
from worker.ledger.model.states import Reason, State
from worker.runtime.worker_registry import live_workers
from worker.shown_text import on_one_line

GREETING: Final = (
    "Give an image, as a path or an https address, and say what the clip should show.\n"
    "`exit` ends the conversation."
)
HELP_BEFORE_A_CLIP: Final = (
    'Describe what the clip should show, as in "slow push-in, steam rises, 6 seconds". An empty '
    "line uses the default prompt. Nothing was sent."
)
SMALL_TALK: Final = frozenset({TextAction.THANKS, TextAction.HELP, TextAction.CLARIFY})
YES: Final = frozenset({"y", "yes", "ok", "是", "是的", "好", "好的"})
_SHOWN_FIELDS: Final = frozenset({"reason", "remedy", "clip", "video", "quality", "credits"})
"""Fields of a result that are printed when its job is done, after the agent's reply."""


class Conversation:
    """A conversation about one clip: its images, until a job is made of them, then the job.

    If a request is refused, the reason is printed and the conversation continues.
    """

    def __init__(self, producer: Producer, images: Sequence[str]) -> None:
        self._producer = producer
        self._images = [*images]
        self._job_id: str | None = None
        self._is_cancelling = False

    def open(self) -> None:
        """Print a greeting, or ask for a prompt if there are images."""
        if self._images:
            self._ask_for_prompt()
        else:
            _print(GREETING)

    def close(self) -> None:
        """Print how to continue later."""
        if self._job_id is not None:
            note(f'To continue later: `reelqueue say {self._job_id} "…"`.')
        elif self._images:
            note("Nothing was submitted.")

    def handle(self, line: str) -> None:
        """Do what a typed line asks for.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        if self._is_cancelling:
            self._confirm_cancel(line)
            return
        typed = parse_chat_input(line)
        if typed.missing and typed.action in (TextAction.UPLOAD, TextAction.EDIT):
            _print(f"There is no file {', '.join(typed.missing)}. Nothing was sent.")
            return
        try:
            if self._job_id is not None:
                if line.strip():
                    self._handle_about_job(self._job_id, typed)
            elif line.strip():
                self._handle_about_images(typed)
            elif self._images:
                self._submit(DEFAULT_PROMPT)
        except (NotSayable, UnknownId) as error:
            _print(str(error))
        except InvalidPayloadError as error:
            _print("\n".join(error.problems))

    # --- before there is a job ---------------------------------------------------------------

    def _handle_about_images(self, typed: ChatInput) -> None:
        if typed.action is TextAction.CREDITS:
            _print(answer_credits(self._producer).text)
            return
        if typed.action in (TextAction.EXPORT, TextAction.STATE, TextAction.CANCEL):
            _print("There is no clip yet.")
            return
        if typed.action in SMALL_TALK:
            _print(HELP_BEFORE_A_CLIP)
            return
        checked_jobs(typed.files, {})
        self._images += typed.files
        if not self._images:
            _print('Give an image first, as in "animate photo.jpg with a slow push-in".')
        elif typed.action is TextAction.EDIT and not typed.files:
            self._submit(typed.text)
        elif typed.action is TextAction.EDIT and len(self._images) == 1:
            _print(self._price_sentence(1))
            self._submit(typed.text)
        else:
            self._ask_for_prompt()

    def _ask_for_prompt(self) -> None:
        _print(
            f"What should the clip of {', '.join(self._images)} show? "
            f"{self._price_sentence(len(self._images))}\n"
            f'An empty line uses "{DEFAULT_PROMPT}".'
        )

    def _submit(self, prompt: str) -> None:
        jobs = checked_jobs(self._images, {"prompt": prompt})
        job_ids = [submissions.submit(self._producer, job).job_id for job in jobs]
        self._job_id, self._images = job_ids[-1], []
        self._follow(job_ids)

    # --- about a job -------------------------------------------------------------------------

    def _handle_about_job(self, job_id: str, typed: ChatInput) -> None:
        if typed.action is TextAction.CANCEL:
            self._is_cancelling = True
            _print(f'Cancel job {job_id}? Type "yes" to cancel it.')
            return
        if typed.action is TextAction.EDIT:
            _print(self._price_sentence(1))
        elif typed.action is TextAction.UPLOAD and not typed.files:
            raise NotSayable('Name the file to upload, as in "upload logo.png".')
        answer = say(self._producer, job_id, typed.text, attach=typed.files)
        if isinstance(answer, Answer):
            _print(answer.text)
            exports = answer.action is TextAction.EXPORT
            if exports and not queries.get(self._producer, job_id).ended_or_held:
                self._follow([job_id], previous=job_id)
        else:
            self._job_id = answer.job_id
            self._follow([answer.job_id], previous=job_id)

    def _confirm_cancel(self, line: str) -> None:
        self._is_cancelling = False
        if self._job_id is None or line.strip().casefold() not in YES:
            _print("The job continues.")
            return
        change = actions.cancel(self._producer, self._job_id)
        if change.changed:
            _print("The job is cancelled.")
        elif "continues" in change.skipped:
            _print("The job was paid for already: it continues to its clip.")
        elif "paid" in change.skipped:
            _print(
                "The job was paid for and stays held. To give up its clip, run "
                f"`reelqueue cancel {self._job_id} --yes`."
            )
        else:
            _print("The job has ended already.")

    def _follow(self, job_ids: Sequence[str], previous: str | None = None) -> None:
        """Wait for jobs, print their results, and continue with one of them.

        If none of them can be continued, ``previous`` is the job that the conversation returns to.
        """
        try:
            self._warn_without_worker()
            with input_ignored():
                records = wait_until_done(self._producer, job_ids, quiet=False)
        except KeyboardInterrupt:
            ids = " ".join(job_ids)
            _print(f"Stopped waiting. The job continues: `reelqueue watch {ids}`.")
            return
        results = [record for record in records.values() if isinstance(record, Result)]
        for result in results:
            if len(results) > 1:
                _print(f"{result.job_id}  {result.state}  {result.image}")
            _print_result(result)
        self._continue_with(results, previous)

    def _warn_without_worker(self) -> None:
        with self._producer.redis_errors():
            workers = live_workers(self._producer.ledger).count
        if not workers:
            _print("No worker is running, so jobs wait. Start one with `reelqueue worker`.")

    def _continue_with(self, results: Sequence[Result], previous: str | None) -> None:
        """Continue with the last job that has a clip, else with the last that takes messages."""
        editable = [result for result in results if _takes_messages(result)]
        with_clip = [result for result in editable if result.video is not None]
        if not editable:
            self._job_id = previous
            _print("Back to the previous clip." if previous else GREETING)
            return
        chosen = (with_clip or editable)[-1]
        self._job_id = chosen.job_id
        if len(results) > 1:
            _print(
                f"The conversation continues with {chosen.image}. For another clip, use "
                f'`reelqueue say JOB "…"`.'
            )
        if _is_question(chosen):
            _print(f"Answer it here. {self._price_sentence(1)}")

    def _price_sentence(self, messages: int) -> str:
        return f"It costs about {messages * self._producer.clip_price():g} credits."


def _takes_messages(result: Result) -> bool:
    if result.state is State.FAILED:
        return result.paid_messages > 0
    return result.state is not State.CANCELLED


def _is_question(result: Result) -> bool:
    return result.reason is not None and result.reason.code is Reason.QUESTION


def _print_result(result: Result) -> None:
    if result.reason and _is_question(result):
        _print(result.reason.message)
        return
    if result.reply:
        _print(result.reply)
    for label, text in result_fields(result):
        if label in _SHOWN_FIELDS:
            console().print(f"  {label:<9} {on_one_line(text)}")


def _print(text: str) -> None:
    """Print the lines of a text that may come from outside."""
    for line in text.splitlines():
        console().print(on_one_line(line))
