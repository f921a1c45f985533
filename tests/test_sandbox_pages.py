"""The sandbox's web pages: what a person reads there, what the buttons cause, and that hostile text stays text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from gamma_bot.sandbox import markdown, mermaid
from gamma_bot.sandbox.model import CheckRun, PullRequest, Repository
from gamma_bot.sandbox.server import SandboxGitHub
from tests.sandbox_api import Received, Stage, open_stage

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>"
TRAIN = "import numpy\n\n\ndef train(lr=0.01):\n    reward = 0.0\n    return reward\n"
WIDER = "import numpy\n\n\ndef train(lr=0.02):\n    reward = 1 / 0\n    return reward\n"
CHART = """```mermaid
%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #bc4c00"}}}}%%
xychart-beta
    title "episode_return: blue = this run"
    x-axis "k steps" 0 --> 500
    y-axis "return" 0 --> 1000
    line [12, 180, 310, 420]
    line [10, 120, 230, 320]
```"""


@dataclass
class Page:
    """A page as a reader gets it."""

    status: int
    html: str
    headers: dict[str, str]
    url: URL

    @cached_property
    def elements(self) -> list[tuple[str, dict[str, str]]]:
        return read(self.html).elements

    @cached_property
    def text(self) -> str:
        """What one reads, without scripts."""
        return " ".join(" ".join(read(self.html).words).split())

    def links(self, text: str) -> list[str]:
        """Where the links with this text lead."""
        found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>(.*?)</a>', self.html, re.DOTALL)
        return [href for href, inner in found if re.sub(r"<[^>]*>|\s+", "", inner) == text.replace(" ", "")]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@dataclass
class Scene:
    """A repository with a pull request, the App that reports on it, and a browser."""

    stage: Stage
    pull: PullRequest
    browser: aiohttp.ClientSession
    token: str

    @property
    def github(self) -> SandboxGitHub:
        return self.stage.github

    @property
    def repository(self) -> Repository:
        return self.stage.repository

    async def open(self, path: str) -> Page:
        async with self.browser.get(URL(self.github.url + path, encoded=True)) as answer:
            return Page(answer.status, await answer.text(), dict(answer.headers), answer.url)

    async def send(self, path: str, origin: str | None = "", **form: str) -> Page:
        """Send a form as a browser does, by default from a page of the sandbox itself."""
        headers = {} if origin is None else {"Origin": origin or self.github.url}
        async with self.browser.post(self.github.url + path, data=form, headers=headers) as answer:
            return Page(answer.status, await answer.text(), dict(answer.headers), answer.url)

    async def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the API as the App."""
        reply = await self.stage.call(method, f"/repos/ada/walker{path}", body, token=self.token)
        assert reply.status < 300, reply.body
        return reply.body

    async def report(self, **values: Any) -> CheckRun:
        """Create a check run on the pull request's head."""
        body = {"name": "gamma / train", "head_sha": self.pull.head_sha, **values}
        created = await self.call("POST", "/check-runs", **body)
        return next(run for run in self.repository.check_runs if run.id == created["id"])

    async def say(self, body: str) -> int:
        """Comment as the App; answers the comment's id."""
        return int((await self.call("POST", f"/issues/{self.pull.number}/comments", body=body))["id"])

    async def heard(self, name: str) -> list[Received]:
        """The webhooks of this name so far, once everything has been delivered."""
        await asyncio.wait_for(self.github.wait_for_deliveries(), 5)
        return [webhook for webhook in self.stage.received if webhook.name == name]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    # Unlike a browser, aiohttp's jar keeps no cookies of a host without a name.
    jar = aiohttp.CookieJar(unsafe=True)
    async with open_stage(tmp_path) as stage, aiohttp.ClientSession(cookie_jar=jar) as browser:
        github, repository = stage.github, stage.repository
        await github.commit(repository, "main", {"train.py": TRAIN, "gamma.yml": "version: 1\n"})
        await github.commit(repository, "models/wider", {"train.py": WIDER}, "Widen the layers", author="ada")
        pull = await github.open_pull_request(repository, "models/wider", title="Wider", body="Twice the width")
        yield Scene(stage, pull, browser, await stage.token())


async def test_the_first_page_lists_repositories_and_installed_apps(scene: Scene) -> None:
    page = await scene.open("/")

    assert page.links("ada/walker") == ["/ada/walker"]
    assert "Gamma Test on ada" in page.text
    assert scene.stage.app.hook.url in page.text


async def test_a_repository_shows_files_branches_the_clone_line_and_how_its_commits_fared(scene: Scene) -> None:
    await scene.report(status="completed", conclusion="success")

    page = await scene.open("/ada/walker?branch=models/wider")

    assert f"git clone {scene.github.url}/ada/walker.git" in page.text
    assert page.links("train.py") == ["/ada/walker/blob/models/wider/train.py"]
    assert page.links("models/wider")
    assert page.links("Wider") == ["/ada/walker/pull/1"]
    assert page.links("✓")[0] == f"/ada/walker/commit/{scene.pull.head_sha}#checks"
    assert "Walker" in page.text  # the README is rendered


async def test_each_state_of_a_check_has_its_icon_and_words(scene: Scene) -> None:
    shown = {
        ("completed", "success"): "✓ gamma / success Gamma Test · Successful in",
        ("completed", "failure"): "✗ gamma / failure Gamma Test · Failing after",
        ("completed", "timed_out"): "✗ gamma / timed_out Gamma Test · Timed out after",
        ("completed", "neutral"): "– gamma / neutral Gamma Test · Neutral after",
        ("completed", "cancelled"): "⊘ gamma / cancelled Gamma Test · Cancelled after",
        ("in_progress", None): "● gamma / in_progress Gamma Test · In progress for",
        ("queued", None): "○ gamma / queued Gamma Test · Queued",
    }
    for status, conclusion in shown:
        ended = {"conclusion": conclusion} if conclusion else {}
        await scene.report(name=f"gamma / {conclusion or status}", status=status, **ended)

    page = await scene.open("/ada/walker/pull/1")

    for words in shown.values():
        assert words in page.text


async def test_the_merge_box_counts_the_checks_and_puts_failures_first(scene: Scene) -> None:
    await scene.report(name="gamma / config", status="completed", conclusion="success")
    await scene.report(status="completed", conclusion="failure", output={"title": "Out of memory", "summary": "…"})

    page = await scene.open("/ada/walker/pull/1")

    assert "Some checks were not successful 1 failing and 1 successful checks" in page.text
    assert page.text.index("— Out of memory") < page.text.index("gamma / config")


async def test_the_conversation_reads_in_the_order_things_happened(scene: Scene) -> None:
    await scene.github.comment(scene.repository, 1, "First word", "grace")
    await scene.say("Second word")

    page = await scene.open("/ada/walker/pull/1")

    places = [page.text.index(words) for words in ("Twice the width", "Widen the layers", "First word", "Second word")]
    assert places == sorted(places)
    assert "gamma-test bot commented" in page.text
    assert "grace commented" in page.text


async def test_an_edited_comment_says_so_and_its_hidden_marker_stays_hidden(scene: Scene) -> None:
    comment_id = await scene.say("<!-- gamma:sticky -->\nQueued")
    path = f"/issues/comments/{comment_id}"
    await scene.call("PATCH", path, body="<!-- gamma:sticky -->\n**Finished**")

    page = await scene.open("/ada/walker/pull/1")

    assert "Finished" in page.text
    assert "Queued" not in page.text
    assert "edited 1 edit" in page.text
    assert "gamma:sticky" not in page.html


async def test_reactions_stand_below_their_comment(scene: Scene) -> None:
    comment = await scene.github.comment(scene.repository, 1, "/gamma train", "grace")
    path = f"/issues/comments/{comment.id}/reactions"
    await scene.call("POST", path, content="eyes")
    scene.github.react(comment, "eyes", "ada")

    page = await scene.open("/ada/walker/pull/1")

    assert '<span class="reaction" title="gamma-test[bot], ada">👀 2</span>' in page.html


async def test_mentions_numbers_and_shas_are_linked_only_where_they_lead_somewhere(scene: Scene) -> None:
    sha = scene.pull.head_sha
    await scene.say(f"@grace @nobody #1 #99 {sha[:9]} {'d0' * 20} `#1` mail@grace.example x/y#1 ada/walker#1")

    page = await scene.open("/ada/walker/pull/1")

    assert page.links("@grace") == ["/grace"]
    assert page.links("#1") == ["/ada/walker/pull/1"]
    assert page.links("ada/walker#1") == ["/ada/walker/pull/1"]
    assert f"/ada/walker/commit/{sha}" in page.links(sha[:7])
    for word in ("@nobody", "#99", "x/y#1", "d0" * 3 + "d"):
        assert page.links(word) == []


async def test_a_check_run_shows_its_output_and_the_lines_its_annotations_mean(scene: Scene) -> None:
    run = await scene.report(
        status="completed",
        conclusion="failure",
        details_url="https://gamma.example/jobs/7",
        output={
            "title": "It broke",
            "summary": "| metric | value |\n|:--|--:|\n| loss | **3** |",
            "text": "<details><summary>Log</summary>\n\nthe end\n\n</details>",
            "annotations": [
                {
                    "path": "train.py", "start_line": 5, "end_line": 5, "annotation_level": "failure",
                    "message": "division by zero", "title": "Here", "raw_details": "Traceback: reward",
                },
                {
                    "path": "gone.py", "start_line": 1, "end_line": 1, "annotation_level": "notice",
                    "message": "no such file",
                },
            ],
        },
    )  # fmt: skip

    for path in ("/ada/walker/pull/1/checks", f"/ada/walker/runs/{run.id}"):
        page = await scene.open(path)
        assert page.status == 200
        assert "It broke" in page.text
        assert "metric value loss 3" in page.text
        assert "Log the end" in page.text
        assert "1 error and 1 notice" in page.text
        assert "3 4 def train(lr=0.02): 5 reward = 1 / 0 6 return reward" in page.text
        assert "Check failure Here division by zero Raw details Traceback: reward" in page.text
        assert "no such file" in page.text
        assert page.links("View more details on Gamma Test") == ["https://gamma.example/jobs/7"]


async def test_an_old_attempt_points_at_the_newer_one(scene: Scene) -> None:
    first = await scene.report(status="completed", conclusion="cancelled")
    second = await scene.report(status="completed", conclusion="success")

    old = await scene.open(f"/ada/walker/pull/1/checks?check_run_id={first.id}")
    new = await scene.open("/ada/walker/pull/1/checks")

    assert "A newer attempt of this check exists" in old.text
    assert f"/ada/walker/runs/{second.id}" in old.html
    assert "Earlier attempts" in new.text
    assert f"/ada/walker/runs/{first.id}" in new.html


async def test_an_annotation_stands_below_its_line_of_the_diff(scene: Scene) -> None:
    note = {"path": "train.py", "start_line": 5, "end_line": 5, "annotation_level": "failure", "message": "zero!"}
    elsewhere = {**note, "path": "gamma.yml", "start_line": 1, "end_line": 1, "message": "no metrics"}
    output = {"title": "Broken", "summary": "…", "annotations": [note, elsewhere]}
    await scene.report(status="completed", conclusion="failure", output=output)

    for path in ("/ada/walker/pull/1/files", f"/ada/walker/commit/{scene.pull.head_sha}"):
        page = await scene.open(path)

        assert "4 - def train(lr=0.01): 5 - reward = 0.0 4 + def train(lr=0.02): 5 + reward = 1 / 0" in page.text
        assert "+ reward = 1 / 0 Check failure Gamma Test / gamma / train zero! 6 6 return reward" in page.text
        assert "gamma.yml , line 1, in a file without changes here" in page.text


async def test_a_comment_from_the_form_reaches_the_app_as_the_chosen_person(scene: Scene) -> None:
    page = await scene.send("/ada/walker/pull/1/comments", login="grace", body="/gamma train\r\nlr=0.1")

    heard = (await scene.heard("issue_comment.created"))[-1].payload
    assert (heard["comment"]["user"]["login"], heard["comment"]["body"]) == ("grace", "/gamma train\nlr=0.1")
    assert page.url.path == "/ada/walker/pull/1"
    assert "<option selected>grace</option>" in page.html  # who commented stays chosen


async def test_an_empty_comment_is_refused_with_words(scene: Scene) -> None:
    page = await scene.send("/ada/walker/pull/1/comments", login="grace", body=" \r\n")

    assert page.status == 422
    assert "The comment is empty" in page.html
    assert scene.github.comments(scene.repository, 1) == []


async def test_pressing_an_apps_button_tells_the_app_who_pressed_which(scene: Scene) -> None:
    actions = [{"label": "Stop", "description": "Stop the training", "identifier": "stop"}]
    run = await scene.report(status="in_progress", actions=actions)
    shown = await scene.open("/ada/walker/pull/1/checks")
    assert "Stop" in shown.text

    page = await scene.send(
        f"/ada/walker/runs/{run.id}/action", identifier="stop", return_to="/ada/walker/pull/1/checks"
    )

    heard = (await scene.heard("check_run.requested_action"))[-1].payload
    assert heard["requested_action"] == {"identifier": "stop"}
    assert (heard["check_run"]["id"], heard["sender"]["login"]) == (run.id, "ada")
    assert page.url.path == "/ada/walker/pull/1/checks"


async def test_re_run_and_re_run_all_ask_the_app_for_a_run_and_for_a_suite(scene: Scene) -> None:
    run = await scene.report(status="completed", conclusion="failure")

    await scene.send(f"/ada/walker/runs/{run.id}/rerequest")
    [asked] = await scene.heard("check_run.rerequested")
    assert asked.payload["check_run"]["id"] == run.id

    await scene.send(f"/ada/walker/commit/{scene.pull.head_sha}/rerequest")
    [asked] = await scene.heard("check_suite.rerequested")
    assert asked.payload["check_suite"]["head_sha"] == scene.pull.head_sha


async def test_a_run_that_is_not_finished_cannot_be_asked_for_again(scene: Scene) -> None:
    run = await scene.report(status="in_progress")

    shown = await scene.open(f"/ada/walker/runs/{run.id}")
    page = await scene.send(f"/ada/walker/runs/{run.id}/rerequest")

    assert ("button", True) in [(tag, "disabled" in attributes) for tag, attributes in shown.elements]
    assert page.status == 422
    assert "has not completed" in page.html


async def test_redeliver_sends_the_same_delivery_again(scene: Scene) -> None:
    before = await scene.heard("push")
    delivery = [one for one in scene.stage.app.deliveries if one.event == "push"][-1]
    listed = await scene.open("/ada/walker/settings/deliveries")
    assert delivery.guid in listed.text
    assert "OK (200)" in listed.text

    await scene.send(f"/ada/walker/settings/deliveries/{delivery.id}/redeliver")

    again = (await scene.heard("push"))[len(before) :]
    assert [(one.headers["X-GitHub-Delivery"], one.body) for one in again] == [(delivery.guid, before[-1].body)]
    assert "redelivery" in (await scene.open("/ada/walker/settings/deliveries")).text
    assert scene.pull.head_sha in (await scene.open(f"/ada/walker/settings/deliveries/{delivery.id}")).text


async def test_a_pull_request_can_be_merged_closed_and_reopened(scene: Scene) -> None:
    await scene.send("/ada/walker/pull/1/state", change="close")
    assert "ada closed this pull request" in (await scene.open("/ada/walker/pull/1")).text

    await scene.send("/ada/walker/pull/1/state", change="reopen")
    await scene.send("/ada/walker/pull/1/state", change="merge")

    page = await scene.open("/ada/walker/pull/1")
    assert "ada merged this pull request" in page.text
    assert "Merge pull request" not in page.text
    assert page.links("Widen the layers")  # its commits stay listed


async def test_whoever_may_not_write_sees_the_buttons_switched_off_and_is_refused(scene: Scene) -> None:
    run = await scene.report(status="completed", conclusion="failure")
    await scene.send("/_sandbox/person", login="guest", return_to="/ada/walker")
    heard_before = len(scene.stage.app.deliveries)

    shown = await scene.open(f"/ada/walker/runs/{run.id}")
    page = await scene.send(f"/ada/walker/runs/{run.id}/rerequest")

    assert "guest has no write access here." in shown.html
    assert page.status == 403
    assert "Choose another person above." in page.html
    assert len(scene.stage.app.deliveries) == heard_before


async def test_a_form_from_another_site_changes_nothing(scene: Scene) -> None:
    for origin in ("https://evil.example", "null", None):
        page = await scene.send("/ada/walker/pull/1/comments", origin, login="ada", body="/gamma train")

        assert page.status == 403, origin
        assert "The form came from somewhere else" in page.html
        assert scene.github.comments(scene.repository, 1) == []


async def test_a_foreign_name_that_points_at_this_machine_is_not_our_host(scene: Scene) -> None:
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    url, form = f"{scene.github.url}/ada/walker/pull/1/comments", {"login": "ada", "body": "x"}
    async with scene.browser.post(url, data=form, headers=headers) as answer:
        assert answer.status == 403

    assert scene.github.comments(scene.repository, 1) == []


async def test_a_form_leads_back_to_our_own_pages_only(scene: Scene) -> None:
    for target in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        page = await scene.send("/_sandbox/person", login="grace", return_to=target)
        assert (page.url.host, page.url.path) == ("127.0.0.1", "/")


async def test_nothing_that_people_or_apps_write_becomes_a_script_or_an_event_handler(scene: Scene) -> None:
    github, repository = scene.github, scene.repository
    scene.pull.title, scene.pull.body = (
        HOSTILE,
        f"{HOSTILE}\n[x](javascript:alert(1)) <a href='javascript:alert(1)'>y</a>",
    )
    repository.description = HOSTILE
    await github.commit(
        repository, "models/wider", {"<img src=x onerror=alert(1)>.py": HOSTILE}, f"{HOSTILE}\n\n{HOSTILE}"
    )
    await scene.say(f'{HOSTILE}\n\n```mermaid\nxychart-beta\ntitle "{HOSTILE.replace(chr(34), "")}"\nline [1, 2]\n```')
    note = {"path": "train.py", "start_line": 5, "end_line": 5, "annotation_level": "failure"}
    run = await scene.report(
        name=HOSTILE,
        status="completed",
        conclusion="failure",
        details_url="javascript:alert(1)",
        actions=[{"label": "<script>alert()", "description": HOSTILE[:40], "identifier": "<b>\"'"}],
        output={
            "title": HOSTILE, "summary": HOSTILE, "text": HOSTILE,
            "annotations": [{**note, "message": HOSTILE, "title": HOSTILE, "raw_details": HOSTILE}],
        },
    )  # fmt: skip
    await asyncio.wait_for(github.wait_for_deliveries(), 5)
    delivery = scene.stage.app.deliveries[-1]
    delivery.response_body = HOSTILE
    sha = scene.pull.head_sha
    paths = ["", "/pulls", "/pull/1", "/pull/1/commits", "/pull/1/checks", "/pull/1/files", f"/commit/{sha}"]
    paths += ["?branch=models/wider", f"/runs/{run.id}", "/settings/deliveries", f"/settings/deliveries/{delivery.id}"]
    paths += ["/blob/models/wider/%3Cimg%20src=x%20onerror=alert(1)%3E.py", "?branch=%3Cscript%3Ealert(1)"]

    for path in ["/", "/ada", *(f"/ada/walker{path}" for path in paths), "/%3Cscript%3E/x"]:
        page = await scene.open(path)
        assert page.status in (200, 404), path
        scripts = [attributes for tag, attributes in page.elements if tag == "script"]
        assert [set(attributes) for attributes in scripts] == [{"nonce"}], path
        assert f"'nonce-{scripts[0]['nonce']}'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") for name in attributes), (path, tag, attributes)
            assert not any("javascript:" in attributes.get(name, "") for name in ("href", "src", "action")), (path, tag)


async def test_what_does_not_exist_is_said_in_words(scene: Scene) -> None:
    for path, words in {
        "/ada/nothing": "no repository ada/nothing",
        "/ada/walker/pull/99": "no pull request #99 in ada/walker",
        "/ada/walker/blob/main/none.py": "no file none.py at main",
        "/ada/walker/blob/main/%2e%2e/%2e%2e/etc": "no file or folder",
        "/ada/walker/tree/main/a%00b": "no file or folder",
        "/ada/walker/commit/0123456789": "no commit 0123456789",
        "/ada/walker/runs/4": "no check run 4",
        "/ada/walker?branch=none": "no branch none",
    }.items():
        page = await scene.open(path)
        assert page.status == 404, path
        assert words in page.text


async def test_an_empty_repository_says_how_to_begin(scene: Scene) -> None:
    scene.github.create_repository("grace", "empty")

    page = await scene.open("/grace/empty")

    assert page.status == 200
    assert "This repository is empty." in page.text
    assert f"git clone {scene.github.url}/grace/empty.git" in page.text


async def test_an_open_page_can_tell_that_something_changed(scene: Scene) -> None:
    page = await scene.open("/ada/walker/pull/1")
    shown = re.search(r'data-revision="(\d+)"', page.html)
    assert shown is not None
    assert (await scene.open("/_sandbox/revision")).text == shown[1]

    await scene.say("News")

    assert int((await scene.open("/_sandbox/revision")).text) > int(shown[1])


async def test_a_chart_in_a_comment_is_drawn_in_the_colours_it_asks_for(scene: Scene) -> None:
    await scene.say(CHART)

    page = await scene.open("/ada/walker/pull/1")

    lines = [attributes["stroke"] for tag, attributes in page.elements if tag == "polyline"]
    assert lines == ["#0969da", "#bc4c00"]
    assert "episode_return: blue = this run" in page.text
    assert "k steps" in page.text


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("line [1e-5, 2]", "Parse error on line 2: '1e-5' is no number"),
        ("line [NaN]", "'NaN' is no number"),
        ("line []", "'' is no number"),
        ("title two words\n line [1]", "Text with spaces needs double quotes"),
        ("x-axis 0 --> 5", "The chart has no line and no bar"),
    ],
)
def test_a_chart_that_github_would_not_draw_says_why(statement: str, words: str) -> None:
    with pytest.raises(mermaid.MermaidError, match=re.escape(words)):
        mermaid.parse(f"xychart-beta\n{statement}\n")


def test_a_chart_is_read_with_its_axes_and_series() -> None:
    chart = mermaid.parse(
        'xychart-beta\n%% a note\ntitle "A, b"\nx-axis [one, "two, 2", three]\ny-axis "loss" -1 --> +2.5\n'
        'bar [1, 2, 3]\nline "own" [.5, -1, 2]\n'
    )

    assert chart == mermaid.Chart(
        (mermaid.Series("bar", (1, 2, 3)), mermaid.Series("line", (0.5, -1, 2), "own")),
        title="A, b", categories=("one", "two, 2", "three"), y_label="loss", y_range=(-1, 2.5),
    )  # fmt: skip


class Nowhere:
    def user(self, login: str) -> str | None:
        return None

    def issue(self, repository: str | None, number: int) -> str | None:
        return None

    def commit(self, repository: str | None, prefix: str) -> str | None:
        return None


PIECES = st.sampled_from(
    [
        *("<script>", "</script>", "<svg onload=x>", "<math>", "<style>", "</style>", "<!--", "-->", "<a href="),
        *("javascript:x", '"', "'", ">", "<", "`", "```", "\n", "    ", "[x](", ")", "![", "](", "<img src=x "),
        *("onerror=x ", "<iframe>", "&lt;", "&#106;", "|", "---", "> [!NOTE]", "\n> ", "<details>", "</details>"),
        *("<pre lang=mermaid>", "xychart-beta", "<table>", "<td", " title=", "<form action=//x>", "<input>"),
        *("<noscript>", "<textarea>", "<title>", "\0", "@ada", "<blockquote>", "</blockquote>", "<p>[!TIP]"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=14).map("".join), st.booleans())
def test_no_combination_of_markdown_and_html_gets_past_the_allowlist(text: str, hard_breaks: bool) -> None:
    html = str(markdown.render(text, Nowhere(), hard_breaks=hard_breaks))

    for tag, attributes in read(html).elements:
        assert tag not in {"script", "style", "iframe", "form", "math", "textarea", "title", "noscript", "object"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert not attributes.get("href", "").lower().startswith(("javascript:", "data:"))
        assert tag != "input" or attributes["type"] == "checkbox"
        assert tag not in {"svg", "path"} or attributes["class"].startswith(("mermaid-chart", "chart-"))


def test_githubs_extras_are_shown_as_on_github() -> None:
    html = str(
        markdown.render(
            "> [!WARNING]\n> Costs money.\n\n- [x] done\n\n~~old~~ <kbd>Esc</kbd> H<sub>2</sub>O https://a.example\n\n"
            "| a |\n|--:|\n| 1 |\n\n```mermaid\nflowchart LR\n```\n",
            Nowhere(),
        )
    )

    assert '<div class="alert alert-warning"><p class="alert-title">Warning</p>' in html
    assert '<input type="checkbox" disabled="" checked=""> done' in html
    for part in (
        "<del>old</del>",
        "<kbd>Esc</kbd>",
        "H<sub>2</sub>O",
        'href="https://a.example"',
        '<td align="right">1',
    ):
        assert part in html
    assert "GitHub would draw this diagram" in html
