"""How a word is said: as what happened, as a supposition, as denied, or of all metrics at once."""

from __future__ import annotations

from collections.abc import Sequence

from gamma_bot.agent.grader_reading import Word
from gamma_bot.agent.grader_words import (
    CLAUSE_BEGINS,
    HAPPENED,
    HEDGES,
    NEGATIONS,
    NO_NEGATION_BEFORE,
    WEAK_HEDGES,
)


def is_hedged(words: Sequence[Word], at: int) -> bool:
    """Whether what a word says is supposed or wanted only."""
    before = [word.text.lower() for word in words[:at]]
    if words[at].text.lower() not in HAPPENED:
        return not HEDGES.isdisjoint(before)
    clause = max((place + 1 for place, text in enumerate(before) if text == "," or text in CLAUSE_BEGINS), default=0)
    return not (HEDGES - WEAK_HEDGES).isdisjoint(before[clause:])


def is_hoped(words: Sequence[Word], at: int) -> bool:
    """Whether a number is what a value should or could become: "it should return to [[val_loss.baseline]]"."""
    return not (HEDGES - WEAK_HEDGES).isdisjoint(word.text.lower() for word in words[:at])


def is_negated(words: Sequence[Word], at: int) -> bool:
    """Whether a word is denied just before it."""
    near = [word.text.lower() for word in words[max(0, at - 4) : at] if word.kind == "word"]
    return any(
        (text in NEGATIONS or text.endswith(("n't", "n’t"))) and following not in NO_NEGATION_BEFORE
        for text, following in zip(near, [*near[1:], ""], strict=False)
    )


def said_of_all(words: Sequence[Word], at: int) -> str:
    """ "all" or "no" if a verdict is one on every metric, as in "all metrics improved" and "nothing got worse"."""
    texts = [word.text.lower() for word in words]
    for place in range(max(0, at - 6), at):
        of_metrics = not {"metric", "metrics"}.isdisjoint(texts[place + 1 : place + 4])
        if texts[place] == "everything" or (texts[place] in ("all", "every", "each", "both") and of_metrics):
            return "all"
        if texts[place] == "nothing" or (texts[place] in ("no", "none") and of_metrics):
            return "no"
    return ""
