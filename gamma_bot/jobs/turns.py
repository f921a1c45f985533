"""Whose turn it is: which jobs may start now, and what each of the others waits for. Nothing here reads or writes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, assert_never

from gamma_bot.config.schema import GammaConfig
from gamma_bot.store.jobs import GRANTED, TAKEN, WAITING, JobRecord

_Place = tuple[Literal["repository", "installation"], int]


class Stage(Enum):
    """How far an unfinished job is."""

    NEW = auto()  # what it asks for is not known yet
    WAITING = auto()
    BEGUN = auto()  # it was let start: it counts as running, wherever it is


@dataclass(frozen=True)
class Contender:
    """An unfinished job, as far as turns depend on it.

    Attributes:
        came_at: when it was pushed, or, if somebody asked for it, when that was: it does not pass those that wait.
        chained: it came with a push, so that the commits say which of two pushes of one second was the first.
        queues: its gamma.yml says ``concurrency: queue``.
        repository_limit, installation_limit: how many may run at once; ``None`` for no limit.
    """

    job: str
    installation_id: int
    repository_id: int
    branch: str
    head_sha: str
    before_sha: str
    came_at: float
    created_at: float
    stage: Stage
    chained: bool = True
    queues: bool = False
    repository_limit: int | None = None
    installation_limit: int | None = None


@dataclass(frozen=True)
class BehindBranch:
    """Jobs of its branch come first: this one, and so many more."""

    job: str
    more: int


@dataclass(frozen=True)
class Full:
    """As many jobs run as may; ``before`` says how many of those that wait for the same are let start earlier."""

    where: Literal["repository", "installation"]
    running: int
    limit: int
    before: int


Wait = BehindBranch | Full


def may_have_to_wait(config: GammaConfig) -> bool:
    """Whether anything in its configuration can hold up a job. Most have nothing, and need not ask."""
    return config.concurrency == "queue" or not (
        config.limits.repository is None and config.limits.installation is None
    )


def waits(contenders: Iterable[Contender]) -> Mapping[str, Wait | None]:
    """What each waiting job waits for; ``None`` if it may start now.

    The oldest push goes first, and a job that has to wait holds up nobody but the queue of its own branch. Those that
    may start count as running for those after them, so all of them may be let start together.
    """
    line = _in_order(contenders)
    begun = [each for each in line if each.stage is Stage.BEGUN]
    running = Counter(_places(begun))
    behind: Counter[_Place] = Counter()
    queued = _behind_branches(line)
    found: dict[str, Wait | None] = {}
    for each in line:
        if each.stage is not Stage.WAITING:
            continue
        wait = queued.get(each.job) or _full(each, running, behind)
        found[each.job] = wait
        (running if wait is None else behind).update(_places([each]))
    return found


def may_start(jobs: Sequence[JobRecord]) -> Collection[str]:
    """The waiting jobs among all unfinished ones whose turn it is."""
    return [job for job, wait in waits(contenders_of(jobs)).items() if wait is None]


def contenders_of(jobs: Iterable[JobRecord]) -> Sequence[Contender]:
    """The jobs that there are turns for: one that was asked to end before it began needs none."""
    found = [_contender(job) for job in jobs if not (job.stop and job.turn not in (GRANTED, TAKEN))]
    return [each for each in found if each is not None]


def explain(wait: Wait, default_branch: str) -> str:
    """What a job waits for, to follow "Waiting: "."""
    match wait:
        case BehindBranch(job=job, more=more):
            return f"job `{job}` of this branch runs first" + (f", then {more} more" if more else "")
        case Full(where=where, running=running, limit=limit, before=before):
            who = "this repository runs" if where == "repository" else "the repositories of this installation run"
            # A limit that was lowered is met by more jobs than it allows.
            jobs = f"{running} of {limit} jobs" if running <= limit else f"{running} jobs where {limit} may run"
            ahead = f"; {before} {'waits' if before == 1 else 'wait'} before it" if before else ""
            return f"{who} {jobs} (limit in gamma.yml on `{default_branch}`){ahead}"
        case _:
            assert_never(wait)


def _contender(job: JobRecord) -> Contender:
    stage = Stage.WAITING if job.turn == WAITING else Stage.BEGUN if job.turn in (GRANTED, TAKEN) else Stage.NEW
    asked = bool(job.push.get("asked_by"))
    config = job.plan.get("config", {})
    limits = config.get("limits", {})
    return Contender(
        job=job.id,
        installation_id=job.installation_id,
        repository_id=job.repository_id,
        branch=job.branch,
        head_sha=job.head_sha,
        before_sha=job.before_sha,
        came_at=job.created_at if asked else job.pushed_at,
        created_at=job.created_at,
        stage=stage,
        chained=not asked,
        queues=config.get("concurrency") == "queue",
        repository_limit=limits.get("repository"),
        installation_limit=limits.get("installation"),
    )


def _in_order(contenders: Iterable[Contender]) -> Sequence[Contender]:
    """The oldest push first. GitHub tells its time in whole seconds; within one the chain of commits decides."""
    everyone = list(contenders)
    pushed = {(_branch(each), each.came_at, each.head_sha): each for each in everyone if each.chained}

    def generation(each: Contender) -> int:
        number, seen = 0, {each.head_sha}
        before = pushed.get((_branch(each), each.came_at, each.before_sha)) if each.chained else None
        while before is not None and before.head_sha not in seen:
            number, seen = number + 1, seen | {before.head_sha}
            before = pushed.get((_branch(before), before.came_at, before.before_sha))
        return number

    return sorted(everyone, key=lambda each: (each.came_at, generation(each), each.created_at, each.job))


def _branch(each: Contender) -> tuple[int, str]:
    return each.repository_id, each.branch


def _behind_branches(line: Sequence[Contender]) -> Mapping[str, BehindBranch]:
    """What those wait for whose branch trains one push after another: what has begun, then what was pushed before."""
    branches: defaultdict[tuple[int, str], list[Contender]] = defaultdict(list)
    for each in sorted(line, key=lambda each: each.stage is not Stage.BEGUN):
        branches[_branch(each)].append(each)
    return {
        each.job: BehindBranch(of_branch[0].job, ahead - 1)
        for of_branch in branches.values()
        for ahead, each in enumerate(of_branch)
        if ahead and each.queues
    }


def _full(each: Contender, running: Mapping[_Place, int], behind: Mapping[_Place, int]) -> Full | None:
    limits = {"repository": each.repository_limit, "installation": each.installation_limit}
    for place in _places([each]):
        limit = limits[place[0]]
        if limit is not None and running[place] >= limit:
            return Full(place[0], running[place], limit, behind[place])
    return None


def _places(jobs: Iterable[Contender]) -> Sequence[_Place]:
    """Where each of them counts."""
    places: list[_Place] = []
    for each in jobs:
        places += [("repository", each.repository_id), ("installation", each.installation_id)]
    return places
