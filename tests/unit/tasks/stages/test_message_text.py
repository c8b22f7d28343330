"""The text of the paid message."""

from tasks.stages.message_text import answer, instructions


def test_a_prompt_without_other_fields() -> None:
    assert instructions({"prompt": "Pan left over the bay"}) == "Pan left over the bay."


def test_length_and_aspect_are_added() -> None:
    text = instructions({"prompt": "Pan left!", "seconds": 6, "aspect": "9:16"})
    assert text == "Pan left! Make it a 6-second video. Aspect ratio 9:16."


def test_the_length_field_replaces_a_length_in_the_prompt() -> None:
    text = instructions({"prompt": "extend this into a 10-second video", "seconds": 4.5})
    assert text == "extend this into a 4.5-second video."


def test_the_text_states_what_attached_files_are_for() -> None:
    text = instructions({"prompt": "Pan left"}, "logo.png as a picture")
    assert text == "Pan left. Use the attached files: logo.png as a picture."


def test_the_answer_repeats_the_instructions_and_lets_the_agent_decide() -> None:
    text = answer({"prompt": "Pan left"})
    assert text.startswith("Pan left.")
    assert "decide everything" in text
