"""Removes instructions for the editor's screen from the agent's texts: users do not see the editor.

Descriptions of the clip are kept, and the actions that the instructions imply are returned.
Source: docs/video-api.md, "What the backend says and what we do".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ImpliedAction(StrEnum):
    """An action that a removed instruction implies."""

    EXPORT = "export"
    TIMELINE = "timeline"
    CREDITS = "credits"
    EDIT = "edit"  # an edit by dragging; as a message it costs credits, so a person must send it


@dataclass(frozen=True, slots=True)
class CleanedText:
    """A text without instructions for a screen, and the actions that these implied."""

    text: str
    actions: frozenset[ImpliedAction]


_PLACE: Final = (
    r"(?:button|icon|panel|tab|menu|sidebar|side bar|toolbar|tool bar|dialog|window|page|"
    r"dashboard|settings|workspace|editor|preview pane|timeline|drop-?down|checkbox|slider|"
    r"corner|screen)s?"
)
_LEAD: Final = (
    r"(?:(?:please|pls|just|simply|now|then|next|first|finally|alternatively|also|or|and|"
    r"so|once (?:ready|done)|when (?:ready|you're ready|you are ready)|"
    r"(?:you|users?)(?: can| may| could| might| should| need to| have to| will need to|'ll need to|"
    r" must)(?: now| also| then| simply| just| always)*|feel free to|go ahead and|"
    r"(?:if you(?:'d| would)? (?:like|want|prefer|wish)|to (?:do|get) (?:this|that|so|it)),?|"
    r"don't forget to|remember to|try to|"
    r"(?:i(?:'d)? (?:suggest|recommend)(?: that)?|want to|would you like to)(?: you)?)[ ,:]+)*"
)
_CLICK: Final = r"(?:right[- ]|double[- ])?(?:click|tap)"
_OBJECT: Final = rf"(?:\S+ ){{0,6}}?{_PLACE}\b"
_ENGLISH: Final = re.compile(
    rf"^{_LEAD}(?:"
    # "Click tracks were added" is about the sound.
    rf"{_CLICK}(?:\b(?! (?:sounds?|tracks?|noises?|effects?)\b))(?! (?:was|were|is|are)\b)|"
    rf"(?:press|hit|select|choose|use|find|locate|look for|see|open|close|expand|go (?:back )?to|"
    rf"head (?:over )?to|navigate to|switch to|visit|scroll (?:to|down|up)|hover over|check)\b "
    rf"{_OBJECT}|"
    rf"(?:drag|drop)\b(?! (?:shadows?|of)\b)|"
    rf"(?:check|view|review|visit|see|manage) (?:your|the) (?:\w+ )?"
    rf"(?:account|billing|balance|credits?|plan|subscription)\b|"
    rf"preview (?:\S+ ){{0,4}}?(?:in|on) (?:the |your )?timeline|"
    rf"(?:preview|export|download) (?:\S+ ){{0,6}}?"
    rf"(?:in|on|from|via|using|with|by) (?:\S+ ){{0,4}}?(?:{_PLACE}|clicking|tapping|pressing)\b|"
    rf"(?:to|for) (?:\S+ ){{0,8}}?(?:click|tap)\b"
    rf")",
    re.IGNORECASE,
)
_SCREEN: Final = re.compile(
    rf"\b(?:by|after|before) "
    rf"(?:clicking|tapping|pressing|dragging|opening (?:\S+ ){{0,3}}?{_PLACE})\b|"
    rf"\b(?:the|your|an?) [*_`\"“]*(?:export|download|share|save|render|play|preview|generate)"
    rf"[*_`\"”]* (?:button|icon|tab|menu)\b|"
    rf"\bpreview(?:ed|ing)? (?:\S+ ){{0,4}}?(?:in|on) (?:the |your )?timeline\b",
    re.IGNORECASE,
)
_ZH_LEAD: Final = (
    r"(?:(?:请|您|你|用户|可以|可|能|需要|只需|只要|然后|接着|再|先|直接|之后|最后|现在|就|即可|"
    r"如需|如果|或者|或|也|并|并且|随时|继续|通过|来|去|要|想|试试|记得|别忘了|点|完成后|稍后|"
    r"在[^，。！？]{1,16}?(?:上|下|里|中|内|角|处|侧|方|边|栏)|"
    r"(?:如需|若要|想要|要)[^，。！？点打拖]{1,10})[，、：\s]*)*"
)
_ZH_PLACE: Final = (
    r"(?:面板|窗口|菜单|标签页?|选项卡|时间线|时间轴|设置|页面|界面|编辑器|侧边栏|工具栏|对话框|"
    r"工作区|按钮|图标)"
)
_CHINESE: Final = re.compile(
    rf"^{_ZH_LEAD}(?:"
    r"(?:右键|左键)?(?:点击|单击|双击|点按|轻点|点选)(?!声|音|效果音)|"
    rf"(?:打开|关闭|进入|切换到|前往|转到|选择|使用|找到)[^，。！？]{{0,14}}?{_ZH_PLACE}|"
    r"(?:拖拽|拖动|拖放|拖到|拖入|把[^，。！？]{1,12}拖|将[^，。！？]{1,12}拖)|"
    rf"(?:在|到)?(?:时间线|时间轴)[上中里]?(?:进行)?(?:预览|查看)|"
    r"(?:预览|查看)[^，。！？]{0,8}(?:时间线|时间轴)|"
    r"(?:检查|查看|查询|核对|确认)[^，。！？]{0,6}(?:账户|帐户|账单|余额|积分|套餐)|"
    rf"(?:充值|导出|下载|保存)[^，。！？]{{0,8}}?{_ZH_PLACE}"
    r")"
)
_ZH_SCREEN: Final = re.compile(
    r"通过(?:点击|单击|拖拽|拖动)|[“\"「【]?(?:导出|下载|保存|分享)[”\"」】]?(?:按钮|图标|菜单)|"
    r"(?:在|到)(?:时间线|时间轴)[上中里]?预览"
)

_ACTIONS: Final = (
    (ImpliedAction.EXPORT, re.compile(r"\b(?:export|download)\w*\b|导出|下载", re.IGNORECASE)),
    (
        ImpliedAction.TIMELINE,
        re.compile(
            r"\b(?:preview\w*|timeline|open\b.*\b(?:panel|tab|window|editor))\b|预览|时间线|时间轴|打开",
            re.IGNORECASE,
        ),
    ),
    (
        ImpliedAction.CREDITS,
        re.compile(
            r"\b(?:account|billing|balance|credits?|top up)\b|账户|帐户|账单|余额|积分|充值",
            re.IGNORECASE,
        ),
    ),
    (
        ImpliedAction.EDIT,
        re.compile(r"\b(?:drag|drop)(?:ging)?\b|拖拽|拖动|拖放|拖到|拖入|拖", re.IGNORECASE),
    ),
)

_PREFIX: Final = re.compile(r"^(\s*(?:>\s*)*(?:[-*+•]\s+|\d+[.)、]\s*|#{1,6}\s+)?)(.*)$", re.DOTALL)
_ORDERED: Final = re.compile(r"^(\s*)\d+([.)、]\s*)")
_SENTENCE: Final = re.compile(
    r".+?(?:[.!?…]+[\"”’')\]*_]*(?=\s|$)|[。！？]+[”’」）]*|$)\s*", re.DOTALL
)
_JOINT: Final = re.compile(
    r"(?:\s*[,;，；]\s*|\s+[-–—]+\s+|\s*——\s*)(?:(?:and|or|but|so|then)\b(?:\s+then\b)?\s*)?"
    r"|\s+(?:and|or|then|but)\s+(?:then\s+)?(?=(?:please |just |simply |you can )?"
    r"(?:click|tap|press|open|drag|drop|go to|use|select|check|preview|export|download)\b)",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|«[^»\n]*»|`[^`\n]*`")
_MARKUP: Final = re.compile(r"[*_`]+")
_ENDING: Final = re.compile(r"[.!?。！？…]+[\"”’')\]」）*_]*\s*$")
_PURPOSE: Final = re.compile(
    r"^(?:to (?:export|download|save|preview|view|share|get|finish|edit|change|adjust|continue)\b|"
    r"if (?:you|it)\b|when (?:you|it)\b|once (?:you|it)\b|如需|如果|若要|"
    r"要(?:导出|下载|预览|查看|调整))",
    re.IGNORECASE,
)
_LEFTOVER: Final = re.compile(
    r"^(?:(?:and|or|then|so)?\s*(?:it(?:'s| is) )?(?:to|for) |then\b|"
    r"即可|就可以|就能|来(?:导出|下载|预览)|"
    r"(?:and )?(?:choose|select|pick|wait for|save|confirm|it will|your download)\b)",
    re.IGNORECASE,
)


def remove_instructions(text: str) -> CleanedText:
    """Remove the instructions for a screen from a text of the agent.

    Args:
        text: A text in English or Chinese, with or without Markdown.
    """
    actions: set[ImpliedAction] = set()
    kept: list[str | None] = []
    for line in text.splitlines():
        prefix, body = _split_prefix(line)
        rest = "".join(_clean_sentence(each, actions) for each in _SENTENCE.findall(body))
        if rest.strip():
            kept.append((prefix + rest).rstrip())
        else:
            kept.append(None if body.strip() else line.rstrip())
    return CleanedText(_join_lines(kept), frozenset(actions))


def _split_prefix(line: str) -> tuple[str, str]:
    found = _PREFIX.match(line)
    return (found[1], found[2]) if found else ("", line)


def _clean_sentence(sentence: str, actions: set[ImpliedAction]) -> str:
    """Return a sentence without its instructions, and add the actions that they imply."""
    kept: list[str] = []
    removed = False
    for joint, clause in _clauses(sentence):
        if _is_instruction(clause):
            actions.update(_implied(clause))
            # "To download it, click …": the purpose is removed with its instruction.
            while kept and _PURPOSE.match(_without_markup(kept[-1]).lstrip(" ,;，；")):
                actions.update(_implied(kept.pop()))
            removed = True
        elif removed and _LEFTOVER.match(_without_markup(clause)):
            actions.update(_implied(clause))
        else:
            kept.append((joint if kept else "") + clause)
    if not removed:
        return sentence
    rest = "".join(kept).strip()
    return _as_sentence(rest, sentence) if any(sign.isalnum() for sign in rest) else ""


def _clauses(sentence: str) -> Iterator[tuple[str, str]]:
    """Split a sentence into clauses, each with the joint before it. Quotes are not split."""
    masked = _QUOTED.sub(lambda quoted: "\x00" * len(quoted[0]), sentence)
    start, joint = 0, ""
    for found in _JOINT.finditer(masked):
        yield joint, sentence[start : found.start()]
        start, joint = found.end(), sentence[found.start() : found.end()]
    yield joint, sentence[start:]


def _is_instruction(clause: str) -> bool:
    plain = _without_markup(clause)
    # A quoted text is a button's label or a title; neither is an instruction by itself.
    without_quotes = _QUOTED.sub("X", plain)
    return bool(
        _ENGLISH.match(without_quotes)
        or _CHINESE.match(without_quotes)
        or _SCREEN.search(plain)
        or _ZH_SCREEN.search(plain)
    )


def _without_markup(clause: str) -> str:
    """Remove Markdown from a clause."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", clause)
    return _MARKUP.sub("", text).replace("’", "'").strip()


def _implied(clause: str) -> Iterator[ImpliedAction]:
    return (action for action, pattern in _ACTIONS if pattern.search(clause))


def _as_sentence(rest: str, sentence: str) -> str:
    """Give what is left of a sentence its capital letter, its ending and its space."""
    rest = rest.strip(" ,;，；")
    rest = rest[:1].upper() + rest[1:]
    if not _ENDING.search(rest):
        ending = re.search(r"([.!?。！？])\s*$", sentence)
        rest += ending[1] if ending else ""
    return rest + sentence[len(sentence.rstrip()) :]


def _join_lines(lines: list[str | None]) -> str:
    """Join the lines that are left, without orphaned headings, and number lists again."""
    kept: list[str] = []
    number = 0
    for position, line in enumerate(lines):
        if line is None or _is_orphaned_heading(lines, position):
            continue
        ordered = _ORDERED.match(line)
        number = number + 1 if ordered else 0
        if ordered and None in lines:
            line = f"{ordered[1]}{number}{ordered[2]}{line[ordered.end() :]}"  # noqa: PLW2901
        kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _is_orphaned_heading(lines: list[str | None], position: int) -> bool:
    """Return whether a line introduces a list or a section that was removed as a whole."""
    line = lines[position]
    if line is None or not (line.rstrip("*_ ").endswith((":", "：")) or line.startswith("#")):
        return False
    after = [below for below in lines[position + 1 :] if below is None or below.strip()]
    return bool(after) and after[0] is None and not _continues_list(after)


def _continues_list(after: list[str | None]) -> bool:
    """Return whether the first line that is left is another item of the same list."""
    following = next((line for line in after if line is not None), "")
    return re.match(r"\s*(?:[-*+•]\s|\d+[.)、])", following) is not None
