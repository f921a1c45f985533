"""What the sandbox GitHub remembers: accounts, repositories, pull requests, checks, apps, deliveries.

These are plain, changeable records, and this module is the place to import them from; the larger families live beside
it. How they look in an API answer is said in ``shapes*.py``, how they change in the modules that answer requests. Times
are ISO strings in UTC, as GitHub's API shows them. The Git data itself (commits, trees, branches) is not here: it lives
in real bare repositories on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gamma_bot.sandbox.ids import NO_COMMIT, iso_time, node_id
from gamma_bot.sandbox.model_actions import Workflow, WorkflowRun
from gamma_bot.sandbox.model_apps import App, Delivery, HookConfig, Installation, InstallationToken
from gamma_bot.sandbox.model_checks import Annotation, CheckAction, CheckOutput, CheckRun, CheckStatus, CheckSuite
from gamma_bot.sandbox.model_reviews import DiffPlace, Review, ReviewComment, ReviewState
from gamma_bot.sandbox.state import RequestRecord, State

__all__ = [
    "NO_COMMIT", "ROLES", "Account", "AccountType", "Annotation", "App", "CheckAction", "CheckOutput", "CheckRun",
    "CheckStatus", "CheckSuite", "Delivery", "DiffPlace", "HookConfig", "Installation", "InstallationToken", "Issue",
    "IssueComment", "PullRequest", "Push", "Reaction", "Repository", "RequestRecord", "Review", "ReviewComment",
    "ReviewState", "State", "iso_time", "node_id",
]  # fmt: skip

AccountType = Literal["User", "Organization", "Bot"]

ROLES = ("read", "triage", "write", "maintain", "admin")
"""GitHub's own repository roles, weakest first. A custom role builds on one of them."""


@dataclass(eq=False)
class Account:
    """A person, an organisation, or the bot user of an App (``login`` ends in ``[bot]``)."""

    id: int
    login: str
    type: AccountType
    name: str
    email: str
    created_at: str
    token: str = ""
    """A personal token (``ghp_…``) that lets tests and the demo act as this person through the API."""

    @property
    def node_id(self) -> str:
        return node_id({"User": "U", "Organization": "O", "Bot": "BOT"}[self.type], self.id)


@dataclass(eq=False)
class Push:
    """One branch or tag that moved; each one was sent as a ``push`` webhook."""

    ref: str
    before: str
    after: str
    pusher: Account
    pushed_at: str
    forced: bool


@dataclass(eq=False)
class Repository:
    """A repository; ``git_dir`` is its bare Git repository on disk."""

    id: int
    owner: Account
    name: str
    git_dir: Path
    default_branch: str
    private: bool
    description: str | None
    created_at: str
    updated_at: str
    pushed_at: str
    parent: Repository | None = None
    """The repository this one is a fork of."""
    collaborators: dict[str, str] = field(default_factory=dict)
    """login → role name; the owner is an admin without being listed."""
    custom_roles: dict[str, str] = field(default_factory=dict)
    """Name of an organisation's custom role → the built-in role that it extends."""
    issues: dict[int, Issue] = field(default_factory=dict)
    """Issues and pull requests by number, oldest first."""
    comments: dict[int, IssueComment] = field(default_factory=dict)
    """Comments on issues and pull requests by id, oldest first; a deleted comment is gone from here."""
    reviews: dict[int, Review] = field(default_factory=dict)
    """Submitted reviews by id, oldest first."""
    review_comments: dict[int, ReviewComment] = field(default_factory=dict)
    """Comments on lines of a diff by id, oldest first; a deleted comment is gone from here."""
    suites: dict[int, CheckSuite] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    """By path; one is known from when it is first seen on the default branch."""
    workflow_runs: dict[int, WorkflowRun] = field(default_factory=dict)
    """By id, oldest first."""
    archived: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"

    @property
    def node_id(self) -> str:
        return node_id("R", self.id)

    @property
    def pulls(self) -> list[PullRequest]:
        """Its pull requests, oldest first."""
        return [issue for issue in self.issues.values() if isinstance(issue, PullRequest)]

    @property
    def check_runs(self) -> list[CheckRun]:
        """All check runs of the repository, oldest first."""
        return sorted((run for suite in self.suites.values() for run in suite.runs), key=lambda run: run.id)

    def role_of(self, login: str) -> str | None:
        """The role name of a person here (perhaps a custom one), or None without any access of their own."""
        if login.lower() == self.owner.login.lower():
            return "admin"
        for name, role in self.collaborators.items():
            if name.lower() == login.lower():
                return role
        return None if self.private else "read"

    def built_in_role_of(self, login: str) -> str | None:
        """Like ``role_of``, with a custom role resolved to the built-in one that it extends."""
        role = self.role_of(login)
        return self.custom_roles.get(role, role) if role is not None else None

    def may(self, login: str, role: str) -> bool:
        """Whether the person has at least this built-in role."""
        actual = self.built_in_role_of(login)
        return actual is not None and ROLES.index(actual) >= ROLES.index(role)

    def comments_on(self, number: int) -> list[IssueComment]:
        return [comment for comment in self.comments.values() if comment.issue.number == number]

    def reviews_of(self, number: int) -> list[Review]:
        return [review for review in self.reviews.values() if review.pull.number == number]

    def review_comments_on(self, number: int) -> list[ReviewComment]:
        return [comment for comment in self.review_comments.values() if comment.pull.number == number]


@dataclass(eq=False)
class Issue:
    """An issue, and what a pull request has in common with one."""

    id: int
    repository: Repository
    number: int
    title: str
    body: str | None
    author: Account
    created_at: str
    updated_at: str
    state: Literal["open", "closed"] = "open"
    closed_at: str | None = None
    closed_by: Account | None = None
    locked: bool = False

    @property
    def node_id(self) -> str:
        return node_id("I", self.id)


@dataclass(eq=False)
class PullRequest(Issue):
    """A pull request; while it is open its head follows the head branch."""

    pull_id: int = 0
    head_repository: Repository | None = None
    """None once the fork it came from is gone."""
    head_ref: str = ""
    head_sha: str = ""
    base_ref: str = ""
    base_sha: str = ""
    draft: bool = False
    merged_at: str | None = None
    merged_by: Account | None = None
    merge_commit_sha: str | None = None

    @property
    def pull_node_id(self) -> str:
        return node_id("PR", self.pull_id)

    @property
    def from_fork(self) -> bool:
        return self.head_repository is not self.repository


@dataclass(eq=False)
class Reaction:
    id: int
    user: Account
    content: str
    created_at: str

    @property
    def node_id(self) -> str:
        return node_id("REA", self.id)


@dataclass(eq=False)
class IssueComment:
    """A comment on an issue or pull request."""

    id: int
    issue: Issue
    author: Account
    body: str
    created_at: str
    updated_at: str
    app: App | None = None
    """The App whose installation token wrote it."""
    reactions: list[Reaction] = field(default_factory=list)
    revisions: list[str] = field(default_factory=list)
    """Every body it ever had, oldest first; the last one is ``body``."""
    minimized_reason: str | None = None
    """Why it was minimized, such as ``outdated``; only GraphQL does and shows that."""

    @property
    def node_id(self) -> str:
        return node_id("IC", self.id)
