"""Routing of texts, in English and Chinese."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.producer.follow_up.text_routing import TextAction, action_of

TABLE = {
    TextAction.EXPORT: (
        *("export", "Export!", "EXPORT", "please export the video", "can you export it?"),
        *("render it", "can I get the file?", "where is my clip?", "render the final video"),
        *("export it as mp4", "download", "download my video please", "Could you download it"),
        *("send me the video", "Send me the video!", "please send me the final clip"),
        *("give me the mp4", "I want to download the clip", "I'd like to export this"),
        *("export the project in 4k", "where can I download it?", "how do I export?"),
        *("get me the download link", "I need the video", "save the video", "export now, thanks"),
        *(
            "导出",
            "导出视频",
            "请导出",
            "帮我导出一下",
            "请帮我把视频导出",
            "可以导出吗？",
            "下载",
            "下载视频",
        ),
        *("我想下载这个视频", "把视频发给我", "导出 mp4", "怎么导出？", "Export 导出"),
    ),
    TextAction.CREDITS: (
        *("credits", "Credits?", "balance", "my balance", "what's my balance?", "check balance"),
        *("how many credits do I have left?", "how many credits are left", "show credits"),
        *("what did it cost?", "how much does it cost"),
        *("check my account balance", "do I still have credits?", "credits left"),
        *(
            "积分",
            "余额",
            "查询余额",
            "我的积分还有多少？",
            "还剩多少积分",
            "看一下余额",
            "账户余额",
            "积分够不够",
        ),
    ),
    TextAction.STATE: (
        *("status", "status?", "what's the status", "Status of my video", "show tracks"),
        *("show me the tracks", "show the timeline", "what is the status of the export?"),
        *("list tracks", "is it ready yet?", "is the video done?", "how's it going?"),
        *(
            "状态",
            "现在状态怎么样",
            "查看状态",
            "看看进度",
            "显示轨道",
            "任务状态",
            "做好了吗？",
            "导出状态",
        ),
    ),
    TextAction.UPLOAD: (
        *("upload", "upload this file", "please upload a logo", "upload my new picture"),
        *("I want to upload an image", "上传", "上传图片", "我要上传一张照片", "请上传文件"),
    ),
    TextAction.THANKS: (
        *(
            "thanks",
            "Thank you!",
            "thanks a lot",
            "ok",
            "OK.",
            "hello",
            "hi there",
            "great, thanks",
        ),
        *("谢谢", "好的，谢谢", "你好", "太棒了"),
    ),
    TextAction.HELP: ("help", "Help!", "what can you do?", "how does this work?", "帮助"),
    TextAction.CANCEL: ("cancel", "cancel it", "please cancel the job", "stop", "取消", "取消任务"),
    TextAction.CLARIFY: (
        *("", "   ", "?", "??", "hmm", "why", "the cat", "exporting nations", "creditsworthy"),
        *("exported goods", "uploading hearts", "start over", "猫", "为何"),
    ),
    TextAction.EDIT: (
        *("a film about exporting nations", "zoom in", "slower", "add music", "加速", "慢一点"),
        *("make it brighter", "add music", "credit card close-up", "downloads of coffee beans"),
        *(
            "make the status symbol shine",
            "add end credits",
            "roll the credits over black",
            "stop the music",
        ),
        *("balance the colors", "balance the music and the voice", "keep the balance board still"),
        *("add a status bar at the top", "a statusquo title", "let the tracks of the train glow"),
        *(
            "show the train tracks from above",
            "upload speed as a rising graph",
            "thank you card on a table",
        ),
        *("the export crates on the ship sway", "export a ship full of bananas to China"),
        *("make a download icon bounce", "slow down, load the truck", "give the cat a hat"),
        *("send the balloon up", "show the video wall in the background", "render it in blue"),
        *("make it brighter and then export", "add a title and download", "help the cat up"),
        *(
            "导出国的港口",
            "关于出口国家的视频",
            "把画面的状态改成夜晚",
            "积分榜滚动出现",
            "给余额宝做一个广告",
        ),
        *(
            "上传者站在舞台上",
            "加一段音乐",
            "让画面更亮",
            "添加字幕“导出”",
            "下载图标跳动",
            "时间线艺术展的海报",
        ),
        *("stay as it is", "state of the art kitchen", "a state fair at dusk", "progress bar, red"),
    ),
}


@pytest.mark.parametrize(
    ("text", "action"), [(text, action) for action, texts in TABLE.items() for text in texts]
)
def test_action_of(text: str, action: TextAction) -> None:
    assert action_of(text) is action


@given(st.text(alphabet="export dwnlacis导出积分状态上传余额 .,!?'’", max_size=60))
def test_any_text_has_an_action(text: str) -> None:
    assert action_of(text) in TextAction
