"""Numbers that are written without digits of ours: as words, as fractions, in signs of other scripts.

The policy asks for placeholders instead; whatever stands here can't be compared with the data, so it is not shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_TWO_TO_NINE = "two|three|four|five|six|seven|eight|nine"
_ONES = f"one|{_TWO_TO_NINE}"
_FROM_TEN = (
    "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty"
    "|seventy|eighty|ninety|dozens?|hundreds?|thousands?|millions?|billions?"
)
_PART = "thirds?|quarters?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?|thousandths?"
_ABOUT = r"(?:(?:about|almost|around|nearly|over|roughly|some|more than|less than|an?|one)\s+){0,3}"
_UNIT = r"percent|per\s+cent|per\s+mille|percentage|points?|pp|times|fold|seconds?|minutes?|hours?|days?|weeks?"

_IN_WORDS = tuple(
    re.compile(phrase, re.IGNORECASE)
    for phrase in (
        rf"\b(?:{_FROM_TEN})(?:-(?:{_ONES}))?\b(?!-?\s?fold)",
        rf"\b(?:{_TWO_TO_NINE}|half|third|quarter)\b[\s-]+(?:of\s+)?(?:an?\s+)?(?:{_UNIT})\b",
        r"\bone\s+(?:percent|per\s+cent|percentage)\b",
        rf"\b(?:point|comma)[\s-]+(?:zero|oh|{_ONES})\b",
        rf"\bby\s+{_ABOUT}(?:{_PART})\b",
        rf"\b(?:{_ONES})[\s-]+(?:{_PART})\b(?!-)",
        rf"\ban?\s+(?:{_PART})\s+(?:of|as|less|more|higher|lower|larger|smaller|better|worse|faster|slower)\b",
        rf"\b(?:{_ONES})\s+(?:out\s+of|in|of)\s+(?:the\s+)?(?:{_ONES})\b",
    )
)


def amounts_in_words(prose: str) -> Iterator[str]:
    """The numbers of a sentence that are words.

    Args:
        prose: without code and placeholders.
    """
    for phrase in _IN_WORDS:
        for match in phrase.finditer(prose):
            yield match[0]


def foreign_numbers(prose: str) -> Iterator[str]:
    """Fractions, raised, circled and Roman numbers, and digits of other scripts; "R²" and "m²" are names."""
    for at, sign in enumerate(prose):
        if sign.isascii() or unicodedata.category(sign) not in ("Nd", "Nl", "No"):
            continue
        if not (sign in "²³" and prose[at - 1 : at].isalpha()):
            yield sign
