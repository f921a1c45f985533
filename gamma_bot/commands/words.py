"""The words of a command line, split as a shell would: blanks separate, quotes and backslashes keep together."""

from __future__ import annotations

from dataclasses import dataclass

# Phones and word processors turn straight quotes into curly ones.
_CLOSES = {'"': '"', "'": "'", "“": "”", "„": "“", "‘": "’"}
_ESCAPED_IN_DOUBLE_QUOTES = '"\\'


@dataclass(frozen=True)
class Word:
    """One word without its quotes.

    Attributes:
        equals: where the first ``=`` stands that no quote or backslash hides; ``None`` without one.
        quoted: something after that ``=`` (or anywhere, without one) was in quotes: it is meant as text.
    """

    text: str
    equals: int | None = None
    quoted: bool = False

    @property
    def name(self) -> str | None:
        """What stands before the ``=`` of ``name=value``; ``None`` if this is a plain word."""
        return self.text[: self.equals] if self.equals else None

    @property
    def value(self) -> str:
        """What stands after the ``=``; of a plain word, all of it."""
        return self.text[self.equals + 1 :] if self.equals else self.text


@dataclass(frozen=True)
class Unclosed:
    """A quote was opened and never closed."""

    quote: str


def split_words(line: str) -> tuple[Word, ...] | Unclosed:
    """The words of a line."""
    words: list[Word] = []
    place = 0
    while place < len(line):
        if line[place].isspace():
            place += 1
            continue
        word, place, unclosed = _read_word(line, place)
        if unclosed:
            return Unclosed(unclosed)
        if word.text or word.quoted:  # a lone backslash at the end is no word
            words.append(word)
    return tuple(words)


def _read_word(line: str, place: int) -> tuple[Word, int, str]:
    """The word that begins at a place, the place after it, and the quote that is open at the end of the line."""
    kept: list[str] = []
    equals: int | None = None
    quoted = False
    closer = opener = ""
    while place < len(line):
        sign = line[place]
        following = line[place + 1 : place + 2]
        if closer:
            if sign == closer:
                closer = ""
            elif sign == "\\" and closer == '"' and following and following in _ESCAPED_IN_DOUBLE_QUOTES:
                kept.append(following)
                place += 1
            else:
                kept.append(sign)
        elif sign.isspace():
            break
        elif sign in _CLOSES:
            closer, opener, quoted = _CLOSES[sign], sign, True
        elif sign == "\\":
            # At the end of a line, Markdown takes a backslash for a line break and shows none.
            kept.append(following)
            place += 1
        else:
            if sign == "=" and equals is None:
                equals, quoted = sum(map(len, kept)), False
            kept.append(sign)
        place += 1
    return Word("".join(kept), equals, quoted), place, opener if closer else ""
