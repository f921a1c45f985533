"""Finds what a text does at GitHub beside being read: rendered by its library, judged by rules wider than its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import cmarkgfm
from cmarkgfm.cmark import Options

from gamma_bot.agent.sanitiser import MOST_CHARACTERS, AllowedLinks

LINKS = AllowedLinks(
    repository="https://github.com/ada/walker",
    others=("https://mlflow.example/team", "http://gamma.example:8080"),
    commits=frozenset({"4f2c9e1ab0" + "7" * 30}),
)

_BLOCKS = {"p", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "table", "thead", "tbody", "tr", "th", "td"}
_INLINE = {"strong", "em", "del", "code", "a", "br"}
_ATTRIBUTES = {("a", "href"), ("ol", "start"), ("th", "align"), ("td", "align"), ("pre", "lang")}
_PAGES = (
    r"https://github\.com/ada/walker(/(blob|tree|blame|commits|commit|compare|actions/runs)/[^?#:]+(\?plain=1)?(#[\w-]*)?)?"
    r"|https://mlflow\.example/team([/?#].*)?|http://gamma\.example:8080([/?#].*)?"
)
_LANGUAGE = re.compile("[a-z0-9]+")
_RUN_BY_GITHUB = {"mermaid", "math", "geojson", "topojson", "stl", "suggestion"}
_ENDS = "The end."

# Where a line of the model stands in Markdown of ours, and the blocks that are seen there.
_FRAMES = {
    "- {}\n- end": ["ul", "li", "li"],
    "#### {} end": ["h4"],
    "| A | B |\n| --- | --- |\n| {} | end |": ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"],
    "> Note: {} end": ["blockquote", "p"],
}

# Text between tags that GitHub turns into something, or that another bot obeys. "\uffff" stands for code.
_ACTS = {
    "mention": r"[@＠﹫][^\s\u200b\uffff]",
    "reference": r"[#＃﹟]\d|gh-\d|(?:ghsa|cve)-\w",
    "address": r":/|[:：]／|\b(?:https?|ftp|mailto|xmpp|javascript|vbscript|data|file):[^\s\u200b\uffff]|www\.",
    "e-mail": r"[\w.+-]+@[\w-]+\.",
    "emoji": r":[\w+-]+:",
    "alert, task or footnote": r"\[!|\[\^|\[[\sx]\]",
    "command": r"(?:^|\n)\s*[/／]",
    "unseen": r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc"
    r"\U000e0000-\U000e0fff\U000f0000-\U0010ffff]",
}
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _ACTS.items()}
_SHA = re.compile(r"\b(?=[0-9]*[a-f])[0-9a-f]{7,40}\b", re.IGNORECASE)


def leaks(markdown: str, links: AllowedLinks = LINKS) -> list[str]:
    """What the text does beside being read; nothing, if it is safe."""
    found = [] if len(markdown) <= MOST_CHARACTERS else ["too long"]
    page = _Page(f"{markdown}\n\n{_ENDS}", Options.CMARK_OPT_HARDBREAKS, links)
    found += page.leaks
    if page.paragraphs[-1:] != [_ENDS]:
        found.append("what follows is drawn into it")
    if re.search(r"<!--\s*gamma", markdown, re.IGNORECASE):
        found.append("a marker of ours")
    if re.search("^/", markdown, re.MULTILINE):
        found.append("a command in the source")
    if markdown.count("$") > page.code.count("$"):
        found.append("a formula")
    return sorted(set(found))


def line_leaks(line: str, links: AllowedLinks = LINKS) -> list[str]:
    """What a text does that shall be one line in Markdown of ours: in a sentence, an item, a heading and a table."""
    found = leaks(line, links)
    if "\n" in line or "\r" in line:
        found.append("more than one line")
    for frame, wanted in _FRAMES.items():
        page = _Page(frame.replace("{}", line), 0, links)
        found += page.leaks
        if [tag for tag in page.tags if tag in _BLOCKS] != wanted or not page.everything.rstrip().endswith("end"):
            found.append(f"leaves {frame!r}")
    return sorted(set(found))


def words(markdown: str) -> str:
    """What a reader sees, without the breaks that nobody sees."""
    return _Page(markdown, 0, LINKS).everything.replace("\u200b", "")


def elements(markdown: str) -> list[str]:
    """The elements in their order."""
    return _Page(markdown, 0, LINKS).tags


class _Page(HTMLParser):
    """What a browser would get of a text."""

    def __init__(self, markdown: str, options: int, links: AllowedLinks) -> None:
        super().__init__()
        self._links = links
        self.leaks: list[str] = []
        self.tags: list[str] = []
        self.everything = ""
        self.code = ""
        self.paragraphs: list[str] = []  # those in nothing else
        self._open: list[str] = []
        self._text = ""  # of the block that is open
        whole = markdown.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\x01")
        every = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES | options
        self.feed(cmarkgfm.github_flavored_markdown_to_html(whole, every))
        self.close()
        self._judge()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _BLOCKS | _INLINE:
            self.leaks.append(f"<{tag}>")
        if tag in _BLOCKS:
            self._judge()
        if tag == "br":
            self._text += "\n"
        else:
            self._open.append(tag)
        for name, value in attrs:
            if (tag, name) not in _ATTRIBUTES:
                self.leaks.append(f"<{tag} {name}>")
            if tag == "pre" and (not _LANGUAGE.fullmatch(value or "") or value in _RUN_BY_GITHUB):
                self.leaks.append(f"a block of {value}")
            if tag == "a" and not _is_allowed(value or ""):
                self.leaks.append(f"a link to {value}")

    def handle_endtag(self, tag: str) -> None:
        if tag == "br":
            return  # HTMLParser tells "<br />" twice
        if tag in _BLOCKS:
            if self._open == ["p"]:
                self.paragraphs.append(self._text)
            self._judge()
        while self._open and self._open.pop() != tag:
            self.leaks.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.everything += data
        if "pre" in self._open and re.search("^/", data, re.MULTILINE):
            self.leaks.append("a command in code")
        if "code" in self._open:
            self.code += data
            self._text += "\uffff" if "pre" not in self._open else ""
        else:
            self._text += data
            self._find(data, starts=False)

    def handle_comment(self, data: str) -> None:
        self.leaks.append("a comment")

    def handle_decl(self, decl: str) -> None:
        self.leaks.append("a declaration")

    def handle_pi(self, data: str) -> None:
        self.leaks.append("an instruction")

    def unknown_decl(self, data: str) -> None:
        self.leaks.append("a declaration")

    def _judge(self) -> None:
        """Judge the words of a block together: what stands on both sides of a tag is one to a mail or a bot."""
        self._find(self._text, starts=True)
        self._text = ""

    def _find(self, text: str, *, starts: bool) -> None:
        for name, pattern in _PATTERNS.items():
            if (starts or name != "command") and pattern.search(text):
                self.leaks.append(name)
        known = self._links.commits
        if any(not any(commit.startswith(sha) for commit in known) for sha in _SHA.findall(text)):
            self.leaks.append("commit")


def _is_allowed(address: str) -> bool:
    return bool(re.fullmatch(_PAGES, address)) and not re.search(
        r"/\.\.?(?:[/;?#]|$)|%2e|%5c|\\|%25|[\x00-\x20]", address, re.IGNORECASE
    )
