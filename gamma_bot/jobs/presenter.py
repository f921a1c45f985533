"""From what is recorded of a job to what its check runs and comments should show.

Nothing is sent from here: the wanted state is written down, and the flusher makes GitHub show it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from gamma_bot.agent.write_up import NoModel
from gamma_bot.config.errors import Problem
from gamma_bot.github.pacer import Urgency
from gamma_bot.jobs.budgets import month_of
from gamma_bot.jobs.promotion import unfit
from gamma_bot.jobs.record import facts_of
from gamma_bot.reporting.checks import (
    check_report,
    config_fine_report,
    config_mistakes_report,
    config_notices_report,
    nothing_to_train_report,
)
from gamma_bot.reporting.comments import NO_KEY, NO_MODEL, sticky_comment
from gamma_bot.reporting.facts import CheckReport, JobFacts, State
from gamma_bot.reporting.markdown import Markdown
from gamma_bot.reporting.write_up import write_up
from gamma_bot.store.jobs import JobRecord, Jobs
from gamma_bot.store.pulls import Pulls
from gamma_bot.store.surfaces import Surfaces
from gamma_bot.store.told import Told
from gamma_bot.store.write_ups import WriteUpRow, WriteUpTexts

TRAIN_CHECK = "gamma / train"
CONFIG_CHECK = "gamma / config"
MARKER = "<!-- gamma:sticky -->"

# GitHub: at most three buttons, with 20 characters of label and identifier and 40 of description.
ACTIONS_DURING = ({"label": "Stop", "identifier": "stop", "description": "End this training; keep its metrics."},)
ACTIONS_AFTER = ({"label": "Train again", "identifier": "retry", "description": "Train this commit once more."},)
ACTIONS_HELD = ({"label": "Approve", "identifier": "approve", "description": "Let it train beyond the budget."},)
PROMOTE = {"label": "Promote", "identifier": "promote", "description": "Compare later runs with this one."}

# A check run that changes more often than this is noise to people and to GitHub's limits.
PROGRESS_SECONDS = 15.0


class Presenter:
    """Writes down what GitHub should show.

    Args:
        on_news: called when something new is to be shown.
        texts: what models have written about jobs; ``None`` where none are asked.
        told: who tells why no model writes; ``None`` where every comment says so.
        has_model: there is a model to ask.
    """

    def __init__(
        self,
        jobs: Jobs,
        pulls: Pulls,
        surfaces: Surfaces,
        on_news: Callable[[], None],
        texts: WriteUpTexts | None = None,
        told: Told | None = None,
        *,
        has_model: bool = True,
    ) -> None:
        self._texts = texts
        self._told = told
        self._has_model = has_model
        self._jobs = jobs
        self._pulls = pulls
        self._surfaces = surfaces
        self._on_news = on_news

    async def show_check(self, job: JobRecord, *, at_once: bool = False) -> None:
        """The check run of a job tells what is recorded of it.

        Args:
            at_once: although the status stays the same, this news can't wait.
        """
        key = f"check:{job.id}"
        facts = facts_of(job)
        not_before = 0.0
        written = await self._written(job)
        if written is not None and written.markdown:
            report = check_report(facts, written=Markdown(written.markdown), written_by=written.footer)
        else:
            report = check_report(facts)
        if not facts.state.final and not at_once:
            shown = await self._surfaces.get(key)
            # "Queued" gives way to "preparing", and that to "running", at once; more news of the same can wait.
            if shown is not None and shown.flushed_at is not None and shown.body.get("status") == report.status:
                begins = facts.state is State.RUNNING and "started_at" not in shown.body
                not_before = 0.0 if begins else shown.flushed_at + PROGRESS_SECONDS
        as_of = max(job.updated_at, written.at if written is not None else 0.0)
        buttons = _buttons(job)
        await self._want_check(
            key, TRAIN_CHECK, job, report, facts=facts, not_before=not_before, buttons=buttons, as_of=as_of
        )

    async def show_job(self, job: JobRecord) -> None:
        """All that tells of the job."""
        await self.show_check(job, at_once=True)
        await self.show_comments(job)

    async def show_mistakes(self, job: JobRecord, problems: Sequence[Problem]) -> None:
        """**gamma / config** fails with every mistake in ``gamma.yml`` at its line."""
        await self._want_check(f"config:{job.id}", CONFIG_CHECK, job, config_mistakes_report(problems))

    async def show_config(self, job: JobRecord, notices: Sequence[Problem]) -> None:
        """**gamma / config** of a ``gamma.yml`` that can be used. It is there only if there is something to say.

        That is what counts on the default branch only, which blocks nobody; or that all is well now, where an earlier
        attempt of this commit said otherwise: GitHub shows the newest check run of a name.
        """
        if notices:
            await self._want_check(f"config:{job.id}", CONFIG_CHECK, job, config_notices_report(notices))
            return
        for other in await self._jobs.of_commit(job.repository_id, job.head_sha):
            if other.id != job.id and await self._surfaces.get(f"config:{other.id}") is not None:
                await self._want_check(f"config:{job.id}", CONFIG_CHECK, job, config_fine_report())
                return

    async def show_nothing_to_train(self, job: JobRecord) -> None:
        """**gamma / config** says, neutrally, what to add."""
        await self._want_check(f"config:{job.id}", CONFIG_CHECK, job, nothing_to_train_report())

    async def show_comments(self, job: JobRecord) -> None:
        """Every open pull request of the job's branch tells its newest result."""
        told = {surface.subject for surface in await self._surfaces.of_job(job.id) if surface.kind == "comment"}
        for pull in await self._pulls.of_branch(job.repository_id, job.branch, closed_too=True):
            # One that was closed while the job ran tells how that ended (I4), and nothing of later ones.
            if pull.is_open or str(pull.number) in told:
                await self.show_comment(job.repository_id, job.branch, pull.number, pull.head_sha)
        self._on_news()

    async def show_comment(self, repository_id: int, branch: str, number: int, head_sha: str) -> None:
        """The comment of one pull request: the job of its head, and the last result while that is not over."""
        newest = await self._jobs.newest_of_branch(repository_id, branch, sha=head_sha)
        newest = newest or await self._jobs.newest_of_branch(repository_id, branch)
        # A job without a plan has nothing to tell yet: it has one in a moment, and then the comment follows.
        if newest is None or not (newest.plan or newest.final):
            return
        previous = None
        if newest.state not in (State.SUCCEEDED, State.FAILED):
            previous = await self._jobs.newest_of_branch(repository_id, branch, states=(State.SUCCEEDED, State.FAILED))
        written = await self._written(newest)
        facts = facts_of(newest)
        key = f"comment:{repository_id}:{number}"
        body = sticky_comment(
            facts,
            previous=facts_of(previous) if previous is not None else None,
            marker=MARKER,
            written=Markdown(written.markdown) if written is not None and written.markdown else None,
            written_by=await self._written_by(facts, repository_id, written, key),
        )
        await self._surfaces.want(
            key,
            kind="comment",
            job=newest.id,
            repository_id=repository_id,
            subject=str(number),
            body={"body": body},
            as_of=max(
                newest.updated_at,
                previous.updated_at if previous is not None else 0.0,
                written.at if written is not None else 0.0,
            ),
            urgency=Urgency.FINAL if facts.state.final else Urgency.CHANGE,
        )
        self._on_news()

    async def _written(self, job: JobRecord) -> WriteUpRow | None:
        return await self._texts.of_job(job.id) if self._texts is not None and job.final else None

    async def _written_by(self, facts: JobFacts, repository_id: int, written: WriteUpRow | None, comment: str) -> str:
        """Who wrote the text of a comment. That there is no model to write, or no money for one, is told once."""
        said = written.footer if written is not None else NO_MODEL
        match written.why if written is not None else NoModel.NO_KEY:
            case NoModel.NO_KEY if not self._has_model:
                what, said = "no model", NO_KEY
            case NoModel.CAP if written is not None:
                what = f"model budget {month_of(written.at)[0]}"
            case _:
                return said
        if self._told is None or not write_up(facts):  # without a text there is nobody to name, and nothing is told
            return said
        return said if await self._told.tells(repository_id, what, comment) else ""

    async def _want_check(
        self,
        key: str,
        name: str,
        job: JobRecord,
        report: CheckReport,
        *,
        facts: JobFacts | None = None,
        not_before: float = 0.0,
        buttons: Sequence[Mapping[str, str]] = (),
        as_of: float = 0.0,
    ) -> None:
        facts = facts or facts_of(job)
        body = {
            "name": name,
            "head_sha": job.head_sha,
            "external_id": job.id,
            "details_url": facts.details_url,
            "status": report.status,
            "output": {"title": report.title, "summary": report.summary},
            "actions": list(buttons),
        }
        output = body["output"]
        assert isinstance(output, dict)
        if report.text:
            output["text"] = report.text
        if report.annotations:
            output["annotations"] = _annotations(report)
        if facts.started_at is not None:
            body["started_at"] = _iso(facts.started_at)
        if report.conclusion is not None:
            body["conclusion"] = report.conclusion
            body["completed_at"] = _iso(facts.ended_at or job.updated_at)
        wanted = await self._surfaces.want(
            key,
            kind="check",
            job=job.id,
            repository_id=job.repository_id,
            subject=name,
            body=body,
            as_of=max(as_of, job.updated_at),
            urgency=_urgency(report, not_before),
            not_before=not_before,
        )
        if wanted:
            self._on_news()


def _buttons(job: JobRecord) -> Sequence[Mapping[str, str]]:
    if not job.final:
        return ACTIONS_DURING
    if job.state == State.HELD:
        return ACTIONS_HELD
    return ACTIONS_AFTER if job.champion or unfit(job) is not None else (*ACTIONS_AFTER, PROMOTE)


def _annotations(report: CheckReport) -> Sequence[dict[str, object]]:
    """GitHub's annotations, at most 50 in a request; columns only where they stay on one line."""
    found: list[dict[str, object]] = []
    for item in report.annotations[:50]:
        annotation: dict[str, object] = {
            "path": item.path,
            "start_line": item.start_line,
            "end_line": item.end_line,
            "annotation_level": item.level,
            "title": item.title[:255],
            "message": item.message[:60_000],
        }
        if item.start_line == item.end_line and item.start_column is not None:
            annotation["start_column"] = item.start_column
            annotation["end_column"] = item.end_column or item.start_column
        found.append(annotation)
    return found


def _urgency(report: CheckReport, not_before: float) -> Urgency:
    if report.conclusion is not None:
        return Urgency.FINAL
    return Urgency.PROGRESS if not_before else Urgency.CHANGE


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
