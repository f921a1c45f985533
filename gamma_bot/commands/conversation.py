"""The durable workflow of a comment with commands: a sign of life, the answers, a reaction that tells the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import structlog

from gamma_bot.commands.answer import Reaction, answer
from gamma_bot.commands.context import CommandContext
from gamma_bot.commands.declaration import Registry
from gamma_bot.commands.desk import Desk
from gamma_bot.commands.parser import parse_comment
from gamma_bot.commands.pull import PullContext
from gamma_bot.commands.standing import Standing, standing_of
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.pacer import Urgency
from gamma_bot.github.repository import Repository
from gamma_bot.jobs.asking import Asking
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.patience import careful
from gamma_bot.jobs.writing import Writing
from gamma_bot.reporting.comments import LIMIT
from gamma_bot.reporting.markdown import Markdown, fit, text
from gamma_bot.store.database import StoreUnavailable
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.tracking.runs import TrackingError

_UNEXPECTED = Markdown(
    "Gamma itself failed at this command. Its log has the details; writing the command again may help."
)
# The reaction that stays when a comment had several commands: the one that needs a person most.
_WEIGHT = (Reaction.DONE, Reaction.NOT_ALLOWED, Reaction.NOT_UNDERSTOOD)

_PATIENCE_SECONDS = 120.0
# Each word of progress is an edit of a comment, and GitHub counts them.
_PROGRESS_SECONDS = 3.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Remark:
    """A comment on a pull request that may hold commands.

    Attributes:
        guid: its delivery's GUID, which names the workflow.
        place: where a reaction goes (see ``github/reactions.py``).
    """

    guid: str
    installation_id: int
    repository_id: int
    repository: str
    default_branch: str
    private: bool
    number: int
    comment: int
    place: str
    author: str
    body: str


class Conversation:
    """Answers comments.

    Args:
        on_news: called when something is to be shown.
        asking: who answers questions, if anybody does.
        writing: who writes about commits, if anybody does.
        redact: takes secrets out of words that people will read.
    """

    def __init__(
        self,
        github: GitHubApp,
        surfaces: Surfaces,
        desk: Desk,
        registry: Registry,
        on_news: Callable[[], None],
        *,
        asking: Asking | None = None,
        writing: Writing | None = None,
        redact: Callable[[str], str],
    ) -> None:
        self._asking = asking
        self._writing = writing
        self._github = github
        self._surfaces = surfaces
        self._desk = desk
        self._registry = registry
        self._on_news = on_news
        self._redact = redact

    async def answer(self, steps: Steps, remark: Values) -> Values:
        """The workflow."""
        if not parse_comment(str(remark["body"]), self._registry):
            return {"commands": 0}
        await steps.step("see", self._careful(self._see), remark)
        found = await steps.step(
            "look", self._careful(self._look), remark
        )  # recorded: a later head must not change what is meant
        replied = await steps.step("reply", self._careful(self._reply), remark, found)
        if "failed" in replied:  # it did not pass: then that is the answer
            return await steps.step("reply with the failure", self._careful(self._reply), remark, replied)
        return replied

    def _careful(self, work: Callable[..., Awaitable[Values]]) -> Callable[..., Awaitable[Values]]:
        return careful(work, _PATIENCE_SECONDS, self._redact)

    async def _see(self, values: Values) -> Values:
        """Twice: GitHub keeps one reaction of a kind."""
        await self._react(Remark(**values), Reaction.SEEN)
        return {}

    async def _look(self, values: Values) -> Values:
        """Twice: only reads."""
        remark = Remark(**values)
        installation = self._github.installation(remark.installation_id)
        repository = Repository(installation, remark.repository)
        pull = await repository.pull_request(remark.number)
        standing = await standing_of(remark.author, repository, remark.default_branch)
        context = PullContext(
            installation_id=remark.installation_id,
            repository_id=remark.repository_id,
            repository=remark.repository,
            number=remark.number,
            head_branch=pull.head_branch,
            head_sha=pull.head_sha,
            base_branch=pull.base_branch,
            from_fork=pull.head_repository_id != remark.repository_id,
            private=remark.private,
            default_branch=remark.default_branch,
        )
        return {"pull": asdict(context), **standing.to_json()}

    async def _reply(self, values: Values, found: Values) -> Values:
        """Twice: every request has its own key, and the reply is one surface."""
        remark = Remark(**values)
        if "failed" in found:
            answers, worst = [text(f"{found['failed']} {found.get('hint', '')}")], Reaction.NOT_UNDERSTOOD
        else:
            answers, worst = await self._answers(remark, found)
        await self._show(remark, answers, Urgency.FINAL)
        await self._react(remark, worst)
        return {"commands": len(answers), "reaction": worst.value}

    async def _answers(self, remark: Remark, found: Values) -> tuple[list[Markdown], Reaction]:
        standing = Standing.from_json(found)
        answers: list[Markdown] = []
        worst = Reaction.DONE
        for parsed in parse_comment(remark.body, self._registry):
            context = CommandContext(
                pull=PullContext(**found["pull"]),
                author=remark.author,
                role=standing.role,
                comment_sha=None,
                request=f"{remark.repository_id}:{remark.comment}:{parsed.index}",
                desk=self._desk,
                registry=self._registry,
                overrides=standing.overrides,
                asking=self._asking,
                writing=self._writing,
                progress=partial(self._progress, remark, tuple(answers)),
            )
            try:
                given = await answer(parsed, context)
                body, reaction = given.body, given.reaction
            except (GitHubError, TrackingError, StoreUnavailable):
                raise  # what may pass by itself: all commands of the comment are given again, which does nothing twice
            except Exception:
                # Whatever it was, the person who waits gets an answer.
                log.exception("command.failed", comment=remark.comment, command=parsed.text)
                body, reaction = _UNEXPECTED, Reaction.NOT_UNDERSTOOD
            answers.append(body)
            worst = max(worst, reaction, key=_WEIGHT.index)
        return answers, worst

    async def _progress(self, remark: Remark, answers: Sequence[Markdown], words: Markdown) -> None:
        """What is there so far, and what goes on."""
        shown = await self._surfaces.get(_key(remark))
        not_before = (shown.flushed_at or 0.0) + _PROGRESS_SECONDS if shown is not None else 0.0
        await self._show(remark, [*answers, words], Urgency.CHANGE, not_before=not_before)
        self._on_news()

    async def _show(
        self, remark: Remark, answers: Sequence[Markdown], urgency: Urgency, *, not_before: float = 0.0
    ) -> None:
        marker = f"<!-- gamma:reply:{remark.comment} -->"
        body = fit(Markdown("\n\n".join([marker, f"@{remark.author}", *answers])), LIMIT)
        await self._surfaces.want(
            _key(remark),
            kind="reply",
            job="",
            repository_id=remark.repository_id,
            subject=str(remark.number),
            body={"body": body},
            as_of=time.time(),
            urgency=urgency,
            not_before=not_before,
        )

    async def _react(self, remark: Remark, reaction: Reaction) -> None:
        await self._surfaces.want(
            f"reaction:{remark.repository_id}:{remark.place}",
            kind="reaction",
            job="",
            repository_id=remark.repository_id,
            subject=remark.place,
            body={"place": remark.place, "content": reaction.value},
            as_of=time.time(),
            urgency=Urgency.CHANGE if reaction is Reaction.SEEN else Urgency.FINAL,
        )
        self._on_news()


def _key(remark: Remark) -> str:
    return f"reply:{remark.repository_id}:{remark.comment}"
