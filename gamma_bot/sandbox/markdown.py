"""Comments and check outputs as HTML, the way GitHub shows them: its Markdown dialect, its allowlist, its autolinks.

The order is what makes it safe: cmark writes HTML, the sanitiser keeps what GitHub keeps (no class, no style, no id, no
script), and only after that our own classes, links and charts are put in by a serialiser that escapes everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from typing import Protocol

import cmarkgfm
import nh3
from cmarkgfm.cmark import Options
from markupsafe import Markup

from gamma_bot.sandbox import mermaid


class References(Protocol):
    """What the words ``@ada``, ``#7`` and ``4f2c9e1`` point at; ``None`` leaves the word as it is."""

    def user(self, login: str) -> str | None:
        """The address of a person's or an App's page."""

    def issue(self, repository: str | None, number: int) -> str | None:
        """The address of an issue or pull request; ``repository`` is None for the one the text stands in."""

    def commit(self, repository: str | None, prefix: str) -> str | None:
        """The address of the commit whose SHA starts with ``prefix``."""


def render(text: str | None, references: References, *, hard_breaks: bool = False) -> Markup:
    """Markdown to HTML that is safe to put into a page.

    Args:
        text: what the author or the App wrote, untrusted.
        hard_breaks: a line end is a line break, as in comments; a file or a check output joins the lines.
    """
    options = Options.CMARK_OPT_UNSAFE | (Options.CMARK_OPT_HARDBREAKS if hard_breaks else 0)
    html = cmarkgfm.github_flavored_markdown_to_html((text or "").replace("\0", "\N{REPLACEMENT CHARACTER}"), options)
    return Markup(_serialise(_tokens(sanitise(html)), references))  # noqa: S704 - every part is escaped there


def sanitise(html: str) -> str:
    """Keep what GitHub's own sanitiser keeps; comments, scripts, styles, classes and event handlers go."""
    return nh3.clean(
        html,
        tags=set(_TAGS.split()),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        tag_attribute_values={"input": {"type": {"checkbox"}}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow",
    )


_TAGS = (
    "a abbr b bdo blockquote br caption cite code dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4 h5 h6"
    " hr i img input ins kbd li mark ol p picture pre q rp rt ruby s samp small source span strike strong sub summary"
    " sup table tbody td tfoot th thead time tr tt ul var wbr"
)
_ATTRIBUTES = {
    "*": ("align", "dir", "title", "width", "height"),
    "a": ("href",),
    "bdo": ("dir",),
    "details": ("open",),
    "img": ("src", "alt"),
    "input": ("checked", "disabled"),
    "ol": ("start",),
    "pre": ("lang",),
    "source": ("srcset", "media"),
    "td": ("colspan", "rowspan"),
    "th": ("colspan", "rowspan"),
    "time": ("datetime",),
}

_VOID = frozenset({"br", "hr", "img", "input", "source", "wbr"})
_LITERAL = frozenset({"a", "code", "pre", "samp", "tt"})
_ALERT = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\][ \t]*(?:\n|$)")
_AUTOLINK = re.compile(
    r"(?<![\w/.@`-])@(?P<login>[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}(?:\[bot\])?)(?![\w-])"
    r"|(?<![\w/.@&-])(?P<repository>[\w-]{1,39}/[\w.-]{1,100})?#(?P<number>[0-9]{1,9})(?!\w)"
    r"|(?<![\w/.@-])(?:(?P<origin>[\w-]{1,39}/[\w.-]{1,100})@)?(?P<sha>[0-9a-f]{7,40})(?![\w-])"
)


@dataclass
class _Token:
    """A start tag, an end tag (``closes``) or a text (no ``tag``)."""

    tag: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    closes: bool = False


class _Tokenizer(HTMLParser):
    """Reads the sanitiser's output, which is well formed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tokens: list[_Token] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tokens.append(_Token(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        self.tokens.append(_Token(tag, closes=True))

    def handle_data(self, data: str) -> None:
        self.tokens.append(_Token(text=data))


def _tokens(html: str) -> list[_Token]:
    tokenizer = _Tokenizer()
    tokenizer.feed(html)
    tokenizer.close()
    return tokenizer.tokens


def _serialise(tokens: list[_Token], references: References) -> str:
    parts: list[str] = []
    literal_depth = 0
    quotes: list[str] = []  # how each open blockquote has to be closed
    stream = _Stream(tokens)
    for token in stream:
        if not token.tag:
            parts.append(escape(token.text, quote=False) if literal_depth else _autolink(token.text, references))
            continue
        if token.tag == "blockquote":
            if token.closes:
                parts.append(quotes.pop() if quotes else "")
            elif not quotes and (kind := stream.take_alert()):
                quotes.append("</div>")
                parts.append(f'<div class="alert alert-{kind}"><p class="alert-title">{kind.capitalize()}</p>')
            else:
                quotes.append("</blockquote>")
                parts.append("<blockquote>")
            continue
        if token.tag == "pre" and not token.closes:
            parts.append(_code_block(token.attributes.get("lang", ""), stream.take_until_end_of("pre")))
            continue
        if token.tag in _LITERAL:
            literal_depth += -1 if token.closes else 1
        parts.append(_tag(token))
    return "".join(parts)


class _Stream:
    """The tokens with a look ahead."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def __iter__(self) -> Iterator[_Token]:
        while self._next < len(self._tokens):
            self._next += 1
            yield self._tokens[self._next - 1]

    def take_until_end_of(self, tag: str) -> str:
        """The text up to the end tag, which is consumed too; tags in between are dropped."""
        text = []
        for token in self:
            if token.tag == tag and token.closes:
                break
            text.append(token.text)
        return "".join(text)

    def take_alert(self) -> str | None:
        """The alert's kind, if the blockquote that just began is one; its ``[!NOTE]`` is consumed then."""
        place = self._next
        while place < len(self._tokens) and not self._tokens[place].tag and not self._tokens[place].text.strip():
            place += 1
        if place + 1 >= len(self._tokens) or self._tokens[place].tag != "p" or self._tokens[place].closes:
            return None
        marker = self._tokens[place + 1]
        match = None if marker.tag else _ALERT.match(marker.text)
        if match is None:
            return None
        marker.text = marker.text[match.end() :]
        if not marker.text and place + 2 < len(self._tokens) and self._tokens[place + 2].tag == "br":
            del self._tokens[place + 2]
        return match[1].lower()


def _tag(token: _Token) -> str:
    if token.closes:
        return "" if token.tag in _VOID else f"</{token.tag}>"
    attributes = dict(token.attributes)
    if token.tag == "input":
        if attributes.get("type") != "checkbox":
            return ""
        attributes = {"type": "checkbox", "disabled": ""} | ({"checked": ""} if "checked" in attributes else {})
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f"<{token.tag}{written}>"


def _code_block(language: str, text: str) -> str:
    if language == "mermaid":
        return _diagram(text)
    if language == "diff":
        kinds = {"+": "added", "-": "removed", "@": "hunk"}
        lines = [
            f'<span class="diff-{kinds[line[0]]}">{escape(line, quote=False)}</span>'
            if line[:1] in kinds
            else escape(line, quote=False)
            for line in text.split("\n")
        ]
        return f"<pre><code>{chr(10).join(lines)}</code></pre>"
    return f"<pre><code>{escape(text, quote=False)}</code></pre>"


def _diagram(source: str) -> str:
    try:
        return f'<div class="mermaid">{mermaid.draw(source)}</div>'
    except mermaid.UnsupportedDiagramError as unsupported:
        heading, problem = "Mermaid diagram", str(unsupported)
    except mermaid.MermaidError as error:
        heading, problem = "Unable to render rich display", str(error)
    return (
        f'<div class="mermaid-source"><p><strong>{heading}</strong><br>{escape(problem)}</p>'
        f"<pre><code>{escape(source, quote=False)}</code></pre></div>"
    )


def _autolink(text: str, references: References) -> str:
    parts: list[str] = []
    end = 0
    for match in _AUTOLINK.finditer(text):
        parts.append(escape(text[end : match.start()], quote=False))
        parts.append(_link(match, references) or escape(match[0], quote=False))
        end = match.end()
    return "".join([*parts, escape(text[end:], quote=False)])


def _link(match: re.Match[str], references: References) -> str | None:
    if login := match["login"]:
        address = references.user(login)
        return f'<a class="user-mention" href="{escape(address)}">@{escape(login)}</a>' if address else None
    if number := match["number"]:
        address = references.issue(match["repository"], int(number))
        return f'<a class="issue-link" href="{escape(address)}">{escape(match[0])}</a>' if address else None
    address = references.commit(match["origin"], match["sha"])
    if not address:
        return None
    origin = f"{escape(match['origin'])}@" if match["origin"] else ""
    return f'<a class="commit-link" href="{escape(address)}">{origin}<code>{match["sha"][:7]}</code></a>'
