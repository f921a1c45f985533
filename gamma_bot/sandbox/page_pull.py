"""The pages of a pull request: Conversation, Commits, Checks, Files changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gamma_bot.sandbox.git import FileChange, GitCommit
from gamma_bot.sandbox.model import NO_COMMIT, Account, IssueComment, PullRequest, Push, Reaction, Review, ReviewComment
from gamma_bot.sandbox.page_checks import counted_words, latest_runs, suites_of, verdict
from gamma_bot.sandbox.page_diff import file_diff
from gamma_bot.sandbox.page_frame import Frame
from gamma_bot.sandbox.page_repository import notes_for
from gamma_bot.sandbox.page_runs import RunPages

_EMOJI = {
    "+1": "👍", "-1": "👎", "laugh": "😄", "hooray": "🎉", "confused": "😕", "heart": "❤️", "rocket": "🚀", "eyes": "👀",
}  # fmt: skip
_REVIEWED = {
    "APPROVED": "approved these changes", "CHANGES_REQUESTED": "requested changes", "COMMENTED": "reviewed",
}  # fmt: skip


@dataclass(frozen=True)
class CommentItem:
    moment: str
    comment: IssueComment
    reactions: list[tuple[str, list[str]]]
    """Emoji and the logins behind it."""
    kind: str = "comment"


@dataclass(frozen=True)
class ReviewItem:
    """A review with the comments that came with it; each with its reactions."""

    moment: str
    review: Review
    words: str
    reactions: list[tuple[str, list[str]]]
    comments: list[tuple[ReviewComment, list[tuple[str, list[str]]]]]
    kind: str = "review"


@dataclass(frozen=True)
class CommitItem:
    moment: str
    commit: GitCommit
    kind: str = "commit"


@dataclass(frozen=True)
class ForcedItem:
    """A force-push to the head branch."""

    moment: str
    push: Push
    kind: str = "forced"


@dataclass(frozen=True)
class ClosedItem:
    moment: str
    words: str
    account: Account | None
    kind: str = "closed"


TimelineItem = CommentItem | ReviewItem | CommitItem | ForcedItem | ClosedItem


class PullPages:
    def __init__(self, frame: Frame, runs: RunPages) -> None:
        self._frame = frame
        self._forge = frame.forge
        self._runs = runs

    async def pulls(self, request: web.Request) -> web.Response:
        return await self._frame.page(request, "sandbox_pulls.html", self._frame.repository(request), section="pulls")

    async def issue(self, request: web.Request) -> web.Response:
        """GitHub sends the address of a pull request as an issue on to the pull request."""
        repository, pull = self._frame.pull(request)
        raise web.HTTPFound(f"/{repository.full_name}/pull/{pull.number}")

    async def conversation(self, request: web.Request) -> web.Response:
        repository, pull = self._frame.pull(request)
        runs = latest_runs(suites_of(repository, pull.head_sha))
        return await self._page(
            request,
            "sandbox_conversation.html",
            pull,
            "conversation",
            verdict=verdict(runs),
            counted=counted_words(runs),
        )

    async def commits(self, request: web.Request) -> web.Response:
        _, pull = self._frame.pull(request)
        return await self._page(request, "sandbox_pull_commits.html", pull, "commits")

    async def checks(self, request: web.Request) -> web.Response:
        """The Checks tab; ``?check_run_id=`` chooses the run on the right."""
        repository, pull = self._frame.pull(request)
        chosen = request.query.get("check_run_id", "")
        selected = self._runs.find(repository, int(chosen)) if chosen.isdecimal() else None
        values = await self._runs.values(repository, selected.head_sha if selected else pull.head_sha, selected)
        return await self._page(request, "sandbox_pull_checks.html", pull, "checks", **values)

    async def files(self, request: web.Request) -> web.Response:
        _, pull = self._frame.pull(request)
        return await self._page(request, "sandbox_pull_files.html", pull, "files", sha=pull.head_sha)

    async def _page(
        self, request: web.Request, template: str, pull: PullRequest, tab: str, **values: Any
    ) -> web.Response:
        repository = pull.repository
        commits = await self._commits(pull)
        changes = await self._changes(pull)
        runs = latest_runs(suites_of(repository, pull.head_sha))
        if tab == "files":
            files = [file_diff(change) for change in changes]
            notes, elsewhere = notes_for(files, runs)
            values.update(files=files, notes=notes, elsewhere=elsewhere)
        return await self._frame.page(
            request,
            template,
            repository,
            section="pulls",
            pull=pull,
            tab=tab,
            commits=commits,
            file_count=len(changes),
            runs=runs,
            timeline=timeline(pull, commits) if tab == "conversation" else [],
            comment_count=len(repository.comments_on(pull.number)) + len(repository.review_comments_on(pull.number)),
            **values,
        )

    async def _commits(self, pull: PullRequest) -> list[GitCommit]:
        """What the head has and the base lacks, oldest first."""
        log = await self._forge.git.log(pull.repository.git_dir, f"{pull.base_sha}..{pull.head_sha}", limit=250)
        return log[::-1]

    async def _changes(self, pull: PullRequest) -> list[FileChange]:
        git, git_dir = self._forge.git, pull.repository.git_dir
        start = await git.merge_base(git_dir, pull.base_sha, pull.head_sha)
        return await git.changes(git_dir, start, pull.head_sha)


def timeline(pull: PullRequest, commits: list[GitCommit]) -> list[TimelineItem]:
    """What happened below the description, oldest first."""
    items: list[TimelineItem] = [CommitItem(commit.committer.date, commit) for commit in commits]
    comments = pull.repository.comments_on(pull.number)
    talk: list[tuple[int, TimelineItem]] = [
        (one.id, CommentItem(one.created_at, one, _grouped(one.reactions))) for one in comments
    ]
    # Ids tell what came first within a second.
    items += [item for _, item in sorted([*talk, *_reviews(pull)], key=lambda entry: entry[0])]
    for push in pull.head_repository.pushes if pull.head_repository else ():
        on_head = push.forced and push.ref == f"refs/heads/{pull.head_ref}" and push.after != NO_COMMIT
        if on_head and push.pushed_at >= pull.created_at:
            items.append(ForcedItem(push.pushed_at, push))
    if pull.merged_at:
        items.append(ClosedItem(pull.merged_at, "merged", pull.merged_by))
    elif pull.state == "closed" and pull.closed_at:
        items.append(ClosedItem(pull.closed_at, "closed", pull.closed_by))
    # A commit is pushed before anyone can comment on it, though both may carry the same second.
    order = {"commit": 0, "forced": 1, "comment": 2, "review": 2, "closed": 3}
    return sorted(items, key=lambda item: (item.moment, order[item.kind]))


def _reviews(pull: PullRequest) -> Iterator[tuple[int, ReviewItem]]:
    """What each review says, with its id; an empty one whose comments are gone says nothing."""
    comments = pull.repository.review_comments_on(pull.number)
    for review in pull.repository.reviews_of(pull.number):
        own = [(comment, _grouped(comment.reactions)) for comment in comments if comment.review is review]
        if own or review.body or review.state != "COMMENTED":
            words, reactions = _REVIEWED[review.state], _grouped(review.reactions)
            yield review.id, ReviewItem(review.submitted_at, review, words, reactions, own)


def _grouped(reactions: list[Reaction]) -> list[tuple[str, list[str]]]:
    grouped: dict[str, list[str]] = {}
    for reaction in reactions:
        grouped.setdefault(_EMOJI.get(reaction.content, reaction.content), []).append(reaction.user.login)
    return list(grouped.items())
