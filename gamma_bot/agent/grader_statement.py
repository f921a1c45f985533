"""One sentence and what it claims: numbers with their roles, directions, verdicts, and code that it quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gamma_bot.agent.facts import Judged, Metric, Param
from gamma_bot.agent.grader_input import Input
from gamma_bot.agent.grader_mood import is_hedged, is_hoped, is_negated, said_of_all
from gamma_bot.agent.grader_numbers import Literal, Subject, direction_of, metric_values, pair_of, param_values
from gamma_bot.agent.grader_reading import ASSIGNMENT, Word
from gamma_bot.agent.grader_words import (
    BASELINE_CUES,
    BOTH_WAYS,
    CHANGE_CUES,
    CLAUSE_BEGINS,
    COUNTED,
    CURRENT_CUES,
    DIRECTIONS,
    FACTORS,
    HARMLESS_WORDS,
    HEDGES,
    MOVING,
    NOTHING_FOLLOWS,
    OF_NO_METRIC,
    SAID_OF_WHAT_FOLLOWS,
    TOLERANCE_CUES,
    VERDICTS,
)
from gamma_bot.agent.placeholders import read

_REACH = 3  # words between a cue ("from") and its number


@dataclass(frozen=True)
class Field:
    """A text of a write-up and what it is about.

    Attributes:
        about: the metric that sentences are about which name none.
        holds_verdict: "improves" without a metric speaks of the primary one.
        proposes: code in it is what somebody may try; it need not be in the input.
        predicts: its directions are what is hoped for, and not what was.
    """

    text: str
    about: str = ""
    holds_verdict: bool = False
    proposes: bool = False
    predicts: bool = False


class Statement:
    """One sentence.

    Args:
        words: what it consists of; ``subjects`` says which of them, by place, are metrics and parameters.
        default: what it speaks of if it names nothing.
    """

    def __init__(
        self,
        known: Input,
        field: Field,
        words: Sequence[Word],
        subjects: Mapping[int, Subject],
        default: Subject | None,
    ) -> None:
        self._known = known
        self._field = field
        self._words = words
        self._subjects = subjects
        self._default = default

    def problems(self) -> Iterator[str]:
        """What is not true in it, or can't be known."""
        for at, word in enumerate(self._words):
            match word.kind:
                case "number":
                    yield from self._number(at)
                case "placeholder":
                    yield from self._placeholder(at)
                case "code":
                    yield from self._code(word.text)
                case "word":
                    yield from self._word(at)

    # Numbers

    def _number(self, at: int) -> Iterator[str]:
        text = self._words[at].text
        literal = Literal.read(text)
        noun = next((word.text.lower() for word in self._words[at + 1 : at + 3] if word.text.lower() in COUNTED), "")
        if noun and not literal.unit:  # "2 % files" counts nothing
            if literal.value not in self._known.count_of(noun):
                yield f"the number {text} ({noun}) can't be derived from the input"
            return
        subject = self._subject_at(at)
        role = self._role(at)
        if isinstance(subject, Metric):
            allowed = metric_values(subject, role, literal, self._claimed_direction())
        elif isinstance(subject, Param):
            allowed = param_values(subject, role, literal)
        else:
            allowed = []
            if self._known.quotes_number(text):
                return
        if not any(literal.is_rounding_of(value) for value in allowed):
            whose = f" for `{subject.name}`" if subject is not None else ""
            as_what = f" as its {role}" if role else ""
            yield f"the number {text} can't be derived{whose}{as_what}"

    def _placeholder(self, at: int) -> Iterator[str]:
        wanted = read(self._words[at].text[2:-2])
        role = self._role(at)
        if role == "tolerance":
            yield f"{self._words[at].text} is no tolerance"
        # "It should return to [[val_loss.baseline]]" is hoped for.
        if {role, wanted.field} == {"baseline", "current"} and not (role == "current" and is_hoped(self._words, at)):
            yield f"{self._words[at].text} stands where the {role} value belongs"
        if role in ("baseline", "current") and wanted.field in ("delta", "rel"):
            yield f"{self._words[at].text} is a change and stands where the {role} value belongs"
        if role == "change" and wanted.field in ("baseline", "current"):
            yield f"{self._words[at].text} is a value and stands where a change belongs"
        said_of = self._said_of(at)
        if said_of and said_of != wanted.metric and all(wanted.metric != each.name for each in self._metrics()):
            yield f"{self._words[at].text} is no number of `{said_of}`, of which it is said"

    def _said_of(self, at: int) -> str:
        """The metric that a placeholder is about by the words just before it, in the same clause."""
        for place in range(at - 1, -1, -1):
            word = self._words[place]
            text = word.text.lower()
            if isinstance(subject := self._subjects.get(place), Metric):
                return subject.name
            if word.kind == "placeholder" or text in (",", ";") or text in CLAUSE_BEGINS:
                return ""
            if text in ("it", "this") and place == 0:
                return self._default.name if isinstance(self._default, Metric) else ""
        return ""

    def _metrics(self) -> Iterator[Metric]:
        return (subject for subject in self._subjects.values() if isinstance(subject, Metric))

    def _role(self, at: int) -> str:
        """What the words before a number make of it: baseline, current, change, tolerance, or nothing."""
        seen = 0
        for word, before in self._words_before(at):
            if word.kind in ("number", "placeholder", "mark"):
                return ""
            if word.kind != "word":
                continue
            text = word.text.lower()
            if text in TOLERANCE_CUES:
                return "tolerance"
            if text in ("to", "with") and before in ("compared", "relative", "contrast", "respect"):
                return "baseline"
            if text in BASELINE_CUES:
                return "baseline"
            if text in CURRENT_CUES:
                return "current"
            if text in CHANGE_CUES:
                return "change"
            seen += 1
            if seen >= _REACH:
                return ""
        return ""

    def _words_before(self, at: int) -> Iterator[tuple[Word, str]]:
        for place in range(at - 1, -1, -1):
            before = self._words[place - 1].text.lower() if place else ""
            yield self._words[place], before

    # Directions

    def _word(self, at: int) -> Iterator[str]:
        text = self._words[at].text.lower()
        if re.search(r"\d", text):
            if text not in HARMLESS_WORDS and not self._known.knows(self._words[at].text):
                yield f"{self._words[at].text} is not in the input"
            return
        if self._field.predicts or is_hedged(self._words, at):
            return
        if text in FACTORS:
            yield from self._factor(at, *FACTORS[text])
        elif text in DIRECTIONS:
            before = self._words[at - 1].text.lower() if at else ""
            if text in ("up", "down") and before not in MOVING and self._next_word(at) not in ("by", "from", "to", ""):
                return
            yield from self._direction(at, DIRECTIONS[text])
        elif text in VERDICTS:
            yield from self._verdict(at, VERDICTS[text])
        elif text == "within" and TOLERANCE_CUES & {word.text.lower() for word in self._words[at + 1 : at + 4]}:
            yield from self._verdict(at, Judged.SAME)

    def _direction(self, at: int, claimed: int) -> Iterator[str]:
        subject = self._subject_of_verb(at)
        said = self._words[at].text
        actual = direction_of(subject)
        if actual is None:
            return
        negated = is_negated(self._words, at)
        if isinstance(subject, Metric) and subject.judged in (Judged.NO_BASELINE, Judged.NOT_FINITE):
            if not negated:
                yield f"{said!r} is not known of `{subject.name}`: there is nothing to compare it with"
            return
        assert subject is not None
        if negated and actual == claimed:
            yield f"`{subject.name}` did what is denied by {said!r}"
        if not negated and actual != claimed:
            yield f"{said!r} is not what `{subject.name}` did"

    def _verdict(self, at: int, claimed: Judged) -> Iterator[str]:
        said, negated = self._words[at].text, is_negated(self._words, at)
        if some := said_of_all(self._words, at):
            wrong = [m for m in self._known.metrics.values() if (m.judged is claimed) == (negated or some == "no")]
            if wrong:
                yield f"{said!r} is not so of `{wrong[0].name}`, which is {wrong[0].judged.value!r}"
            return
        before = {word.text.lower() for word in self._words[:at]}
        if claimed is Judged.SAME and not self._subjects and before & OF_NO_METRIC:
            return
        subject = self._subject_of_verb(at)
        if subject is None and self._field.holds_verdict:
            subject = self._known.primary
        if not isinstance(subject, Metric):
            return
        if claimed is Judged.SAME:
            holds = subject.judged is Judged.SAME or subject.delta == 0
        else:
            holds = subject.judged is claimed
            # Within the tolerance a value may be told to have moved a little to the good, if that is said.
            if subject.judged is Judged.SAME and subject.direction and self._speaks_of_tolerance():
                good = 1 if subject.goal == "maximize" else -1
                holds = (subject.direction == good) == (claimed is Judged.BETTER)
        if holds == negated:
            yield f"{said!r} contradicts the verdict on `{subject.name}`, which is {subject.judged.value!r}"

    def _factor(self, at: int, low: float, high: float) -> Iterator[str]:
        subject = self._subject_of_verb(at)
        pair = pair_of(subject)
        if pair is None or subject is None:
            return
        before, after = pair
        said = self._words[at].text
        ratios = [after / before, before / after] if before and after else []
        if not any(low <= ratio <= high for ratio in ratios[: 2 if said.lower() in BOTH_WAYS else 1]):
            yield f"{said!r} is not what `{subject.name}` did"

    def _subject_of_verb(self, at: int) -> Subject | None:
        """What a word speaks of: its object ("raises `lr`", "a smaller step"), or else what comes before it."""
        if self._words[at].text.lower() not in SAID_OF_WHAT_FOLLOWS:
            return self._subject_at(at)
        for place in range(at + 1, min(at + 5, len(self._words))):
            if place in self._subjects:
                return self._subjects[place]
            word = self._words[place]
            text = word.text.lower()
            if word.kind != "word" or text.endswith("ly") or text in NOTHING_FOLLOWS | HEDGES:
                return self._subject_at(at) if place == at + 1 else None
        return None if self._next_word(at) else self._subject_at(at)

    def _subject_at(self, at: int) -> Subject | None:
        before = [place for place in self._subjects if place < at]
        if before:
            return self._subjects[max(before)]
        after = [place for place in self._subjects if place > at]
        if after and not self._field.about:
            return self._subjects[min(after)]
        return self._default if self._default is not None or not after else self._subjects[min(after)]

    def _claimed_direction(self) -> int:
        """The one direction that the sentence speaks of; 0 if it is none or both."""
        found = {
            DIRECTIONS[word.text.lower()]
            for word in self._words
            if word.kind == "word" and word.text.lower() in DIRECTIONS
        }
        return found.pop() if len(found) == 1 else 0

    def _speaks_of_tolerance(self) -> bool:
        return any(word.text.lower() in TOLERANCE_CUES for word in self._words)

    def _next_word(self, at: int) -> str:
        following = self._words[at + 1] if at + 1 < len(self._words) else None
        return following.text.lower() if following is not None and following.kind == "word" else ""

    # Code

    def _code(self, text: str) -> Iterator[str]:
        if "[[" in text:
            yield f"`{text}` has a placeholder in the midst of code"
        if self._field.proposes or not any(map(str.isnumeric, text)) or self._known.knows(text):
            return
        match = ASSIGNMENT.fullmatch(text)
        param = self._known.params.get(match[1]) if match else None
        if match and param is not None and match[2] in (param.value, param.before):
            return
        yield f"`{text}` does not stand in the input"
