"""What the sandbox remembers of pull request reviews and of the comments on lines that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gamma_bot.sandbox.ids import node_id

if TYPE_CHECKING:
    from gamma_bot.sandbox.model import Account, App, PullRequest, Reaction

ReviewState = Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED"]
Side = Literal["LEFT", "RIGHT"]


@dataclass(eq=False)
class Review:
    """A submitted review. A single comment on a line makes one too, without words of its own."""

    id: int
    pull: PullRequest
    author: Account
    body: str
    state: ReviewState
    commit_id: str
    submitted_at: str
    app: App | None = None
    reactions: list[Reaction] = field(default_factory=list)
    """Only GraphQL gives and shows these."""
    minimized_reason: str | None = None

    @property
    def node_id(self) -> str:
        return node_id("PRR", self.id)


@dataclass(frozen=True)
class DiffPlace:
    """Where in a pull request's diff a comment stands; without a line it is about the whole file.

    Attributes:
        position: lines down from the first ``@@``, GitHub's older way to say the line.
        hunk: the diff's text down to the line.
    """

    path: str
    line: int | None = None
    side: Side = "RIGHT"
    start_line: int | None = None
    start_side: Side | None = None
    position: int = 1
    hunk: str = ""


@dataclass(eq=False)
class ReviewComment:
    """A comment on a line or a file of the diff, or an answer to one."""

    id: int
    review: Review
    author: Account
    body: str
    place: DiffPlace
    commit_id: str
    created_at: str
    updated_at: str
    in_reply_to: ReviewComment | None = None
    app: App | None = None
    reactions: list[Reaction] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    """Every body it ever had, oldest first; the last one is ``body``."""
    minimized_reason: str | None = None

    @property
    def pull(self) -> PullRequest:
        return self.review.pull

    @property
    def node_id(self) -> str:
        return node_id("PRRC", self.id)
