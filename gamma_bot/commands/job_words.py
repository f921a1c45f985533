"""How answers speak of jobs: their names, which one is meant, and what was started or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from gamma_bot.commands.declaration import Reply
from gamma_bot.commands.desk import Refused, Started
from gamma_bot.config.document import scalar_value
from gamma_bot.config.schema import Scalar
from gamma_bot.reporting.facts import JobFacts
from gamma_bot.reporting.markdown import Markdown, code, link, prose, sentence
from gamma_bot.reporting.sections import commit_link

NO_JOBS = Reply(
    Markdown("This pull request has no job yet. A push to a branch that trains starts one, and so does `/gamma train`.")
)


def job_link(facts: JobFacts) -> Markdown:
    """The job's name, leading to its page, with its attempt if it is not the first."""
    again = f" (attempt {facts.attempt})" if facts.attempt > 1 else ""
    return Markdown(f"{link(code(facts.job), facts.details_url)}{again}")


def job_and_commit(facts: JobFacts) -> Markdown:
    """The job's name and the commit that it is about."""
    return Markdown(f"{job_link(facts)} at {commit_link(facts)}")


def newest_that(jobs: Sequence[JobFacts], has: Callable[[JobFacts], bool]) -> JobFacts | None:
    """The newest job that has what a command shows."""
    return next((each for each in jobs if has(each)), None)


def refused(refusal: Refused) -> Reply:
    """Why it can't be done, and what to do."""
    said = [sentence(each) for each in (refusal.why, refusal.hint) if each]
    return Reply(Markdown(" ".join(prose(each) for each in said)), ok=False)


def started(outcome: Started | Refused, *, changes: str = "") -> Reply:
    """That a job was started, and where to watch it."""
    if isinstance(outcome, Refused):
        return refused(outcome)
    job = link(code(outcome.job), outcome.details_url)
    attempt = f", attempt {outcome.attempt}" if outcome.attempt > 1 else ""
    return Reply(Markdown(f"Training {code(outcome.sha[:7])} as job {job}{attempt}{changes}."))


def changes(hyperparameters: Mapping[str, Scalar], instance: str | None) -> Markdown:
    """What the command changed, to follow "Training … "."""
    named = [code(f"{name}={written(value)}") for name, value in hyperparameters.items()]
    said = f" with {', '.join(named[:20])}" if named else ""
    said += f" and {len(named) - 20} more" if len(named) > 20 else ""
    return Markdown(f"{said} on {code(instance)}" if instance else said)


def listed(jobs: Iterable[JobFacts]) -> Markdown:
    """Jobs as a sentence names them."""
    names = [str(job_and_commit(each)) for each in jobs]
    return Markdown(" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])))


def written(value: Scalar) -> str:
    """A hyperparameter as gamma.yml would have it: text that looks like a number keeps its quotes."""
    if isinstance(value, str):
        return value if isinstance(scalar_value(value), str) else f'"{value}"'
    return json.dumps(value)
