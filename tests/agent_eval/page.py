"""A comment as GitHub's parser reads it, and what in it would do something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

_ALLOWED = {"p", "ul", "ol", "li", "strong", "em", "del", "code", "a", "br"}
_LIVE = {
    "a mention": r"(?<![\w`])@\w",
    "an issue": r"#\d|\bGH-\d",
    "an address": r"(?i)\b(?:https?|ftp)://|\bwww\.\w",
    "a command": r"(?m)^\s*/gamma",
    "mathematics": r"\$\$|(?<!\w)\$[^\s$][^$\n]*\$(?!\w)",
    "a placeholder": r"\[\[|\]\]",
}


class Page(HTMLParser):
    """The comment, parsed by cmark-gfm."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.comments: list[str] = []
        self.text_nodes = ""
        self._in_code = 0

    @classmethod
    def of(cls, markdown: str) -> Page:
        import cmarkgfm
        from cmarkgfm.cmark import Options

        page = cls()
        # Raw HTML is let through, as GitHub's sanitiser would see it: hidden, it could not be found here.
        page.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))
        page.close()
        return page

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_code += tag == "code"
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if not self._in_code:
            self.text_nodes += data


def live_marks(markdown: str) -> Iterator[str]:
    """What is more than words, code, lists and links."""
    page = Page.of(markdown)
    for tag in sorted(page.tags - _ALLOWED):
        yield f"rendering: <{tag}>"
    for comment in page.comments:
        yield f"rendering: a comment that nobody sees, {comment[:20]!r}"
    for name, pattern in _LIVE.items():
        if re.search(pattern, page.text_nodes):
            yield f"rendering: {name} is live"
