"""Which lines of a comment are commands, and what they mean."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import example, given
from hypothesis import strategies as st

from gamma_bot.commands.arguments import Unfit, number, switch
from gamma_bot.commands.comment_lines import command_lines
from gamma_bot.commands.errors import (
    BadArgument,
    EmptyCommand,
    MissingArgument,
    TooManyCommands,
    UnclosedQuote,
    UnknownCommand,
    UnknownOption,
    explain,
)
from gamma_bot.commands.parser import MOST_COMMANDS, Understood, parse_comment, parse_line
from gamma_bot.commands.registry import build_registry
from gamma_bot.commands.words import Unclosed, Word, split_words
from gamma_bot.sandbox.markdown import sanitise

REGISTRY = build_registry()


def lines(comment: str) -> list[str]:
    return [each.rest for each in command_lines(comment)]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("/gamma train", ["train"]),
        ("Thanks!\n/gamma train\nand then\r\n   /gamma status  \r\n", ["train", "status"]),
        ("/gamma", [""]),
        ("/Gamma Train", ["Train"]),
        ("\t/gamma train", []),
        ("text\n    /gamma train", []),
        ("    /gamma train", []),
        ("please /gamma train", []),
        ("/gammatrain", []),
        ("/gamma-bot train", []),
        ("\\/gamma train", []),
        ("&#47;gamma train", []),
        ("```\n/gamma train\n```\n/gamma stop", ["stop"]),
        ("~~~yaml\n/gamma train", []),
        ("`/gamma train`", []),
        ("see `the\n/gamma train\nline` here", []),
        ("> /gamma train", []),
        ("> quoted\n/gamma train", []),
        ("> quoted\n\n/gamma train", ["train"]),
        ("- /gamma train", []),
        ("- point\n/gamma train", []),
        ("1. point\n\n   /gamma train", []),
        ("# /gamma train", []),
        ("/gamma train\n---", []),
        ("/gamma train\n\n---", ["train"]),
        ("<!-- /gamma train -->", []),
        ("<!--\n/gamma train\n-->", []),
        ("<!--\n\n/gamma train", []),
        ("a <!--\n/gamma train\n--> b", []),
        ("<div>\n/gamma train\n</div>", []),
        ("<details><summary>log</summary>\n\n/gamma train\n\n</details>\n\n/gamma stop", ["stop"]),
        ("<blockquote>\n\n/gamma train\n\n</blockquote>", []),
        ("a <del>\n/gamma train</del>", []),
        ("~~a\n/gamma train~~", []),
        ("[a\n/gamma train](https://example.com)", []),
        ("[a](https://example.com '\n/gamma train\n')", []),
        ("[a]:\n/gamma 'train'", []),
        ("[^1]: note\n/gamma train\n\ntext[^1]", []),
        ("/gamma | x\n--- | ---\n/gamma train | y", []),
        ("a | b\n--- | ---\n/gamma train", []),
        ("Tensor<float> is fine\n\n/gamma train", ["train"]),
        ("line\\\n/gamma train", ["train"]),
        ("line<br>\n/gamma train", ["train"]),
        ("/gamma metrics *loss\n/gamma metrics return*", ["metrics *loss", "metrics return*"]),
        ("*/gamma train*", []),
        ("/gamma train \\\nmore", ["train \\"]),
        ("/gamma\u00a0train", ["train"]),
        ("\0/gamma train\n/gamma \ud800", ["\ufffd\ufffd\ufffd"]),
        ("/gamma\ue0a70\ue0a7 train", []),
        ("x\n/gamma stop \ue0a70\ue0a7", ["stop \ufffd0\ufffd"]),
    ],
)
def test_a_command_is_a_plain_line_that_begins_with_gamma(comment: str, expected: list[str]) -> None:
    assert lines(comment) == expected


class Shown(HTMLParser):
    """The lines of the top-level paragraphs that a reader sees, found without any mark in the source."""

    def __init__(self, comment: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._path: list[str] = []
        options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES
        self.feed(sanitise(cmarkgfm.github_flavored_markdown_to_html(comment, options)))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("br", "hr", "img", "input"):
            return
        if tag == "p" and not self._path:
            self.lines.append("")
        self._path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._path.pop()

    def handle_data(self, data: str) -> None:
        if self._path[:1] != ["p"]:
            return
        hidden = not {"em", "strong"}.issuperset(self._path[1:])
        first, *others = data.split("\n")
        # What is inside a link or code can't begin a line; a sign stands for it.
        self.lines[-1] += "\x01" + first if hidden else first
        self.lines += ["\x01" + other if hidden else other for other in others]


PIECES = [
    "/gamma ", "/gamma ", "/gamma ", "\n", "\n", "\n\n", "   ", "    ", "\t", "> ", "- ", "1. ", "# ", "---", "===",
    "```", "~~~", "`", "``", "*", "**", "_", "~~", "<!--", "-->", "<div>", "</div>", "<del>", "</del>", "<b>", "</b>",
    "<p>", "</p>", "<details>", "</details>", "<T>", "[", "](x)", "]", "]: ", "[^1]: ", "[^1]", "|", "--- | ---", "'",
    '"', "a", "b", "\u00e9", "://", "www.a.de", "!", "(", ")", "<https://a.de>", "- [ ] ", "<pre>", "</pre>", "+ ",
]  # fmt: skip


LINES = [
    "/gamma ", "/gamma ", "/gamma ", "", "a", "a *b", "b* c", "a **b", "b** c", "a ~~b", "b~~ c", "a `b", "b` c", "[a",
    "b](x)", "[a](x '", "')", "a <!--", "--> b", "a <del>", "b</del>", "a <b>", "</b>", "<div>", "</div>", "<details>",
    "</details>", "<blockquote>", "</blockquote>", "```", "~~~", "---", "# a", "[^1]: a", "a[^1]", "a | b", "a\\",
    "<pre>", "</pre>", "<script>", "</script>", "<!--", "-->",
]  # fmt: skip
some_lines = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "", " ", "   ", "    ", "> ", "- ", "1. "]), st.sampled_from(LINES), st.just("\n")
    ),
    max_size=8,
).map(lambda rows: [piece for row in rows for piece in row])


@given(some_lines | st.lists(st.sampled_from(PIECES), max_size=25))
@example(["[a]:\n/gamma ", "'x'"])
def test_a_line_is_a_command_exactly_if_readers_see_it_begin_a_line(pieces: list[str]) -> None:
    # Every possible command gets a name of its own, so that it can be found again in what is shown.
    named = [f"{piece}n{place}n " if piece == "/gamma " else piece for place, piece in enumerate(pieces)]
    comment = "".join(named)
    at_most_three = re.compile(r"^ {0,3}/gamma (n\d+n)", re.MULTILINE)
    seen = {match[1] for line in Shown(comment).lines if (match := re.match(r"\s*/gamma (n\d+n)", line))}

    assert {line.split()[0] for line in lines(comment)} == seen & set(at_most_three.findall(comment))


@given(st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_whatever_a_comment_says_it_is_read_and_explained(comment: str) -> None:
    for place, parsed in enumerate(parse_comment(comment, REGISTRY)):
        assert parsed.index == place
        assert parsed.text.startswith("/gamma")
        assert isinstance(parsed.result, Understood) or explain(parsed.result)


@pytest.mark.parametrize(
    "comment",
    [
        ">" * 65_000,
        "<div>" * 13_000,
        "<blockquote>" * 5_000,
        "<a></b>" * 9_000,
        "[" * 65_000,
        "<!-- " * 13_000,
        "/gamma x\n" * 7_000,
        "*a **a " * 9_000,
        "+ " * 30_000 + "a",
        "/gamma train " + "=" * 60_000,
        "/gamma train lr=" + "9" * 60_000,
        "/gamma logs " + "9" * 60_000,
        "/gamma " + "x" * 60_000,
        "/gamma train " + "".join(f"a{n}=1 " for n in range(6_000)),
    ],
)
def test_a_comment_as_long_as_github_allows_is_read_soon(comment: str) -> None:
    began = time.process_time()
    for parsed in parse_comment(f"/gamma status\n\n{comment}\n\n/gamma status", REGISTRY):
        assert isinstance(parsed.result, Understood) or len(explain(parsed.result)) < 1_000

    assert time.process_time() - began < 5


@given(st.lists(st.text(min_size=1)))
def test_quoted_words_come_out_as_they_were(words: list[str]) -> None:
    line = " ".join(shlex.quote(word) for word in words)

    split = split_words(line)

    assert not isinstance(split, Unclosed)
    assert [word.text for word in split] == words


@given(st.text("ab=\\'\" \t"))
def test_words_are_split_as_a_shell_does(line: str) -> None:
    split = split_words(line)

    assert (None if isinstance(split, Unclosed) else [word.text for word in split]) == shell_words(line)


def shell_words(line: str) -> list[str] | None:
    """What a shell makes of it; ``None`` for an open quote. A backslash at the end is a line break to Markdown."""
    try:
        return shlex.split(line)
    except ValueError as error:
        return shell_words(line[:-1]) if "escaped" in str(error) else None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lr=0.01", Word("lr=0.01", 2)),
        ('note="a = b"', Word("note=a = b", 4, True)),
        ("note=“a b”", Word("note=a b", 4, True)),
        ('"lr=1"', Word("lr=1", None, True)),
        (r"lr\=1", Word("lr=1")),
        ("a=b=c", Word("a=b=c", 1)),
        ("=b", Word("=b", 0)),
        ("a=", Word("a=", 1)),
    ],
)
def test_the_first_bare_equals_sign_ends_a_name(line: str, expected: Word) -> None:
    assert split_words(line) == (expected,)


def understood(line: str) -> Any:
    result = parse_line(line, REGISTRY)
    assert isinstance(result, Understood), result
    return result.args


@pytest.mark.parametrize(
    ("line", "values", "instance"),
    [
        ("train", {}, None),
        ("TRAIN lr=1e-3", {"lr": 0.001}, None),
        ("retry instance=ml.g5.2xlarge n=3 on=true off=null", {"n": 3, "on": True, "off": None}, "ml.g5.2xlarge"),
        ("train note='wider policy' id=\"007\" v=007", {"note": "wider policy", "id": "007", "v": 7}, None),
        ("simulate opt.lr=.5 a/b=x=y", {"opt.lr": 0.5, "a/b": "x=y"}, None),
        ("train n_instances=2", {"n_instances": 2}, None),
        ("train empty=", {"empty": None}, None),
    ],
)
def test_hyperparameters_are_read_as_gamma_yml_reads_them(
    line: str, values: Mapping[str, object], instance: str | None
) -> None:
    args = understood(line)

    assert (dict(args.hyperparameters), args.instance) == (values, instance)
    assert [type(each) for each in args.hyperparameters.values()] == [type(each) for each in values.values()]


def test_words_are_read_by_their_place() -> None:
    assert understood("logs").lines == 50
    assert understood("logs 200").lines == 200
    assert understood("metrics eval/*=x").pattern == "eval/*=x"
    assert understood("stop").everything is False
    assert understood("stop ALL").everything is True
    assert understood("help train").name == "train"
    assert understood("approve 3F1c9aa").sha == "3F1c9aa"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", EmptyCommand()),
        ("trian", UnknownCommand("trian", "train")),
        ("cancel", UnknownCommand("cancel", "stop")),
        ("rerun", UnknownCommand("rerun", "retry")),
        ("art", UnknownCommand("art", "artifacts")),
        ("xyzzy", UnknownCommand("xyzzy", None)),
        ("train 'lr=1", UnclosedQuote("'")),
        ("metrics “loss", UnclosedQuote("“")),
        ("logs 0", BadArgument("logs", "N", "0", "it must be a whole number from 1 to 500")),
        ("logs 501", BadArgument("logs", "N", "501", "it must be a whole number from 1 to 500")),
        ("logs ²", BadArgument("logs", "N", "²", "it must be a whole number from 1 to 500")),
        ("logs all", BadArgument("logs", "N", "all", "it must be a whole number from 1 to 500")),
        ("logs 5 6", BadArgument("logs", "", "6", "nothing more can stand here")),
        ("status now", BadArgument("status", "", "now", "nothing more can stand here")),
        ("status n=5", UnknownOption("status", "n", None)),
        ("stop everything", BadArgument("stop", "all", "everything", "only `all` can stand here")),
        ("metrics ''", BadArgument("metrics", "PATTERN", "", "it must not be empty")),
        (
            "train lr = 0.1",
            BadArgument(
                "train", "", "lr", "only options like `name=value` can stand here, without blanks around the `=`"
            ),
        ),
        (
            "train instance=p4",
            BadArgument("train", "instance", "p4", "it must be an instance type like `ml.g5.xlarge`"),
        ),
        (
            "train instance=ml.g5.xlarge instance=ml.g5.xlarge",
            BadArgument("train", "instance", "ml.g5.xlarge", "it is given twice; keep one of them"),
        ),
        ("train lr=1 lr=2", BadArgument("train", "", "lr=2", "this name is given twice; keep one of them")),
        (
            "train a=1 lr=.inf",
            BadArgument(
                "train",
                "",
                "lr=.inf",
                "a hyperparameter is text, a finite number, true, false or null, and there are at most 100",
            ),
        ),
        ("train instnace=ml.g5.xlarge", UnknownOption("train", "instnace", "instance")),
        ("train --lr=1", UnknownOption("train", "--lr", "lr")),
        ("train --instance=ml.g5.xlarge", UnknownOption("train", "--instance", "instance")),
        (
            "approve main",
            BadArgument("approve", "SHA", "main", "it must be a commit's SHA of 7 digits or more, like `1a2b3c4`"),
        ),
    ],
)
def test_what_is_wrong_is_a_value(line: str, error: object) -> None:
    assert parse_line(line, REGISTRY) == error


def test_a_needed_word_that_is_missing_is_named() -> None:
    from gamma_bot.commands.arguments import read_arguments
    from tests.command_examples import CompareArgs

    assert read_arguments("compare", CompareArgs, ()) == MissingArgument("compare", "JOB")
    assert read_arguments("compare", CompareArgs, (Word("j1"),)) == CompareArgs("j1")
    assert read_arguments("compare", CompareArgs, (Word("j1"), Word("by=0.5", 2))) == CompareArgs("j1", 0.5)


def test_a_comment_has_at_most_ten_commands() -> None:
    parsed = parse_comment("/gamma status\n" * 13, REGISTRY)

    assert [each.index for each in parsed] == list(range(MOST_COMMANDS + 1))
    assert all(isinstance(each.result, Understood) for each in parsed[:-1])
    assert parsed[-1].result == TooManyCommands(10, 13)
    assert parsed[-1].line == 11


def test_a_number_may_have_a_fraction_but_no_other_shape() -> None:
    read = number(0, 10)

    assert [read(text) for text in ("1", "2.5", ".5", "1e1", "5.")] == [1, 2.5, 0.5, 10, 5]
    wrong = Unfit("it must be a number from 0 to 10")
    assert [read(text) for text in ("", "-1", "11", "nan", "inf", "1e999", "1_0", "٣")] == [wrong] * 8


def test_a_switch_is_yes_or_no_in_any_usual_word() -> None:
    read = switch()

    assert [read(text) for text in ("yes", "ON", "true", "no", "off", "False")] == [True] * 3 + [False] * 3
    assert read("maybe") == Unfit("it must be `yes`, `no`, `true`, `false`, `on` or `off`")


@pytest.mark.parametrize(
    ("written", "question"),
    [
        ("ask why didn't it drop?", "why didn't it drop?"),
        ('ask  is "lr" = 0.1 \\ too  high?  ', 'is "lr" = 0.1 \\ too  high?'),
        ("ASK --help name=value", "--help name=value"),
    ],
)
def test_a_question_is_taken_as_it_is_written(written: str, question: str) -> None:
    parsed = parse_line(written, build_registry())

    assert isinstance(parsed, Understood)
    assert parsed.args.question == question


def test_a_question_needs_words_and_has_a_limit() -> None:
    assert parse_line("ask", build_registry()) == MissingArgument("ask", "QUESTION")
    assert isinstance(parse_line(f"ask {'x' * 2_001}", build_registry()), BadArgument)
