"""What people do in a conversation: open and merge pull requests, comment, review, react."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gamma_bot.sandbox import comments, pulls, reviews
from gamma_bot.sandbox.model import (
    Account,
    Issue,
    IssueComment,
    PullRequest,
    Reaction,
    Repository,
    Review,
    ReviewComment,
)
from gamma_bot.sandbox.people_accounts import AccountPeople
from gamma_bot.sandbox.pushes import close_pull
from gamma_bot.sandbox.reactions import Reactable, add_reaction


class PullPeople(AccountPeople):
    """Talks in issues and pull requests."""

    async def open_pull_request(
        self, repository: Repository, head: str, base: str | None = None, *, title: str = "A change", body: str = "",
        author: Account | str | None = None, head_repository: Repository | None = None, draft: bool = False,
    ) -> PullRequest:  # fmt: skip
        person = self._account(author) if author else (head_repository or repository).owner
        return await pulls.open_pull(
            self.forge, repository, person, title=title, head=head, base=base or repository.default_branch,
            body=body, head_repository=head_repository, draft=draft,
        )  # fmt: skip

    async def close_pull_request(self, pull: PullRequest, by: Account | str | None = None) -> None:
        await close_pull(self.forge, pull, self._account(by or pull.author))

    async def reopen_pull_request(self, pull: PullRequest, by: Account | str | None = None) -> None:
        await pulls.reopen_pull(self.forge, pull, self._account(by or pull.author))

    async def merge_pull_request(
        self, pull: PullRequest, by: Account | str | None = None, *, method: pulls.MergeMethod = "merge"
    ) -> str:
        """Merge it; answers the new head of the base branch."""
        return await pulls.merge_pull(self.forge, pull, self._account(by or pull.repository.owner), method=method)

    def open_issue(
        self, repository: Repository, title: str, body: str = "", author: Account | str | None = None
    ) -> Issue:
        return comments.add_issue(self.forge, repository, self._account(author or repository.owner), title, body)

    async def comment(
        self, repository: Repository, number: int, body: str, author: Account | str | None = None
    ) -> IssueComment:
        """Comment on an issue or pull request."""
        person = self._account(author or repository.owner)
        return comments.add_comment(self.forge, repository.issues[number], person, body)

    async def edit_comment(self, comment: IssueComment, body: str, by: Account | str | None = None) -> None:
        comments.edit_comment(self.forge, comment, body, self._account(by or comment.author))

    async def delete_comment(self, comment: IssueComment, by: Account | str | None = None) -> None:
        comments.remove_comment(self.forge, comment, self._account(by or comment.author))

    async def review(
        self, pull: PullRequest, body: str = "", author: Account | str | None = None, *,
        event: Literal["APPROVE", "REQUEST_CHANGES", "COMMENT"] = "COMMENT", comments: Sequence[Mapping[str, Any]] = (),
    ) -> Review:  # fmt: skip
        """Submit a review.

        Args:
            comments: ``{"path": …, "line": …, "body": …}`` for lines that the diff shows.
        """
        person, wanted = self._account(author or pull.repository.owner), [dict(one) for one in comments]
        return await reviews.submit_review(self.forge, pull, person, event=event, body=body, comments=wanted)

    async def review_comment(
        self, pull: PullRequest, path: str, line: int | None, body: str, author: Account | str | None = None
    ) -> ReviewComment:
        """A single comment on a line of the diff, or on a file (``line`` is None)."""
        wanted = {"body": body, "path": path, **({"subject_type": "file"} if line is None else {"line": line})}
        person = self._account(author or pull.repository.owner)
        return await reviews.add_comment(self.forge, pull, person, wanted)

    async def reply(self, comment: ReviewComment, body: str, author: Account | str | None = None) -> ReviewComment:
        """Answer a comment on a line."""
        return await reviews.reply(self.forge, comment, self._account(author or comment.pull.repository.owner), body)

    async def edit_review_comment(self, comment: ReviewComment, body: str, by: Account | str | None = None) -> None:
        reviews.edit_comment(self.forge, comment, body, self._account(by or comment.author))

    async def delete_review_comment(self, comment: ReviewComment, by: Account | str | None = None) -> None:
        reviews.remove_comment(self.forge, comment, self._account(by or comment.author))

    def react(self, subject: Reactable, content: str, user: Account | str) -> Reaction:
        """React to a comment or a review; GitHub sends no webhook for that."""
        return add_reaction(self.forge, subject, self._account(user), content)[0]

    def review_comments(self, pull: PullRequest) -> list[ReviewComment]:
        """The comments on lines of a pull request, oldest first."""
        return pull.repository.review_comments_on(pull.number)

    def comments(self, repository: Repository, number: int) -> list[IssueComment]:
        """The comments on an issue or pull request, oldest first."""
        return repository.comments_on(number)
