"""Routing of texts: a free request, small talk, or an edit by the agent.

Source: docs/video-api.md, "What a message is". A text is a free request only if all of its words
are in the lists of that request: "please export the video" is one, but "a ship for exporting
nations" and "balance the colors" are edits. A free request that is mistaken for an edit is paid,
while an edit that is mistaken for a free request can be repeated: so the lists are long.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final


class TextAction(StrEnum):
    """What a text asks for. Only an edit is sent to the agent, and paid."""

    EXPORT = "export"
    CREDITS = "credits"
    STATE = "state"
    UPLOAD = "upload"
    THANKS = "thanks"  # thanks, a greeting, or a bare "ok"
    HELP = "help"
    CANCEL = "cancel"
    CLARIFY = "clarify"  # too short to be an instruction
    EDIT = "edit"


MAY_BE_AN_ANSWER: Final = frozenset({TextAction.CLARIFY, TextAction.THANKS})
"""The actions for which a short answer to a question of the agent may be mistaken."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KEYWORDS: Final = {
    TextAction.EXPORT: _words("export download render 导出 下载 输出 发给我 发我 传给我"),
    TextAction.CREDITS: _words("credit credits balance cost costs price 积分 余额 点数 价格 费用"),
    TextAction.STATE: _words("status state tracks timeline progress 状态 进度 轨道 时间线 时间轴"),
    TextAction.UPLOAD: _words("upload 上传"),
    TextAction.CANCEL: _words("cancel stop abort 取消 停止 终止 中止"),
    TextAction.HELP: _words("help commands 帮助 帮忙"),
    TextAction.THANKS: _words(
        "thanks thank thx ty hi hello hey ok okay k great nice cool perfect good awesome amazing "
        "lovely wow bye goodbye cheers "
        "谢谢 感谢 多谢 你好 您好 好 好的 不错 很好 太好了 太棒了 很棒 再见 辛苦了"
    ),
}
_FILLERS: Final = _words(
    "a an the this that it its my our your me us i we you please pls kindly can could would will "
    "may do does did is are was be have has got to of for in on as at and or now then just again "
    "ok okay hi hello hey thanks thank want need like let's lets go ahead what what's whats how "
    "which where where's there any some still yet right currently current so far here all full "
    "s d im i'm i'd id "
    "请 麻烦 帮 帮我 帮忙 给 给我 我 我们 你 您 我的 你的 的 了 吗 呢 吧 啊 一下 想 想要 要 "
    "需要 能 能否 可以 可不可以 能不能 "
    "现在 目前 当前 马上 再 还 还有 有 是 把 将 这 这个 那个 它 个 下 好 好的 谢谢 什么 怎么 "
    "怎样 如何 怎么样 多少 几 几个 来 去 和 "
    "在 哪 哪里 到 呀 嘛 先 就 直接 全部 所有 你好"
)
_OTHER_WORDS: Final = {
    TextAction.EXPORT: _words(
        "video videos clip clips movie film file files result project draft version mp4 mov hd "
        "1080p 720p 4k high quality final finished link url format send give get save fetch share "
        "copy computer device phone disk start begin ready "
        "视频 影片 片子 短片 成片 文件 作品 结果 项目 链接 高清 格式 版本 发 最终 完成 保存 "
        "本地 电脑 手机 开始"
    ),
    TextAction.CREDITS: _words(
        "many much left remaining remain account show check tell see view query know use used "
        "spent cost available total look up "
        "剩 剩下 剩余 账户 帐户 账号 查 查看 查询 看 看看 显示 知道 告诉 用 用了 花了 可用 够 "
        "够不够"
    ),
    TextAction.STATE: _words(
        "show check tell see view list give look know about job task video clip project render "
        "rendering export draft track timeline status update report done finished ready going "
        "查 查看 查询 看 看看 显示 列出 告诉 知道 任务 视频 项目 作品 渲染 导出 工程 草稿 完成 "
        "做到 列表"
    ),
    TextAction.UPLOAD: _words(
        "file files image images picture pictures photo photos video clip audio music song logo "
        "track attachment new another one more these those add "
        "文件 图片 照片 图 视频 音频 音乐 歌曲 标志 素材 新 另 另一 张 一张 一个 几张 些 这些"
    ),
    TextAction.CANCEL: _words("job clip video edit render everything 任务 视频 编辑 渲染 全部"),
    TextAction.HELP: _words("say ask work works"),
    TextAction.THANKS: _words("very much so well done lot love job work there 很 非常 真 太 做得"),
}
_INSTRUCTIONS: Final = _words(
    "add remove delete make change zoom pan tilt rotate flip crop loop slow slower slowly fast "
    "faster speed reverse mute unmute music song sound voice title titles subtitle subtitles "
    "caption captions logo text color colour colors contrast bright brighter dark darker warm "
    "warmer cold colder loud louder quiet quieter short shorter long longer bigger larger smaller "
    "closer wider blur sharpen fade trim cut extend push pull move moves animate replace undo redo "
    "again shake orbit dolly drift glow snow rain fog smoke fire sepia vintage retro cinematic "
    "black grayscale stabilize smooth smoother freeze hold more less no without with "
    "放大 缩小 加速 减速 静音 倒放 变亮 变暗 旋转 翻转 循环 慢放 快放 推进 拉远 左移 右移 上移 "
    "下移 裁剪 字幕 音乐 配乐 黑白 调色 重做 再来"
)
"""Words that make a text of one or two words an instruction."""
_VIDEO: Final = r"(?:the|my|our|this|that) (?:final |finished |last )?(?:video|clip|movie|film|mp4)"
_RESULT: Final = rf"(?:{_VIDEO}|the file|it|this|that)"
_TRAILER: Final = r"(?: file)?(?: to me| now| please| here)*"
_PATTERNS: Final = (
    (TextAction.EXPORT, rf"(?:send|give|get|show|share|hand|e-?mail) (?:me|us) {_VIDEO}{_TRAILER}"),
    (TextAction.EXPORT, rf"(?:send|give|hand|e-?mail) {_VIDEO} to (?:me|us){_TRAILER}"),
    (TextAction.EXPORT, rf"(?:save|share|send) {_VIDEO}{_TRAILER}"),
    (TextAction.EXPORT, rf"(?:i|we)(?: want| need| would like|'d like) {_VIDEO}{_TRAILER}"),
    (
        TextAction.EXPORT,
        rf"(?:can|could|may) (?:i|we) (?:have|get|see) {_RESULT}{_TRAILER}",
    ),
    (TextAction.EXPORT, rf"where(?: is|'s) {_RESULT}"),
    (
        TextAction.CREDITS,
        rf"(?:what|how much) (?:did|does|will|would) {_RESULT} cost",
    ),
    (TextAction.HELP, r"what can (?:you|i) (?:do|say|ask)(?: here)?|how does (?:this|it) work"),
    (TextAction.STATE, rf"is (?:it|{_VIDEO}) (?:done|ready|finished)(?: yet| now)?"),
    (TextAction.STATE, rf"how(?: is|'s) (?:it|{_VIDEO}) (?:going|doing|coming along)"),
    (TextAction.STATE, r"(?:视频|片子|短片)?(?:好了吗|做好了吗|完成了吗|做完了吗)"),
)
_POLITE_START: Final = re.compile(
    r"^(?:(?:please|pls|ok|okay|hi|hello|hey|now|(?:can|could|would|will) you(?: please)?)[ ,]+)+"
)
_TOKEN: Final = re.compile(r"[a-z0-9]+(?:['’.][a-z0-9]+)*|[\u4e00-\u9fff]+", re.IGNORECASE)
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")
_MAX_WORD_LENGTH: Final = 5
_MAX_WORDS: Final = 24
_MAX_UNCLEAR_LENGTH: Final = 60
_MAX_UNCLEAR_WORDS: Final = 2
_MAX_UNCLEAR_CHARACTERS: Final = 2
"""The longest text without an instruction that is unclear, in words and in Chinese characters."""


def action_of(text: str) -> TextAction:
    """Return what a text asks for: an edit, unless the whole text is something else."""
    plain = " ".join(text.casefold().replace("’", "'").split())
    request = _POLITE_START.sub("", plain).strip(" .,!?。，！？")
    for action, pattern in _PATTERNS:
        if re.fullmatch(pattern, request):
            return action
    # "the status of the export" has keywords of two actions, but only STATE allows both words.
    otherwise = TextAction.CLARIFY if _is_unclear(plain) else TextAction.EDIT
    return next((action for action in _KEYWORDS if _is_request(plain, action)), otherwise)


def _is_request(text: str, action: TextAction) -> bool:
    """Return whether a text has a keyword of an action, and only words that go with it."""
    allowed = _FILLERS | _OTHER_WORDS[action] | _KEYWORDS[action]
    words = list(_split(text, allowed))
    return (
        0 < len(words) <= _MAX_WORDS
        and all(word in allowed for word in words)
        and any(word in _KEYWORDS[action] for word in words)
    )


def _is_unclear(text: str) -> bool:
    """Return whether a text is too short to tell the agent what to do."""
    if len(text) > _MAX_UNCLEAR_LENGTH:
        return False
    words = [word for run in _TOKEN.findall(text) for word in _split(run, _INSTRUCTIONS)]
    if any(word in _INSTRUCTIONS for word in words):
        return False
    if any(_CHINESE.match(word) for word in words):
        return sum(map(len, words)) <= _MAX_UNCLEAR_CHARACTERS
    return len(words) <= _MAX_UNCLEAR_WORDS


def _split(text: str, known: frozenset[str]) -> Iterator[str]:
    """Split a text into words. Chinese has no spaces, and is split into known words."""
    for run in _TOKEN.findall(text):
        if _CHINESE.match(run):
            yield from _segments(run, known)
        else:
            yield run


def _segments(run: str, known: frozenset[str]) -> list[str]:
    """Split a run of Chinese into known words. A run that has other parts stays whole."""
    # splits[n] has the known words that the first n characters consist of, or None.
    splits: list[list[str] | None] = [[], *[None] * len(run)]
    for end in range(1, len(run) + 1):
        for start in range(max(0, end - _MAX_WORD_LENGTH), end):
            before, word = splits[start], run[start:end]
            if before is not None and word in known:
                splits[end] = [*before, word]
                break
    return splits[-1] or [run]
