"""Instructions for a screen are removed, descriptions kept: English, Chinese, lists, Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.nemo.stream_samples import RECORDED
from worker.nemo.agent_text import ImpliedAction, remove_instructions
from worker.nemo.streaming.events import End
from worker.nemo.streaming.transcript import Transcript

EXPORT, TIMELINE, CREDITS, EDIT = (
    ImpliedAction.EXPORT,
    ImpliedAction.TIMELINE,
    ImpliedAction.CREDITS,
    ImpliedAction.EDIT,
)

KEPT = (
    *("Your clip is ready: 10 seconds with Lo-fi music.", "The player clicks the ball."),
    *("A door opens and light falls in.", "He drags a heavy box across the floor."),
    *("The hand presses a red button.", "A woman opens the panel of the old radio."),
    *("I added click sounds to each step.", "Click tracks sit under the beat."),
    *("The cat drops the toy, then jumps.", "A drop of water falls in slow motion."),
    *("Drop shadows make the logo stand out.", "The title reads “Click here to win”."),
    *('The title is "Open the panel".', "The camera opens on a wide view, then pushes in."),
    *("I exported nothing yet; the draft has three tracks.", "End credits roll for 3 seconds."),
    *("Which length do you want: 5, 10 or 15 seconds?", "It cost 1.5 credits. v2.0 is smoother."),
    *(
        "视频已完成，时长10秒。",
        "球员点击球，球飞向球门。",
        "门慢慢打开，光照进来。",
        "他拖动箱子穿过房间。",
    ),
    *("加入了点击声和轻音乐。", "标题是“点击这里”。", "花朵打开，露出花蕊。", "积分榜在片尾滚动。"),
    *("- A push-in\n- Lo-fi music\n- Title: Urban Dreams", "# Result\n\nDone.", ""),
)
REMOVED: tuple[tuple[str, str, set[ImpliedAction]], ...] = (
    ("Click the Export button to download it.", "", {EXPORT}),
    ("Your clip is ready. Click Export to download it.", "Your clip is ready.", {EXPORT}),
    ("Your clip is ready, click **Export** to download.", "Your clip is ready.", {EXPORT}),
    ("Please tap the play icon.", "", set()),
    ("You can now open the Timeline panel.", "", {TIMELINE}),
    ("Open the Music panel, then pick a song.", "", {TIMELINE}),
    ("Go to the settings page.", "", set()),
    ("To download your video, click the Download button.", "", {EXPORT}),
    ("If you want changes, drag the logo to the corner.", "", {EDIT}),
    ("Drag and drop the music onto the track.", "", {EDIT}),
    ("I made it brighter. Drag the clip to trim it.", "I made it brighter.", {EDIT}),
    ("Preview it in the timeline.", "", {TIMELINE}),
    ("You can preview the result in timeline now.", "", {TIMELINE}),
    ("Check your account balance.", "", {CREDITS}),
    ("Done! Please check your billing page.", "Done!", {CREDITS}),
    ("The Export button is in the top right corner.", "", {EXPORT}),
    ("You can save it by clicking the Export button.", "", {EXPORT}),
    (
        "I added music and a title. Right-click the track to edit.",
        "I added music and a title.",
        set(),
    ),
    ("Click [here](https://example.com/a.b) to export.", "", {EXPORT}),
    ("点击“导出”按钮即可下载。", "", {EXPORT}),
    ("视频已完成，请点击右上角的导出按钮。", "视频已完成。", {EXPORT}),
    ("请打开时间线面板。", "", {TIMELINE}),
    ("你可以在右上角点击导出。", "", {EXPORT}),
    ("音乐已添加。拖拽音乐到轨道上即可。", "音乐已添加。", {EDIT}),
    ("请把标志拖到左上角。", "", {EDIT}),
    ("您可以在时间线中预览。", "", {TIMELINE}),
    ("请查看账户余额。", "", {CREDITS}),
    ("已加入字幕。通过点击导出按钮下载。", "已加入字幕。", {EXPORT}),
    ("Your clip is ready. 点击导出。 Enjoy!", "Your clip is ready. Enjoy!", {EXPORT}),
    (
        "Done.\n\nNext steps:\n1. Click Export\n2. Open the Timeline panel\n",
        "Done.",
        {EXPORT, TIMELINE},
    ),
    (
        "I did:\n1. A push-in\n2. Click the Export button\n3. A title",
        "I did:\n1. A push-in\n2. A title",
        {EXPORT},
    ),
    ("- Music added\n- **Click** the *Export* button\n", "- Music added", {EXPORT}),
)


@pytest.mark.parametrize("text", KEPT)
def test_descriptions_are_kept(text: str) -> None:
    cleaned = remove_instructions(text)
    assert (cleaned.text, cleaned.actions) == (text, frozenset())


@pytest.mark.parametrize(("text", "left", "actions"), REMOVED)
def test_instructions_for_a_screen_are_removed(
    text: str, left: str, actions: set[ImpliedAction]
) -> None:
    cleaned = remove_instructions(text)
    assert (cleaned.text, set(cleaned.actions)) == (left, actions)


@pytest.mark.parametrize("text", [text for text, _, _ in REMOVED])
def test_a_second_translation_changes_nothing(text: str) -> None:
    once = remove_instructions(text).text
    assert remove_instructions(once).text == once


def test_recorded_reply_is_translated() -> None:
    transcript = Transcript()
    for event in [*RECORDED["gui"], End(clean=True)]:
        transcript.add(event)
    cleaned = remove_instructions(transcript.reply)
    assert cleaned.text.split("\n\n")[-1] == (
        "Your clip is ready: a 10 second push-in with Lo-fi music."
    )
    assert cleaned.actions == {EXPORT, TIMELINE}


@given(st.text(alphabet='click Export.drag,the \n-1*“”"点击打开导出，。', max_size=80))
def test_any_text_can_be_translated(text: str) -> None:
    assert len(remove_instructions(text).text) <= len(text) + 1
