"""I2: what comes twice, late or in any order gives the same end state as once and in order."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any

import aiohttp
import hypothesis
import pytest
import pytest_asyncio
from hypothesis import Phase, given
from hypothesis import strategies as st

from gamma_bot.sandbox.model import CheckRun, Delivery, IssueComment, PullRequest
from gamma_bot.store.jobs import JobRecord
from tests.harness import CONFIG, Gamma, gamma_with_repository
from tests.stand_ins import MemoryTracking, PatientTrainer

pytestmark = [pytest.mark.thorough, pytest.mark.asyncio(loop_scope="module")]

FILES = {"gamma.yml": CONFIG, "train.py": ""}
SAID_ONCE = re.compile(r" · Deterministic write-up \(no model\).*?This is said once\.")
SEARCHES = hypothesis.settings.get_current_profile_name() == "search"

EndState = Mapping[str, Any]


class Clock:
    """GitHub's clock in this module: a little behind ours, but by less than the minute that signatures allow."""

    def __init__(self) -> None:
        self._behind = 55.0
        self._stands: float | None = None

    def __call__(self) -> float:
        return self._stands or time.time() - self._behind

    def later(self) -> None:
        """Some seconds pass."""
        self._behind -= 3.0

    @contextmanager
    def standing(self) -> Iterator[None]:
        """What happens now happens in the same second."""
        self._stands = self()
        yield
        self._stands = None


class Day:
    """A day of a repository: what GitHub sent, in the order in which it happened, and how it ended.

    Attributes:
        after: deliveries (by GUID) of what a person did on something that Gamma showed, and the deliveries without
            which Gamma would not have shown it.
        baseline: the commit whose training ends first.
        jobs: all jobs, in the order of the pushes and requests that they are of.
        lived: how many Gammas have lived it.
    """

    def __init__(self, gamma: Gamma, clock: Clock) -> None:
        self.gamma = gamma
        self.clock = clock
        self.pulls: list[PullRequest] = []
        self.comments: list[IssueComment] = []
        self.deliveries: list[Delivery] = []
        self.after: dict[str, set[str]] = {}
        self.baseline = ""
        self.jobs: list[str] = []
        self.end: EndState = {}
        self.lived = 0

    def __repr__(self) -> str:
        return "the recorded day"  # hypothesis prints it, and a dataclass with all that hangs on it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(tmp_path_factory: pytest.TempPathFactory, app_key: str) -> AsyncIterator[Day]:
    """A day that was lived once, everything in order."""
    clock = Clock()
    folder = tmp_path_factory.mktemp("day")
    async with gamma_with_repository(folder, app_key, "http://127.0.0.1:9", clock=clock) as gamma:
        limits = gamma.github.limits  # the same minute of this clock is lived many times
        limits.content_per_minute = limits.content_per_hour = limits.points_per_minute = 10**6
        limits.requests_per_hour = 10**6
        day = Day(gamma, clock)
        await start_afresh(day)
        await live(day)
        await let_trainings_end(day)
        day.jobs = [job.id for job in sorted(await jobs_of(day), key=lambda job: job.created_at)]
        day.end = await seen_in_the_end(day)
        # What Gamma itself did comes back to it, too: some of that stays in, for it must mean nothing.
        day.deliveries = [d for d in heard(gamma) if d.payload["sender"]["type"] != "Bot" or d.action == "created"]
        # Nothing more is sent by itself: neither news of what the next Gammas do, nor what a new one finds missing.
        gamma.app.hook.active = False
        gamma.app.deliveries.clear()
        await gamma.stop()
        yield day


async def live(day: Day) -> None:
    """Live the day with a running Gamma; its trainings go on until the evening."""
    gamma, later = day.gamma, day.clock.later
    day.baseline = await gamma.push("models/main", FILES)
    later()
    await gamma.push("models/x", {**FILES, "note.txt": "one"})
    later()
    x = await gamma.open_pull_request("models/x", base="models/main")
    later()
    with day.clock.standing():
        await gamma.push("models/x", {"note.txt": "two"})
        await gamma.push("models/x", {"note.txt": "three"})
    later()
    y_sha = await gamma.push("models/y", {**FILES, "note.txt": "four"})
    pushed = newest_guid(gamma, "push")
    later()
    y = await gamma.open_pull_request("models/y", base="models/main")
    later()
    await gamma.github.click(await gamma.running(y_sha), "stop", "ada")
    stopped = newest_guid(gamma, "check_run", "requested_action")
    later()
    await gamma.github.rerequest(await gamma.finished(y_sha), "ada")
    again = newest_guid(gamma, "check_run", "rerequested")
    day.after = {stopped: {pushed}, again: {pushed, stopped}}
    later()
    await gamma.dispatched()
    for author, words in (
        ("ada", "What can I say?\n\n/gamma help"),
        ("guest", "/gamma train"),
        ("ada", "/gamma statsu"),
        ("ada", "Looks good."),
        ("ada", "/gamma train lr=0.5"),
    ):
        day.comments.append(await gamma.github.comment(gamma.repository, x.number, words, author))
        later()
    await gamma.github.edit_comment(day.comments[3], "/gamma train lr=0.9", "ada")
    day.pulls = [x, y]
    await gamma.dispatched()
    await gamma.eventually(lambda: at_rest(day, heard(gamma)), "the evening")


def heard(gamma: Gamma) -> list[Delivery]:
    """What was sent to Gamma since it runs."""
    return [delivery for delivery in gamma.app.deliveries if delivery.status_code == 202]


async def start_afresh(day: Day) -> None:
    """A Gamma that remembers nothing, and a GitHub on which it has done nothing."""
    gamma = day.gamma
    for suite in gamma.repository.suites.values():
        suite.runs.clear()
    comments = gamma.repository.comments
    for comment in list(comments.values()):
        comment.reactions.clear()
        if comment.app is not None:
            del comments[comment.id]
    tracking = MemoryTracking()
    gamma.tracking, gamma.trainer = tracking, PatientTrainer(tracking, waits=True)
    shutil.rmtree(gamma.settings.data_dir, ignore_errors=True)
    day.lived += 1
    await gamma.start(data_dir=gamma.folder / f"data-{day.lived}")


async def let_trainings_end(day: Day) -> None:
    """In the evening the trainings end, the baseline's first, and GitHub shows it."""
    gamma = day.gamma
    trainer = trainer_of(day)
    trainer.finish(day.baseline)
    await gamma.finished(day.baseline)
    trainer.finish()

    await gamma.eventually(lambda: trainer.forgotten == set(trainer.specs) or None, "all trainings to be told")
    await gamma.flushed()


async def at_rest(day: Day, fed: Sequence[Delivery]) -> bool | None:
    """Whether all that was fed has had its effect, as far as that is possible before the trainings end."""
    assert day.gamma.service is not None
    service, trainer = day.gamma.service, trainer_of(day)
    records = {record.guid: record for record in await service.inbox.newest(500)}
    if any(delivery.guid not in records or records[delivery.guid].state != "done" for delivery in fed):
        return None
    jobs = {job.id: job for job in await service.jobs.recent(100)}
    results = " ".join(record.result for record in records.values())
    for comment in re.findall(r"commands in comment (\d+)", results):
        reply = await service.surfaces.get(f"reply:{day.gamma.repository.id}:{comment}")
        if reply is None:
            return None
        results += str(reply.body)
    if not set(re.findall(r"\bj[0-9a-f]{12}\b", results)) <= set(jobs):
        return None
    if not all(has_its_effect(press, jobs) for press in fed if press.event == "check_run"):
        return None
    trains = {attempt.job for attempt in trainer.specs}
    return True if all(job.final or (job.id in trains and not job.stop) for job in jobs.values()) else None


def has_its_effect(press: Delivery, jobs: Mapping[str, JobRecord]) -> bool:
    """Whether a button's job is over, or has a new attempt; both come some time after the delivery is done."""
    job = jobs.get(press.payload["check_run"]["external_id"])
    match press.action:
        case "requested_action":
            return job is not None and job.final
        case "rerequested":
            return any(job and other.head_sha == job.head_sha and other.id != job.id for other in jobs.values())
    return True


async def seen_in_the_end(day: Day) -> EndState:
    """What GitHub shows and what the store says."""
    assert day.gamma.service is not None
    service, gamma = day.gamma.service, day.gamma
    jobs = await jobs_of(day)
    runs = sorted(gamma.repository.check_runs, key=lambda run: (run.name, run.external_id))
    return {
        "jobs": {job.id: (job.state, job.branch, job.head_sha) for job in jobs},
        "trained once": all(count == 1 for count in trainer_of(day).starts.values()),
        "check runs": [(run.name, run.external_id, *shown(day, run)) for run in runs],
        "said once": len(SAID_ONCE.findall("\n".join(c.body for pull in day.pulls for c in gamma.comments(pull)))),
        "comments": {pull.number: [plain(each.body) for each in gamma.comments(pull)] for pull in day.pulls},
        "answers": {comment.id: answers(day, comment) for comment in day.comments},
        "reactions": {comment.id: [each.content for each in comment.reactions] for comment in day.comments},
        "given up": (await service.inbox.counts()).get("parked", 0),
    }


def shown(day: Day, run: CheckRun) -> tuple[object, ...]:
    """A check run as people see it; of a superseded one, what the order of arrival may not change."""
    output = run.output
    by = re.search(r"Superseded by \S+ job (j[0-9a-f]{12})", output.title or "")
    if by and day.jobs:
        assert day.jobs.index(by[1]) > day.jobs.index(run.external_id), "only something newer supersedes"
    if by:
        return (run.head_sha, run.status, run.conclusion, "superseded by a newer job")
    buttons = [action.identifier for action in run.actions]
    words = [plain(text or "") for text in (output.title, output.summary, output.text)]
    return (run.head_sha, run.status, run.conclusion, *words, *buttons)


def answers(day: Day, comment: IssueComment) -> list[str]:
    """Gamma's answers to a comment."""
    marker = f"<!-- gamma:reply:{comment.id} -->"
    bodies = [each.body for each in day.gamma.repository.comments_on(comment.issue.number)]
    return [plain(body) for body in bodies if body.startswith(marker)]


def plain(body: str) -> str:
    """Words without the numbers that count arrivals, the notice of the first comment, and the port of this Gamma."""
    body = SAID_ONCE.sub("", body)
    return re.sub(r"//127\.0\.0\.1:\d+/jobs/", "/jobs/", re.sub(r",? ?\(?attempt \d+\)?", "", body))


def newest_guid(gamma: Gamma, event: str, action: str | None = None) -> str:
    """The GUID of the newest delivery of a kind."""
    return next(d.guid for d in reversed(gamma.app.deliveries) if (d.event, d.action) == (event, action))


def trainer_of(day: Day) -> PatientTrainer:
    assert isinstance(day.gamma.trainer, PatientTrainer)
    return day.gamma.trainer


async def jobs_of(day: Day) -> Sequence[JobRecord]:
    assert day.gamma.service is not None
    return await day.gamma.service.jobs.recent(100)


def in_some_order(day: Day, wishes: Sequence[int]) -> list[Delivery]:
    """The deliveries, the smallest wish first, as far as somebody could have done things in that order."""
    left = dict(zip((delivery.guid for delivery in day.deliveries), wishes, strict=True))
    by_guid = {delivery.guid: delivery for delivery in day.deliveries}
    chosen: list[Delivery] = []
    while left:
        possible = [guid for guid in left if not day.after.get(guid, set()) & set(left)]
        guid = min(possible, key=left.__getitem__)
        chosen.append(by_guid[guid])
        del left[guid]
    return chosen


@hypothesis.settings(
    max_examples=40 if SEARCHES else 3,
    phases=tuple(Phase) if SEARCHES else (Phase.generate,),
    suppress_health_check=list(hypothesis.HealthCheck),
)
@given(data=st.data())
async def test_i2_any_order_any_repetition_any_delay_gives_the_same_end(day: Day, data: st.DataObject) -> None:
    """A recorded day is fed to a Gamma that knows nothing of it, and ends as it did when it was lived.

    Freely drawn are the order, which deliveries come twice (again over HTTP, as GitHub does when somebody presses
    Redeliver, and again to the dispatcher, as after a crash between the effect and its record), and after which
    of them Gamma comes to rest before the next one arrives (the delay). Four things are held fast:

    - What somebody did on a check run (Stop, Re-run) comes after what made Gamma show that check run: before that,
      nobody could press its button.
    - No training ends before the last delivery has come, and the baseline's training ends first. An end is no
      delivery, and a push that comes hours late can't undo it: then the older job has its result already.
    - Commands whose meaning is "what there is now" are not in the day: `/gamma stop`, `retry` and `status` speak of
      the newest job, and written before a push they do mean something else than after it.
    - GitHub is read as it is in the evening (I6), which is what a late delivery meets.

    The same are then: which jobs there are and how each ended, what every check run and every comment says, every
    answer, every reaction, and that nothing was trained twice. Two things may differ, because they tell of the
    arrival itself: the number of an attempt, and which of the newer jobs a superseded one names (that it is a newer
    one is checked), with how far it had got by then.
    """
    count = len(day.deliveries)
    order = in_some_order(day, data.draw(st.permutations(range(count)), "order"))
    again = data.draw(st.dictionaries(st.integers(0, count - 1), st.integers(0, count - 1), max_size=8), "again")
    rests = data.draw(st.sets(st.integers(0, count - 1), max_size=6), "rests")
    await start_afresh(day)
    try:
        await feed(day, order, again, rests)
        await let_trainings_end(day)
        for what, seen in (await seen_in_the_end(day)).items():
            assert seen == day.end[what], what
    finally:
        await day.gamma.stop()


async def feed(day: Day, order: Sequence[Delivery], again: Mapping[int, int], rests: Set[int]) -> None:
    """Deliver in this order.

    Args:
        again: which delivery (by its place) comes once more after which other one.
        rests: places before which Gamma comes to rest.
    """
    gamma = day.gamma
    assert gamma.service is not None
    async with aiohttp.ClientSession() as session:
        for place, delivery in enumerate(order):
            if place in rests or delivery.guid in day.after:
                await gamma.eventually(partial(at_rest, day, order[:place]), "Gamma to come to rest")
            repeated = [order[first] for first, at in again.items() if at == place and first < place]
            for each in (delivery, *repeated):
                url = f"{gamma.service.url}/webhook"
                async with session.post(url, data=each.request_body, headers=each.request_headers) as answer:
                    assert answer.status == (200 if each in repeated else 202)
            for each in repeated:
                await gamma.service.inbox.replay(each.guid)
    await gamma.eventually(partial(at_rest, day, order), "the evening")
