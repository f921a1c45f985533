"""``gamma demo``: the whole story on this machine, told as it happens.

A sandbox GitHub, the bot, embedded MLflow and a real MuJoCo task: a baseline, an improvement with a
pull request, a mistake, and its fix. Each step is checked against what it must come to.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

from gamma_bot.app import Gamma
from gamma_bot.demo_stage import NAME, USER, Executor, Stage, stage
from gamma_bot.sandbox.model import CheckRun, PullRequest, Repository
from gamma_bot.sandbox.server import SandboxGitHub
from gamma_bot.starter import story_edits

MAIN, BRANCH = "models/main", "models/energy"
_LONGEST_STEP_SECONDS = 180.0


@dataclass
class Story:
    """The stage and what came out so far. ``unexpected`` is empty if every step came out as it must."""

    stage: Stage
    unexpected: list[str] = field(default_factory=list)

    @property
    def github(self) -> SandboxGitHub:
        """The sandbox GitHub."""
        return self.stage.github

    @property
    def repository(self) -> Repository:
        """The repository that trains."""
        return self.stage.repository

    @property
    def bot(self) -> Gamma:
        """The bot."""
        return self.stage.bot

    def expect(self, holds: bool, what: str) -> None:
        """Note it where a step came out otherwise."""
        if not holds:
            self.unexpected.append(what)
            click.secho(f"   unexpected: {what}", fg="red")

    def page(self, path: str) -> str:
        """The address of a page of the repository."""
        return f"{self.github.url}/{self.repository.full_name}{path}"


async def play(*, leave: bool, port: int, folder: Path | None, executor: Executor = "local") -> int:
    """Play the story; the exit code.

    Args:
        leave: end after the story; else stay up until Ctrl-C.
        port: of the sandbox GitHub; 0 for a free one.
        folder: keep everything there; ``None`` for a temporary folder.
        executor: where the jobs train: here, or in stand-ins of SageMaker or GitHub Actions on this machine.
    """
    if importlib.util.find_spec("mujoco") is None:
        click.echo("The demo trains with MuJoCo, which is not installed. Run: pip install 'gamma-bot[demo]'", err=True)
        return 1
    if shutil.which("git") is None:
        click.echo("The demo needs git, which is not on this machine.", err=True)
        return 1
    async with AsyncExitStack() as stack:
        if folder is not None and folder.exists() and any(folder.iterdir()):
            click.echo(
                f"gamma demo: {folder} is not empty; the demo makes everything anew. Name another folder.", err=True
            )
            return 1
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gamma-demo-")))
        started = time.monotonic()
        try:
            story = Story(await stack.enter_async_context(stage(folder, port, executor)))
        except OSError as error:
            click.echo(f"gamma demo: can't listen on port {port}: {error}. Try: gamma demo --port 0", err=True)
            return 1
        try:
            await _tell(story)
        except TimeoutError as error:
            story.expect(False, f"a step that ends: {error}")
        seconds = time.monotonic() - started
        if story.unexpected:
            click.secho(
                f"\nThe story took {seconds:.0f} s and {len(story.unexpected)} things were unexpected.", fg="red"
            )
        else:
            click.secho(f"\nThe story took {seconds:.0f} s, and every step came out as expected.", fg="green")
        if leave:
            return 1 if story.unexpected else 0
        _say_how_to_go_on(story)
        await asyncio.Event().wait()
    return 0


async def _tell(story: Story) -> None:
    github, repository, edits = story.github, story.repository, story_edits()
    click.secho("Gamma: training by git push\n", bold=True)
    click.echo(
        f"   sandbox GitHub   {github.url}\n   repository       {story.page('')}\n   Gamma            {story.bot.url}"
    )

    _step(1, f"A push to `{MAIN}` trains the baseline.")
    baseline = await github.commit(repository, MAIN, {"NOTES.md": "The baseline.\n"}, "Train the baseline")
    run = await _watch(story, baseline)
    story.expect(run.conclusion == "success", "the baseline trains")

    _step(2, f"A branch `{BRANCH}` with a pull request changes the training.")
    message = edits.edits[0].message
    better = await github.commit(repository, BRANCH, edits.improve(), message, start_from=MAIN)
    pull = await github.open_pull_request(repository, BRANCH, MAIN, title=message)
    click.echo(f"   pull request     {story.page(f'/pull/{pull.number}')}")
    run = await _watch(story, better)
    story.expect(run.conclusion == "success", "the improvement trains")
    improved = await _comment(story, pull, better)
    story.expect("better" in improved, "the comment says that the primary metric is better than the baseline")

    _step(3, "A push that breaks the code.")
    broken = await github.commit(repository, BRANCH, edits.break_(), edits.edits[1].message)
    run = await _watch(story, broken)
    story.expect(run.conclusion == "failure", "the broken push fails")
    story.expect(len(run.annotations) == 1, "the broken line is annotated")
    for annotation in run.annotations:
        click.echo(f"   annotation       {annotation.path}:{annotation.start_line}  {annotation.title}")
        story.expect(annotation.path in edits.break_(), "the annotation is on the file that was broken")
    await _comment(story, pull, broken)

    _step(4, "The fix.")
    fixed = await github.commit(repository, BRANCH, edits.fix(), edits.edits[2].message)
    run = await _watch(story, fixed)
    story.expect(run.conclusion == "success", "the fix trains")
    final = await _comment(story, pull, fixed)
    comments = [comment for comment in repository.comments_on(pull.number) if comment.app is not None]
    story.expect(len(comments) == 1, "the pull request has one comment of Gamma")

    click.secho(f"\nThe comment on the pull request, {story.page(f'/pull/{pull.number}')}\n", bold=True)
    click.echo("\n".join(f"   │ {line}" for line in final.splitlines() if not line.startswith("<!--")))


def _step(number: int, text: str) -> None:
    click.secho(f"\n{number}. {text}", bold=True)


async def _watch(story: Story, sha: str) -> CheckRun:
    """Follow the check run of a commit to its end, with a sign of life while a person waits."""
    start = time.monotonic()
    first = await _until(lambda: _check(story, sha), f"the check run of {sha[:7]}")
    click.echo(f"   check run        {story.page(f'/runs/{first.id}')}")
    with _Line() as line:

        def completed() -> CheckRun | None:
            run = _check(story, sha)
            assert run is not None
            line.show(f"   {time.monotonic() - start:5.1f} s  {run.status:<12} {run.output.title or ''}")
            return run if run.status == "completed" else None

        run = await _until(completed, f"the end of the job of {sha[:7]}")
    mark = {"success": "✓", "failure": "✗"}.get(run.conclusion or "", "–")
    colour = {"success": "green", "failure": "red"}.get(run.conclusion or "", "yellow")
    click.secho(f"   {mark} {run.output.title}  ({time.monotonic() - start:.1f} s)", fg=colour)
    return run


async def _comment(story: Story, pull: PullRequest, sha: str) -> str:
    """The comment of the pull request once it tells the result of a commit."""
    job = next(run.external_id for run in story.repository.check_runs if run.head_sha == sha)

    async def shown() -> bool:
        surface = await story.bot.surfaces.get(f"comment:{story.repository.id}:{pull.number}")
        return surface is not None and surface.job == job and surface.desired == surface.flushed

    deadline = time.monotonic() + _LONGEST_STEP_SECONDS
    while not await shown():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the comment did not tell the result of {sha[:7]}")
        await asyncio.sleep(0.1)
    return next(comment.body for comment in story.repository.comments_on(pull.number) if comment.app is not None)


def _check(story: Story, sha: str) -> CheckRun | None:
    runs = (run for run in story.repository.check_runs if run.head_sha == sha and run.name == "gamma / train")
    return next(runs, None)


async def _until(look: Callable[[], CheckRun | None], what: str) -> CheckRun:
    deadline = time.monotonic() + _LONGEST_STEP_SECONDS
    while (seen := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_LONGEST_STEP_SECONDS:.0f} s for {what}")
        await asyncio.sleep(0.1)
    return seen


class _Line:
    """One line of a terminal that is written over; without a terminal, a line whenever the words change."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._words = ""

    def show(self, text: str) -> None:
        """Show a state that began with the seconds it has lasted."""
        words = text.partition(" s  ")[2]
        if self._terminal:
            click.echo(f"\r\x1b[2K{text[: shutil.get_terminal_size().columns - 1]}", nl=False)
        elif words != self._words:
            click.echo(text)
        self._words = words

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            click.echo("\r\x1b[2K", nl=False)


def _say_how_to_go_on(story: Story) -> None:
    host = story.github.url.removeprefix("http://")
    clone = f"http://{USER}:demo@{host}/{story.repository.full_name}.git"
    commands: Mapping[str, str] = {
        "look at it": story.page(""),
        "get it": f"git clone {clone} && cd {NAME}",
        "change it": f"git checkout {BRANCH}   # then edit gamma.yml or train.py",
        "train": "git commit -am 'Try something' && git push",
    }
    click.secho("\nIt stays up for you; Ctrl-C ends it.", bold=True)
    for what, command in commands.items():
        click.echo(f"   {what:<12} {command}")
