"""Attachments are uploaded to the session of the image, and the message names them."""

import pytest

from tests.support.stack import Stack
from worker.ledger.model.states import State

pytestmark = pytest.mark.integration


def test_an_attached_picture_is_uploaded_after_the_image_and_named_in_the_message(
    clean_stack: Stack,
) -> None:
    logo = clean_stack.image("logo.png")
    job_id = clean_stack.submit(clean_stack.image(), attach=[str(logo)])
    job = clean_stack.wait_for(job_id, State.SUCCEEDED, State.FAILED, State.HELD)
    assert (job.state, job.message) == (State.SUCCEEDED, "")
    session_id = job.fact("session_id")
    uploads = [
        upload["name"]
        for upload in clean_stack.sandbox.ledger()["uploads"]
        if upload["session_id"] == session_id
    ]
    assert uploads == [job.fact("media_name"), "logo.png"]
    (message,) = clean_stack.messages_of(job)
    assert "Use the attached files: logo.png as the logo." in str(message["text"])


def test_an_attachment_that_is_not_media_fails_the_job_before_payment(
    clean_stack: Stack,
) -> None:
    words = clean_stack.folder / "words.mp3"
    words.write_text("no music")
    job_id = clean_stack.submit(clean_stack.image(), attach=[str(words)])
    job = clean_stack.wait_for(job_id, State.FAILED, State.SUCCEEDED, State.HELD)
    assert (job.state, job.paid_messages) == (State.FAILED, 0)
    assert "words.mp3" in job.message
