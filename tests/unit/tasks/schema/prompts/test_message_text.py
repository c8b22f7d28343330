"""The text of the paid message."""

import pytest

from tasks.schema.image_job import DEFAULT_PROMPT, DEFAULT_PROMPT_WITHOUT_LENGTH
from tasks.schema.prompts.message_text import answer, instructions


def test_a_prompt_without_other_fields() -> None:
    assert instructions({"prompt": "Pan left over the bay"}) == "Pan left over the bay."


def test_length_and_aspect_are_added() -> None:
    text = instructions({"prompt": "Pan left!", "seconds": 6, "aspect": "9:16"})
    assert text == "Pan left! Make it a 6-second video. Aspect ratio 9:16."


@pytest.mark.parametrize(
    ("prompt", "seconds", "text"),
    [
        ("90s retro look, neon", 5, "90s retro look, neon. Make it a 5-second video."),
        (
            "slow push-in on Product 5, 2 seconds",
            3,
            "slow push-in on Product 5, 2 seconds. Make it a 3-second video.",
        ),
        ("a 3-second pan", 3, "a 3-second pan."),
        ("缓慢推进，5秒", 5, "缓慢推进，5秒."),
        (DEFAULT_PROMPT, 5, f"{DEFAULT_PROMPT_WITHOUT_LENGTH}. Make it a 5-second video."),
        (DEFAULT_PROMPT, None, f"{DEFAULT_PROMPT}."),
    ],
)
def test_a_prompt_is_sent_as_written_and_the_length_is_a_sentence_of_its_own(
    prompt: str, seconds: float | None, text: str
) -> None:
    assert instructions({"prompt": prompt, "seconds": seconds}) == text


def test_the_text_states_what_attached_files_are_for() -> None:
    text = instructions({"prompt": "Pan left"}, "logo.png as a picture")
    assert text == "Pan left. Use the attached files: logo.png as a picture."


def test_the_answer_repeats_the_instructions_and_lets_the_agent_decide() -> None:
    text = answer({"prompt": "Pan left"})
    assert text.startswith("Pan left.")
    assert "decide everything" in text
