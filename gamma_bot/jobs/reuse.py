"""A job that would only repeat an earlier one takes over its result, and nothing is trained."""

from __future__ import annotations

import asyncio
import hashlib
import json
import posixpath
import time
from dataclasses import replace

import structlog

from gamma_bot.config.paths import pattern_matches, selects
from gamma_bot.jobs.adoption import attempt_tags
from gamma_bot.jobs.conclusion import Conclusion, evidence_of
from gamma_bot.jobs.engine import Values
from gamma_bot.jobs.parts import Parts
from gamma_bot.jobs.plan import CONFIG_PATH
from gamma_bot.jobs.pull_requests import refresh_pulls
from gamma_bot.jobs.push import Push, is_of_fork
from gamma_bot.jobs.record import dump_facts, facts_of, stored_config
from gamma_bot.reporting.facts import ReusedFacts
from gamma_bot.store.jobs import JobRecord
from gamma_bot.tracking.runs import TrackingError
from gamma_bot.training.source import SourceError
from gamma_bot.training.trainer import Attempt, Ending, Outcome, TrainingSpec
from gamma_bot.training.tree_digest import tree_digest

log = structlog.get_logger()

# What may differ between two jobs of the same result: how long they may take, and which files make a push count.
_LIMITS = {"timeout", "memory", "paths"}
# What says which packages a job finds decides about its result, whatever the training paths are.
_PACKAGES = (
    "**/*requirements*.txt",
    "**/*requirements*.in",
    "**/requirements/*",
    "**/*constraints*.txt",
    "**/pyproject.toml",
    "**/setup.py",
    "**/setup.cfg",
    "**/*.lock",
    "**/environment.y*ml",
    "**/.python-version",
)


class Reuse:
    """Finds earlier results and takes them over."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._conclusion = Conclusion(parts.tracking, parts.jobs, parts.reach)

    async def earlier(self, job: JobRecord, spec: TrainingSpec, *, force: bool) -> JobRecord | None:
        """The job whose result this one would have; what this one is made of is recorded for later ones.

        Args:
            spec: with its source, which must be there.
            force: train it all the same.
        """
        # A fork's code could have written whatever it liked into its run, and nobody asked it to show ours.
        if is_of_fork(job.branch):
            return None
        fingerprint = await self._fingerprint(job, spec)
        if fingerprint is None:
            return None
        await self._parts.jobs.change(job.id, fingerprint=fingerprint)
        if force:
            return None
        for found in await self._parts.jobs.with_fingerprint(job.repository_id, fingerprint):
            if found.id != job.id and await self._has_its_run(found):
                return found
        return None

    async def _has_its_run(self, job: JobRecord) -> bool:
        """Whether the run of a job can be shown; in MLflow's bin it could still be read, but is found no more."""
        try:
            run_id = await self._parts.tracking.find_run(attempt_tags(job.id, job.attempt, job.head_sha))
        except TrackingError as error:
            log.warning("reuse.run_unreadable", earlier=job.id, error=str(error))
            return False
        return run_id is not None and run_id == job.run_id

    async def take_over(self, push: Push, earlier_id: str) -> Values:
        """Twice: the first recorded end stays, and is shown again."""
        job, earlier = await self._parts.job(push.job), await self._parts.job(earlier_id)
        if not job.final:
            trainer = self._parts.trainers.get(earlier.executor)
            evidence = await evidence_of(trainer, Attempt(earlier.id, earlier.attempt))
            job = await self._parts.jobs.change(job.id, run_id=earlier.run_id)
            outcome = Outcome(Ending.COMPLETED, "", exit_code=0, ended_at=time.time())
            config = stored_config(job.plan)
            facts = await self._conclusion.facts(job, outcome, config, job.plan["baseline"], evidence)
            told = facts_of(earlier)
            reused = ReusedFacts(earlier.id, earlier.head_sha, told.details_url)
            await refresh_pulls(self._parts, push)
            facts = replace(facts, reused=reused, cost=None)
            job = await self._parts.jobs.change(
                job.id, state=facts.state, facts=dump_facts(facts), estimate_usd=None, cost_usd=0.0
            )
        await self._parts.presenter.show_check(job)
        await self._parts.presenter.show_comments(job)
        await asyncio.to_thread(self._parts.archive(Attempt(job.id, job.attempt)).unlink, missing_ok=True)
        log.info("job.reused", job=job.id, earlier=earlier.id, repo=job.repository, state=job.state)
        return {"state": job.state}

    async def _fingerprint(self, job: JobRecord, spec: TrainingSpec) -> str | None:
        """What the result of a job depends on, in one number; ``None`` if that can't be known."""
        conditions = await self._parts.trainers[job.executor].conditions(spec)
        if conditions is None:
            return None
        config = stored_config(job.plan)
        paths = config.train.paths
        named = {posixpath.normpath(word) for word in spec.command}

        def counts(path: str) -> bool:
            # gamma.yml is looked at for what it means. The script counts, and what says which packages it finds.
            if path == CONFIG_PATH:
                return False
            return selects(paths, path) or path in named or any(pattern_matches(each, path) for each in _PACKAGES)

        try:
            tree = await asyncio.to_thread(tree_digest, spec.source, counts)
        except (SourceError, OSError) as error:
            log.warning("reuse.tree_unreadable", job=job.id, error=str(error))  # the trainer will say what is wrong
            return None
        whole = {
            "tree": tree,
            "command": list(spec.command),
            "train": config.train.model_dump(mode="json", exclude=_LIMITS),
            "seeds": config.seeds,
            "executor": job.executor,
            "conditions": dict(conditions),
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
