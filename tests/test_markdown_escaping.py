"""Whatever a branch, a metric, a log line or an exception is called: GitHub shows it, and does nothing with it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gamma_bot.reporting.markdown import Markdown, code, fence, fit, link, plain, prose, table, text
from tests.github_page import AUTOLINKED, Page

NASTY = [
    "@octocat", "@org/team", "#123", "GH-12", "owner/repo#7", "owner/repo@0123456", "a.b@example.com", "deadbeef12",
    "https://evil.example/x", "http://x.example", "www.evil.example", "ftp://x.example", "mailto:a@b.example", "://",
    "<script>", "</td>", "<img src=x onerror=y>", "<!--", "-->", "<details>", "&lt;", "&#64;", "&amp;", "![a](b)",
    "[a](http://b.example)", "[^1]", "[x]: http://y.example", "`", "``", "```", "~~~", "|", "||", "\\|", "\\", "\\\\",
    "\n", "\r\n", "\n\n", "---", "===", "# h", "> q", "- [ ] a", "1. a", "1)", "+ b", "* c", "**b**", "_i_", "~~s~~",
    "|--|", ":-:", "$x$", "$$", "```mermaid", "    ", "\t", "\x1b[31m", "\x00", "\u202e", "\u200b", "\ud800", "\u2028",
    ":100:", ":smile:", "policy.py:41: ValueError", "é", "漢", "🚀", "!", "[", "]", "(", ")", "/gamma train",
]  # fmt: skip
untrusted = st.one_of(st.text(), st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=8).map("".join))


def shown(page: Page) -> str:
    return page.everything.replace("\u200b", "").strip()


@given(untrusted)
@example("www.x.y@z.de #12")
def test_prose_is_one_paragraph_that_reads_as_given(value: str) -> None:
    page = Page(text(value))

    assert set(page.tags) <= {"p"}
    assert not AUTOLINKED.search(page.outside_code)
    assert shown(page) == plain(value, 2000).replace("\u200b", "").strip()


@given(untrusted)
def test_prose_with_code_has_nothing_but_code(value: str) -> None:
    page = Page(prose(value))

    assert set(page.tags) <= {"p", "code"}
    assert not AUTOLINKED.search(page.outside_code)


@given(untrusted)
def test_a_code_span_is_one_code_span_that_reads_as_given(value: str) -> None:
    page = Page(f"before {code(value)} after")

    assert set(page.tags) <= {"p", "code"}
    assert page.tags.count("code") <= 1
    assert page.outside_code.startswith("before ")
    assert page.outside_code.endswith(" after\n")
    wanted = plain(value, 200).replace("\u200b", "")
    assert shown(page).split() == f"before {wanted} after".split() or not wanted.strip()


@given(st.lists(st.tuples(untrusted, untrusted), min_size=1, max_size=4))
def test_a_table_keeps_its_cells(pairs: list[tuple[str, str]]) -> None:
    rows = [[code(name), text(value), "end"] for name, value in pairs]
    page = Page(f"above\n\n{table(['A', 'B', 'C'], rows, 'lrc')}\n\nbelow")

    assert page.tags.count("table") == 1
    assert page.tags.count("th") == 3
    assert page.tags.count("td") == 3 * len(pairs)
    assert set(page.tags) <= {"p", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert not AUTOLINKED.search(page.outside_code)


@given(untrusted)
def test_even_a_cell_that_nobody_escaped_stays_one_cell(value: str) -> None:
    page = Page(table(["A", "B"], [[re.sub("[<`]", "", value), "end"]]))

    assert page.tags.count("td") == 2


@given(st.lists(untrusted, max_size=6))
def test_a_fence_can_not_be_left(lines: list[str]) -> None:
    page = Page(f"above\n\n{fence(lines)}\n\nbelow")

    assert page.tags == ["p", "pre", "code", "p"]
    assert page.outside_code.endswith("below\n")


@given(untrusted, untrusted)
def test_a_link_leads_to_http_or_nowhere(label: str, address: str) -> None:
    page = Page(link(label, address))

    assert set(page.tags) <= {"p", "a"}
    assert all(found.lower().startswith(("http://", "https://")) for found in page.addresses)


@given(untrusted, untrusted)
def test_a_link_stays_at_its_host(label: str, path: str) -> None:
    page = Page(f"before {link(label, 'https://github.com/o/r/' + path)} after")

    assert set(page.tags) <= {"p", "a"}
    assert all(found.startswith("https://github.com/o/r/") for found in page.addresses)


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "https://", "", None, "file:///etc/passwd"]
)
def test_other_addresses_are_no_links(address: str | None) -> None:
    assert link("here", address) == "here"


@given(st.lists(untrusted | st.just("<details><summary>x</summary>\n") | st.just("</details>")), st.integers(120, 400))
def test_a_cut_text_fits(parts: list[str], limit: int) -> None:
    assert len(fit("\n".join(parts), limit)) <= limit


@given(st.integers(300, 3000), st.lists(untrusted, min_size=30, max_size=60))
def test_a_cut_closes_fences_and_folds_and_says_how_much_is_missing(limit: int, lines: list[str]) -> None:
    document = f"Above\n\n<details><summary>Log</summary>\n\n{fence(lines + ['x' * 200] * 20)}\n\n</details>\n\nBelow"
    cut = fit(document, limit)
    page = Page(cut)

    if cut != document:
        assert page.tags.count("details") == page.ended.count("details")
        assert "characters were left out here" in page.outside_code


def test_a_text_that_fits_is_left_alone() -> None:
    assert fit("# Title\n\nText", 100) == "# Title\n\nText"


def test_what_is_safe_is_marked_as_such() -> None:
    assert all(
        isinstance(value, Markdown) for value in (text("a"), code("a"), fence("a"), link("a", None), fit("a", 9))
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a plain sentence, with 1.5 and (brackets).", "a plain sentence, with 1.5 and (brackets)."),
        ("episode_return", r"episode\_return"),
        ("policy.py:41: ValueError", "policy.py:\u200b41: ValueError"),
        ("thanks @ann, see #12", "thanks @\u200bann, see \\#\u200b12"),
        ("- 3. x", r"\- 3. x"),
        ("3. x", r"3\. x"),
    ],
)
def test_ordinary_words_stay_readable_in_the_source(value: str, expected: str) -> None:
    assert text(value) == expected


def test_an_address_holds_no_entities() -> None:
    assert link("x", "https://github.com/o/r/&period;&period;/?a=1&b=2") == (
        "[x](https://github.com/o/r/&amp;period;&amp;period;/?a=1&amp;b=2)"
    )
