"""The one way by which a model's words, and words of a user that are repeated, reach GitHub and the REST API.

The text is parsed and written again, and only what stands on a list comes out (docs/decisions.md). What comes out can
be put below a blank line of our own Markdown, and may pass here again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gamma_bot.agent.allowed_links import AllowedLinks
from gamma_bot.agent.markdown_reader import disarm, parse, parse_line, plain
from gamma_bot.agent.markdown_tree import Block, Paragraph, Span, Text
from gamma_bot.agent.markdown_writer import shortened, written, written_line
from gamma_bot.agent.text_nodes import escaped

__all__ = ["MOST_CHARACTERS", "AllowedLinks", "plain_text", "sanitise", "sanitise_line"]

# GitHub takes 65,536; the rest is for the tables and footers around it.
MOST_CHARACTERS = 60_000
_CUT = "The rest was left out here: GitHub shows no more."


def sanitise(markdown: str, links: AllowedLinks) -> str:
    """The document as Markdown that shows its words and does nothing: at most 60,000 characters.

    Args:
        links: where a link may lead; of any other one its label is left.
    """
    # What is longer than the result may be is not read to its end: the work stays small, whatever comes.
    blocks = parse(markdown[:MOST_CHARACTERS], links)
    document = _shown(blocks, links)
    if len(markdown) <= MOST_CHARACTERS and len(document) <= MOST_CHARACTERS:
        return document
    note = Paragraph([Span("*", [Text(_CUT)])])
    part = min(1.0, (MOST_CHARACTERS - len(_CUT) - 9) / max(1, len(document)))
    while True:
        document = _shown([*shortened(blocks, part), note], links)
        if len(document) <= MOST_CHARACTERS:
            return document
        part *= 0.9


def sanitise_line(markdown: str, links: AllowedLinks, most: int) -> str:
    """As ``sanitise``, but one line for a list, a table or a sentence of ours: words, code, emphasis and links.

    Args:
        most: how many characters of the text are read.
    """
    clipped = markdown if len(markdown) <= most else markdown[: max(0, most - 1)].rstrip() + "…"
    return written_line(parse_line(clipped, links)).replace("\n", " ")


def plain_text(text: str, most: int) -> str:
    """One line of Markdown that shows the text character by character; no mark in it means anything.

    Args:
        most: how many characters a reader sees at most, not counting escapes.
    """
    return escaped(plain(text, most), at_line_start=True, is_last=True)


def _shown(blocks: Sequence[Block], links: AllowedLinks) -> str:
    # A copy: what is cut later has to be judged as it is then.
    copy = shortened(blocks, 1.0)
    disarm(copy, links)
    return written(copy)
