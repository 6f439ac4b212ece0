"""Attempts to talk a model out of its instructions, by the words and signs that such texts usually have. Pure.

A heuristic: it finds what is copied from lists of such texts and what hides in invisible characters, and is no proof of the opposite.
Rights of tools are the real fence. Each sign has a weight; texts that only mention such things stay below the threshold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any, Final, NamedTuple

from agenticflow.agents.guardrails.builtin.texts import texts_in
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.errors import DefinitionError

__all__ = ["injection_in", "prompt_injection"]

DEFAULT_THRESHOLD: Final = 1.0


class _Sign(NamedTuple):
    words: str
    weight: float
    pattern: str


_FORGET: Final = r"(?:ignore|disregard|forget|override|bypass|neglect|do not follow|don'?t follow|stop following)"
_EARLIER: Final = r"(?:previous|prior|above|earlier|preceding|foregoing|original|initial|existing|system|your)"
_RULES: Final = r"(?:instructions?|prompts?|rules?|guidelines?|directives?|programming|training|constraints?)"
_FEW: Final = r"(?:\W{1,8}\w{1,40}){0,4}?\W{1,8}"

_UNBOUND: Final = (
    r"(?:dan\b|do anything now|jailbroken|unrestricted|unfiltered|uncensored|evil"
    r"|without (?:any )?(?:restrictions|limits|rules|filters))"
)
_SAFETY: Final = r"(?:safety|filters?|guardrails?|moderation|ethic\w{0,20}|restrictions|content policy)"
_TELL: Final = r"(?:reveal|print|show|repeat|output|display|leak|tell me|give me|write out|what (?:is|are))"

_SIGNS: Final = tuple(
    _Sign(words, weight, pattern)
    for words, weight, pattern in (
        ("earlier instructions are to be ignored", 1.0, rf"\b{_FORGET}{_FEW}{_EARLIER}{_FEW}?\W{{0,8}}{_RULES}\b"),
        (
            "everything said before is to be forgotten",
            1.0,
            rf"\b{_FORGET}\W{{1,8}}(?:all|everything|anything)(?:\W{{1,8}}\w{{1,40}}){{0,3}}?\W{{1,8}}(?:before|above|so far|told|said)\b",
        ),
        (
            "the instructions are to be told",
            1.0,
            (
                rf"\b{_TELL}\W{{1,8}}(?:\w{{1,40}}\W{{1,8}}){{0,3}}?(?:your|the|initial|hidden|secret)\W{{1,8}}(?:\w{{1,40}}\W{{1,8}}){{0,2}}?"
                rf"(?:system\W{{0,8}}prompt|system\W{{0,8}}message|(?:initial|hidden|secret|original)\W{{1,8}}{_RULES})"
            ),
        ),
        (
            "the text above is to be repeated",
            1.0,
            r"\b(?:repeat|print|output|copy)\W{1,8}(?:\w{1,40}\W{1,8}){0,3}?(?:text|words|everything|content)\W{1,8}(?:\w{1,40}\W{1,8}){0,2}?above\b",
        ),
        (
            "another role without limits is given",
            1.0,
            r"\b(?:you are|you're|act as|pretend (?:to be|you are)|roleplay as|become)\W{1,8}(?:now\W{1,8})?(?:\w{1,40}\W{1,8}){0,4}?"
            + _UNBOUND,
        ),
        (
            "a mode without limits is switched on",
            1.0,
            (
                r"\b(?:enable|enter|activate|switch to|turn on|you are in)\W{1,8}(?:\w{1,40}\W{1,8}){0,2}?"
                r"(?:developer|debug|god|jailbreak|dan|sudo|admin|unrestricted)\W{1,8}mode\b"
            ),
        ),
        ("do anything now", 0.6, r"\bdo anything now\b"),
        (
            "new instructions are announced",
            0.6,
            rf"\b(?:new|updated|real|actual)\W{{1,8}}{_RULES}\W{{0,8}}(?::|follow|are\b|begin)",
        ),
        ("a new role is given", 0.4, r"\b(?:from now on|you are now|you will now|henceforth)\b"),
        (
            "somebody is to be kept in the dark",
            0.6,
            (
                r"\b(?:do not|don'?t|never)\W{1,8}(?:tell|inform|mention|reveal|alert|notify)\W{1,8}(?:\w{1,40}\W{1,8}){0,4}?"
                r"(?:user|human|anyone|operator|developer)\b"
            ),
        ),
        (
            "safety is to be switched off",
            0.6,
            rf"\b(?:without|disable|turn off|bypass|ignore)\W{{1,8}}(?:\w{{1,40}}\W{{1,8}}){{0,3}}?{_SAFETY}\b",
        ),
        (
            "markup of a model's own dialogue",
            1.0,
            r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)\|>|\[/?inst\]|<</?sys>>",
        ),
        (
            "a message of the system is pretended",
            0.6,
            r"(?m:^)\W{0,5}(?:system|assistant|developer)\W{0,5}(?:message|prompt|note|override)?\W{0,3}:",
        ),
        (
            "an end of the text is pretended",
            0.6,
            (
                r"(?<!-)-{3,40}\W{0,8}end of (?:\w{1,40}\W{1,8}){0,3}?(?:text|document|input|prompt|instructions|context)\b"
                r"|</(?:system|instructions|context|document|user_input)>"
            ),
        ),
        (
            "data is to be sent away in an image or a link",
            1.0,
            r"!\[[^\]]{0,200}\]\(https?://[^)\s]{0,300}[?&][^)\s]{0,200}(?:\{|<|\[|%7b)",
        ),
    )
)

_TAGS: Final = re.compile("[\U000e0020-\U000e007f]{3,}")
_FLAG: Final = "\U0001f3f4"
"""A black flag: what follows it in tags names a region, as in the flag of Scotland."""
_OVERRIDES: Final = re.compile("[\u202d\u202e]")


def prompt_injection(
    threshold: float = DEFAULT_THRESHOLD,
    *,
    kinds: Iterable[GuardrailKind | str] = (GuardrailKind.INPUT, GuardrailKind.TOOL_OUTPUT),
) -> Guardrail:
    """Let pass what shows fewer signs of an attempt than ``threshold`` weighs. A lower one finds more, and more that is harmless."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 10:
        raise DefinitionError(f"threshold is {threshold!r}", hint="give more than 0 and at most 10; 1 is usual")

    def check(ctx: Any, value: Any) -> Verdict:
        found = injection_in("\n".join(texts_in(value)), threshold)
        return not found, found

    return Guardrail(check, name="prompt_injection", kinds=kinds, is_quick=True)


def injection_in(text: str, threshold: float = DEFAULT_THRESHOLD) -> str:
    """Return the signs that reach the threshold, in words; empty when they do not."""
    found: list[str] = []
    total = 0.0
    for tags in _TAGS.finditer(text):
        if text[tags.start() - 1 : tags.start()] != _FLAG:
            found.append("a text in invisible characters")
            total += 1
            break
    if _OVERRIDES.search(text):
        found.append("letters that are shown in another order")
        total += 0.6
    plain = _seen(text)
    for sign in _SIGNS:
        if _compiled(sign.pattern).search(plain):
            found.append(sign.words)
            total += sign.weight
    return "; ".join(found) if found and total >= threshold else ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiling all of them takes as long as importing the rest of the package, and most programs need none."""
    return re.compile(pattern)


def _seen(text: str) -> str:
    """Return the text as a reader takes it: small letters, plain forms, nothing invisible, no marks."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    kept = [
        letter for letter in letters if unicodedata.category(letter) not in ("Cf", "Mn", "Cc") or letter in "\n\t\r"
    ]
    return re.sub(r"[ \t\r\f\v]+", " ", "".join(kept)).translate(_LOOKALIKES)


_LOOKALIKES: Final = str.maketrans("аеорсухіѕј’", "aeopcyxisj'")
"""Cyrillic letters that look like Latin ones, and the typographic apostrophe."""
