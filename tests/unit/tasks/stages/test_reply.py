"""The reply of a job: the agent's text, and what its screen instructions refer to."""

import pytest

from tasks.stages.reply import question_of, reply_of
from worker.ledger.model.accounts import read_account
from worker.ledger.model.jobs import read_job

JOB = read_job(
    {
        **dict.fromkeys(("fence", "turn", "created_at", "entered_at"), "1"),
        "v": "1",
        "id": "j",
        "state": "settling",
        "flow": "single:normal",
        "payload": "{}",
    }
)
TIMELINE = "Timeline (1 track): 1. Video: cat (0-10s)"
RICH = read_account("a", {"available": "900", "reserved": "100", "read_at": "1"})
POOR = read_account("a", {})
CREDITS = "Credits: 900 available, 100 reserved."


@pytest.mark.parametrize(
    ("agent_text", "reply"),
    [
        ("", f"Done; the agent sent no text. {TIMELINE}"),
        ("Your clip is ready.", "Your clip is ready."),
        ("Ready. Click the Export button.", "Ready."),
        ("Click the Export button.", f"Done.\n\n{TIMELINE}"),
        ("Ready. Open the Timeline panel.", f"Ready.\n\n{TIMELINE}"),
        ("完成。请在时间线中预览。", f"完成。\n\n{TIMELINE}"),
        ("Ready. Check your account balance.", f"Ready.\n\n{CREDITS}"),
        ("完成。请查看账户余额。", f"完成。\n\n{CREDITS}"),
        (
            "Ready. Drag the logo.",
            'Ready.\n\nTo change the clip, describe the change: `reelqueue say j "…"`.',
        ),
    ],
)
def test_reply(agent_text: str, reply: str) -> None:
    assert reply_of(JOB, agent_text, TIMELINE, lambda: RICH) == reply


@pytest.mark.parametrize("account", [POOR, None])
def test_credits_are_omitted_if_the_balance_was_not_read(account: None) -> None:
    assert reply_of(JOB, "Ready. Check your billing page.", TIMELINE, lambda: account) == "Ready."


def test_a_question_keeps_its_text_without_screen_instructions() -> None:
    assert question_of("Which style? Select one in the panel.") == "Which style?"
    assert question_of("Open the style panel?") == "Open the style panel?"
