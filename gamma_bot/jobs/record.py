"""A job as stored and the facts that a report is made from: reading and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from gamma_bot.config.schema import GammaConfig
from gamma_bot.jobs.push import Push
from gamma_bot.reporting.facts import ChampionFacts, JobFacts, State
from gamma_bot.store.jobs import JobRecord


def new_job(push: Push, *, details_url: str, now: float) -> JobRecord:
    """The job of a push, before anything is known but the push itself."""
    facts = JobFacts(
        job=push.job,
        attempt=push.attempt,
        state=State.QUEUED,
        repo=push.repository,
        branch=push.branch,
        sha=push.after,
        pusher=push.pusher,
        executor="",
        command="",
        details_url=details_url,
        commit_url=f"{push.html_url}/commit/{push.after}",
        message=push.message,
        queued_at=now,
    )
    return JobRecord(
        id=push.job,
        attempt=push.attempt,
        installation_id=push.installation_id,
        repository_id=push.repository_id,
        repository=push.repository,
        branch=push.branch,
        head_sha=push.after,
        before_sha=push.before,
        pushed_at=push.pushed_at,
        created_at=now,
        updated_at=now,
        state=State.QUEUED,
        executor="local",
        timeout_seconds=None,
        run_id=None,
        experiment_id=None,
        push=push.to_json(),
        plan={},
        stop={},
        facts=dump_facts(facts),
    )


def facts_of(job: JobRecord) -> JobFacts:
    """What a report may say of a job, as last recorded, under the name that its repository has now."""
    facts = _facts().validate_python(dict(job.facts))
    champion = ChampionFacts(job.champion["by"], job.champion["since"]) if job.champion else None
    facts = replace(facts, champion=champion, notice=job.notice)
    if facts.repo == job.repository:
        return facts
    commit_url = facts.commit_url.replace(f"/{facts.repo}/commit/", f"/{job.repository}/commit/")
    return replace(facts, repo=job.repository, commit_url=commit_url)


def dump_facts(facts: JobFacts) -> Mapping[str, Any]:
    """Facts as plain JSON values."""
    values: Mapping[str, Any] = _facts().dump_python(facts, mode="json")
    return values


def stored_config(plan: Mapping[str, Any]) -> GammaConfig:
    """The configuration of a plan; keys that this Gamma no longer knows are left out."""
    return GammaConfig.model_validate(plan["config"], extra="ignore")


@cache
def _facts() -> TypeAdapter[JobFacts]:
    # Building the validator takes milliseconds: when it is first needed, not when Gamma starts.
    return TypeAdapter(JobFacts)
