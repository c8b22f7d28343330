"""Which texts of the agent ask something."""

import pytest

from worker.nemo.question import asks_question


@pytest.mark.parametrize(
    "text",
    [
        "Which length do you want: 5, 10 or 15 seconds?",
        "I can do that. Which style do you prefer?\n- cinematic\n- playful",
        "Would you like:\n1. a slow zoom\n2. a pan",
        "Please tell me which photo to use.",
        "I need one more detail. Let me know the length. Thanks!",
        "Please upload a clearer picture.",
        "您想要多长的视频？",
        "请选择视频的长度：5秒或10秒。",
        "需要我加上音乐吗",
        "您希望我用哪种风格呢。",
        "Shall I go ahead? It costs about 100 credits.",
    ],
)
def test_a_question_is_found(text: str) -> None:
    assert asks_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I will animate the picture with a slow push-in.",
        "I will animate the picture with",
        "Working on it…",
        "What a lovely photo. I will start now.",
        "Your video is being generated. This takes about a minute.",
        "Adding music.",
        'Done! The clip has a slow zoom, and the title "Ready when you are".',
        "我会为这张照片添加缓慢的推进效果。",
        "正在生成视频，请稍候。",
    ],
)
def test_an_announcement_is_no_question(text: str) -> None:
    assert not asks_question(text)
