"""What a delivery can mean to Gamma. Most deliveries mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.buttons import Press
from gamma_bot.commands.conversation import Remark
from gamma_bot.jobs.installations import News
from gamma_bot.jobs.push import Push
from gamma_bot.store.projects import Place
from gamma_bot.store.pulls import PullRecord


@dataclass(frozen=True)
class TrainPush:
    """Train the head of this push; ``bot`` is the login of the bot that made it, empty for people."""

    push: Push
    bot: str = ""


@dataclass(frozen=True)
class PullRequestSeen:
    """A pull request opened, moved or closed: its comment shows the newest result of its branch."""

    pull: PullRecord


@dataclass(frozen=True)
class RunCommands:
    """Somebody wrote a comment that may hold commands."""

    remark: Remark


@dataclass(frozen=True)
class PressButton:
    """Somebody pressed a button of one of our check runs, or Re-run."""

    press: Press
    place: Place


@dataclass(frozen=True)
class RunMoved:
    """There is news of the run of GitHub Actions with this attempt's key in its name, in this repository."""

    attempt: str
    repository_id: int


@dataclass(frozen=True)
class Ignored:
    """Nothing to do, and why."""

    reason: str


Intent = TrainPush | PullRequestSeen | RunCommands | PressButton | RunMoved | News | Ignored
