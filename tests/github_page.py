"""Markdown as GitHub's own renderer turns it into HTML, for tests of what a reader gets to see."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import cmarkgfm
from cmarkgfm.cmark import Options


class Page(HTMLParser):
    """What a browser would get: the elements, and the words outside of code."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ended: list[str] = []
        self.addresses: list[str] = []
        self.everything = ""
        self.outside_code = ""
        self._in_code = 0
        self.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        self._in_code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"
        self.ended.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append("!--")

    def handle_decl(self, decl: str) -> None:
        self.tags.append("!")

    def handle_data(self, data: str) -> None:
        self.everything += data
        self.outside_code += "\uffff" if self._in_code else data


# What GitHub turns into a link, a notification, an emoji or a formula after Markdown is rendered.
AUTOLINKED = re.compile(
    r"(?<![\w])@[A-Za-z0-9]|#\d|gh-\d|\b[0-9a-f]{7,40}\b|://|www\.\w|:[\w+-]+:", re.IGNORECASE | re.ASCII
)
