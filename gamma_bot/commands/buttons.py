"""The buttons of a check run do what the commands do, for the one job that they belong to.

GitHub lets everybody with write access press them. What a command takes more than that is asked for here; who may not
press a button, or presses it in vain, reads why on the check run itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from gamma_bot.commands.declaration import Registry
from gamma_bot.commands.desk import Asked, Refused
from gamma_bot.commands.errors import NotAllowed
from gamma_bot.commands.jobs_desk import JobsDesk
from gamma_bot.commands.permissions import allowed
from gamma_bot.commands.roles import Role
from gamma_bot.commands.standing import Standing, standing_of
from gamma_bot.jobs.engine import Steps, Values
from gamma_bot.jobs.patience import careful
from gamma_bot.jobs.presenter import Presenter
from gamma_bot.jobs.reach import Reach
from gamma_bot.reporting.markdown import sentence
from gamma_bot.store.jobs import JobRecord, Jobs

# What can be pressed: our buttons by their identifiers, and GitHub's own Re-run. Each has a command's name beside it.
COMMANDS = {"stop": "stop", "retry": "retry", "promote": "promote", "approve": "approve", "rerun": "retry"}
_LABELS = {"stop": "Stop", "retry": "Train again", "promote": "Promote", "approve": "Approve", "rerun": "Re-run"}

log = structlog.get_logger()


@dataclass(frozen=True)
class Press:
    """A button that somebody pressed.

    Attributes:
        guid: its delivery's GUID, which names the workflow.
        button: a key of ``COMMANDS``.
        job: the job of the check run; empty for Re-run all, which means all jobs of the commit ``sha``.
    """

    guid: str
    by: str
    button: str
    repository_id: int
    default_branch: str
    private: bool
    job: str = ""
    sha: str = ""


class Buttons:
    """Does what buttons ask for.

    Args:
        patience_seconds: how long a press goes on trying while GitHub or MLflow are out of reach.
        redact: takes secrets out of words that people will read.
    """

    def __init__(
        self,
        jobs: Jobs,
        reach: Reach,
        desk: JobsDesk,
        registry: Registry,
        presenter: Presenter,
        *,
        patience_seconds: float,
        redact: Callable[[str], str],
    ) -> None:
        self._jobs = jobs
        self._reach = reach
        self._desk = desk
        self._registry = registry
        self._presenter = presenter
        self._patience = patience_seconds
        self._redact = redact

    async def press(self, steps: Steps, press: Values) -> Values:
        """The workflow."""
        # Recorded: who may not press it now has not pressed it, whatever they may later.
        standing = await steps.step("look", self._careful(self._look), press)
        done = standing if "failed" in standing else await steps.step("do", self._careful(self._do), press, standing)
        if "failed" in done:
            return await steps.step("tell", self._careful(self._tell), press, done)
        return done

    def _careful(self, work: Callable[..., Awaitable[Values]]) -> Callable[..., Awaitable[Values]]:
        return careful(work, self._patience, self._redact)

    async def _look(self, values: Values) -> Values:
        """Twice: only reads."""
        press = Press(**values)
        repository = await self._reach.repository(press.repository_id)
        return (await standing_of(press.by, repository, press.default_branch)).to_json()

    async def _do(self, values: Values, found: Values) -> Values:
        """Twice: what buttons ask for is done once, by the delivery's GUID or by what is so already."""
        press, standing = Press(**values), Standing.from_json(found)
        jobs = await self._meant(press)
        command = self._registry.get(COMMANDS[press.button])
        assert command is not None, "every button has its command"
        denied = allowed(command, standing.role, press.private, standing.overrides)
        for job in jobs:
            refusal = _denial(press, denied) if denied is not None else await self._act(press, job)
            await self._answer(press, job, refusal)
        return {"jobs": [job.id for job in jobs], "allowed": denied is None}

    async def _tell(self, values: Values, failure: Values) -> Values:
        """Twice: the same words."""
        press = Press(**values)
        for job in await self._meant(press):
            await self._answer(press, job, Refused(str(failure["failed"]), "Press it again once that is mended."))
        return {"told": True}

    async def _meant(self, press: Press) -> Sequence[JobRecord]:
        """The job of the check run; or of every branch that the commit was pushed to, the newest one."""
        if press.job:
            job = await self._jobs.get(press.job)
            # A payload can name any job; its repository is the one that the person's role was asked for.
            return [job] if job is not None and job.repository_id == press.repository_id else []
        newest: dict[str, JobRecord] = {}
        for job in await self._jobs.of_commit(press.repository_id, press.sha):
            newest.setdefault(job.branch, job)
        return list(newest.values())

    async def _act(self, press: Press, job: JobRecord) -> Refused | None:
        """Do it for one job; why not, if it can't be done."""
        match COMMANDS[press.button]:
            case "stop":
                await self._desk.stop_job(job.id, press.by)
                return None
            case "promote":
                outcome = await self._desk.promote_job(job, press.by)
                return outcome if isinstance(outcome, Refused) else None
            case "approve":
                approved = await self._desk.approve_job(job, press.by)
                return approved if isinstance(approved, Refused) else None
            case _:
                await self._desk.repeat(job, Asked(press.by, _request(press, job)))
                return None

    async def _answer(self, press: Press, job: JobRecord, refusal: Refused | None) -> None:
        label = _LABELS[press.button]
        words = f"`{press.by}` pressed “{label}”. {sentence(refusal.why)} {refusal.hint}".strip() if refusal else ""
        log.info("button.pressed", job=job.id, button=press.button, by=press.by, refused=words)
        if words or job.notice:
            await self._presenter.show_check(await self._jobs.notice(job.id, words), at_once=True)


def _request(press: Press, job: JobRecord) -> str:
    """What names the new attempt.

    A commit that could not be trained has two failed checks, and GitHub's "Re-run failed checks" is a press for each of
    them. Together they are one wish, so there is one new attempt of such a job.
    """
    return f"{press.guid}-{job.id}" if job.plan else f"again-{job.id}"


def _denial(press: Press, denied: NotAllowed) -> Refused:
    has = "no role" if denied.actual is Role.NONE else f"the role {denied.actual.label}"
    return Refused(
        f"That needs the role {denied.needed.label} in this repository, and `{press.by}` has {has}.",
        "Ask somebody who has it to press it, or an admin to give it to you.",
    )
