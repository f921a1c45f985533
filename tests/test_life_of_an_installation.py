"""The App is installed, its repositories move, it is suspended, taken away and installed again."""

from __future__ import annotations

import pytest

from gamma_bot.sandbox.model import CheckRun, Installation
from gamma_bot.store.jobs import JobRecord
from gamma_bot.store.projects import ProjectState
from gamma_bot.tracking.runs import RunStatus
from tests.harness import CONFIG, Gamma, get
from tests.stand_ins import MemoryTracking, PatientTrainer

FILES = {"gamma.yml": CONFIG, "train.py": ""}


@pytest.fixture
async def gamma(stage: Gamma) -> Gamma:
    """A running bot whose jobs run until they are told to end."""
    stage.tracking = MemoryTracking()
    stage.trainer = PatientTrainer(stage.tracking, waits=True)
    await stage.start()
    return stage


async def ended(gamma: Gamma, sha: str) -> JobRecord:
    """Wait until the job of a commit is over for Gamma, whether GitHub can be told or not."""

    async def over() -> JobRecord | None:
        job = next(iter(await gamma.service.jobs.of_commit(gamma.repository.id, sha)), None)
        return job if job is not None and job.final else None

    return await gamma.eventually(over, f"the job of {sha[:7]} to be over")


def installation(gamma: Gamma) -> Installation:
    """The one that covers the repository now."""
    (found,) = gamma.github.state.installations_on(gamma.repository)
    return found


def words(run: CheckRun) -> str:
    """What a person reads in the Checks tab."""
    return f"{run.conclusion}: {run.output.title}\n{run.output.summary}"


def asked(gamma: Gamma, since: int = 0) -> list[str]:
    """What GitHub was asked for; the look at the list of deliveries is about no repository."""
    asked = [f"{one.method} {one.path}" for one in gamma.github.requests[since:]]
    return [one for one in asked if one != "GET /app/hook/deliveries"]


async def comes_again(gamma: Gamma, *names: str) -> None:
    """The newest webhooks of these events and actions are handled once more, after all that came meanwhile."""
    for name in names:
        newest = [one for one in gamma.app.deliveries if f"{one.event}.{one.action}" == name][-1]
        assert await gamma.service.inbox.replay(newest.guid)
    await gamma.dispatched()


async def state(gamma: Gamma) -> ProjectState | None:
    """What Gamma believes of the repository."""
    project = await gamma.service.projects.get(gamma.repository.id)
    return project.state if project is not None else None


async def test_a_renamed_and_a_transferred_repository_keep_their_jobs_and_their_one_comment(gamma: Gamma) -> None:
    gamma = gamma.elsewhere()
    await gamma.push("feature", author=gamma.app.bot)  # where nothing trains, nobody asks whether it is our own
    await gamma.dispatched()
    assert await state(gamma) is ProjectState.ACTIVE
    assert asked(gamma) == [], "installing opens no noise, and asks nothing"
    assert gamma.repository.issues == {}

    sha = await gamma.push("models/x", FILES)
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(sha)
    await gamma.comment_says(pull, sha[:7])
    old = gamma.repository.full_name
    await gamma.github.rename_repository(gamma.repository, "runner")
    await gamma.dispatched()
    renamed = len(gamma.github.requests)
    gamma.trainer.finish()

    assert "success" in words(await gamma.finished(sha))
    comment = await gamma.comment_says(pull, "0.3")
    assert old not in comment
    assert f"{gamma.repository.full_name}/commit/{sha}" in comment
    assert not [one for one in gamma.github.requests[renamed:] if old in one.path or one.status in (301, 307)]
    job = await ended(gamma, sha)
    status, page = await get(f"{gamma.service.url}/jobs/{job.id}")
    assert (status, gamma.repository.full_name in page, old in page) == (200, True, False)

    # To another account, where the App is installed, too: a new owner and a new installation.
    gamma.github.create_organization("lab")
    lab = gamma.github.create_repository("lab", "other", {"README.md": "x"})
    gamma.github.install(gamma.app, lab, selection="all")
    second = await gamma.push("models/x")
    await gamma.running(second)
    await gamma.github.transfer_repository(gamma.repository, "lab")
    await gamma.dispatched()
    await comes_again(gamma, "repository.renamed", "installation_repositories.removed")  # they tell of the old owner
    gamma.trainer.finish()

    assert "success" in words(await gamma.finished(second))
    assert "lab/runner" in await gamma.comment_says(pull, second[:7], "0.3", "lab/runner")
    assert len(gamma.comments(pull)) == 1
    assert (await ended(gamma, sha)).repository == "lab/runner", "old jobs follow, too"
    again = gamma.check_runs(second)[0]
    gamma.repository.collaborators["ada"] = "write"
    await gamma.github.rerequest(again, "ada")
    await gamma.eventually(lambda: gamma.check_runs(second)[1:] or None, "the re-run at the new place")


async def test_a_suspended_installation_is_left_alone_and_catches_up_when_it_is_over(gamma: Gamma) -> None:
    gamma.github.create_user("grace")
    first = await gamma.push("models/x", FILES)
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.running(first)
    await gamma.comment_says(pull, first[:7])
    await gamma.flushed()

    gamma.github.suspend(installation(gamma), by="grace")
    await gamma.dispatched()
    suspended = len(gamma.github.requests)
    job = await ended(gamma, first)

    assert job.state == "cancelled"
    assert job.facts["why"] == "The installation was suspended by `grace`."
    assert gamma.tracking.status == {job.run_id: RunStatus.KILLED}
    assert await gamma.service.surfaces.count_dirty() == 0, "nothing is due there"
    assert asked(gamma, suspended) == []
    assert gamma.check_runs(first)[0].status == "in_progress", "GitHub takes no news of it"

    gamma.github.unsuspend(installation(gamma))
    await gamma.dispatched()
    await comes_again(gamma, "installation.suspend")

    run = await gamma.finished(first)
    assert run.conclusion == "cancelled"
    assert "suspended by grace" in words(run)
    assert "Push again once it is no longer suspended." in words(run)
    assert "suspended" in await gamma.comment_says(pull, "suspended")
    assert await state(gamma) is ProjectState.ACTIVE
    second = await gamma.push("models/x")
    await gamma.running(second)
    gamma.trainer.finish()
    assert "success" in words(await gamma.finished(second))

    # Archived, it takes no writes either.
    third = await gamma.push("models/x")
    await gamma.running(third)
    gamma.github.archive_repository(gamma.repository, by="grace")
    assert (await ended(gamma, third)).facts["why"] == "The repository was archived by `grace`."
    gamma.github.unarchive_repository(gamma.repository)
    assert "archived by grace" in words(await gamma.finished(third))
    assert [one for one in gamma.github.requests if one.status == 403] == []

    # A permission that was missing is used as soon as it is granted, not when the token's hour is over.
    gamma = gamma.elsewhere()
    del installation(gamma).permissions["checks"]
    fourth = await gamma.push("models/x", FILES)
    gamma.trainer.finish(fourth)
    await gamma.eventually(lambda: [one for one in gamma.github.requests if one.status == 403] or None, "a refusal")
    gamma.github.accept_new_permissions(installation(gamma))
    await gamma.eventually(lambda: gamma.check_runs(fourth) or None, "the check run")


async def test_an_app_that_was_taken_away_ends_its_jobs_and_works_again_when_it_is_back(gamma: Gamma) -> None:
    first = await gamma.push("models/x", FILES)
    await gamma.running(first)
    await gamma.flushed()
    old = installation(gamma)

    gamma.github.uninstall(old)
    await gamma.dispatched()
    gone = len(gamma.github.requests)
    job = await ended(gamma, first)

    assert (job.state, job.facts["why"]) == ("cancelled", "The App was uninstalled by `ada`.")
    assert gamma.tracking.status == {job.run_id: RunStatus.KILLED}
    assert await state(gamma) is ProjectState.FORGOTTEN
    assert await gamma.service.surfaces.count_dirty() == 0
    assert asked(gamma, gone) == [], "GitHub would refuse for ever"

    # A new installation. What is told of the old one comes once more, and after it.
    new = gamma.github.install(gamma.app, gamma.repository)
    await gamma.dispatched()
    await comes_again(gamma, "installation.deleted")

    assert await state(gamma) is ProjectState.ACTIVE
    assert "uninstalled by ada" in words(await gamma.finished(first))
    second = await gamma.push("models/x")
    await gamma.running(second)

    # The repository is taken from the installation and given back, and the one is told after the other.
    gamma.github.change_repositories(new, remove=[gamma.repository])
    assert (await ended(gamma, second)).facts["why"] == "The repository was taken from the installation by `ada`."
    gamma.github.change_repositories(new, add=[gamma.repository])
    await comes_again(gamma, "installation_repositories.removed")
    assert await state(gamma) is ProjectState.ACTIVE
    assert "taken from the installation" in words(await gamma.finished(second))

    # Nobody tells that it was installed anew: the first push finds out where it is.
    third = await gamma.push("models/x")
    await gamma.running(third)
    gamma.github.webhooks.hold()
    gamma.github.uninstall(new)
    gamma.github.install(gamma.app, gamma.repository)
    fourth = await gamma.push("models/x")
    gamma.github.webhooks.release(lambda held: [one for one in held if one.event == "push"])
    await gamma.running(fourth)
    gamma.trainer.finish()
    assert "success" in words(await gamma.finished(fourth))
    assert (await ended(gamma, third)).installation_id == installation(gamma).id

    fifth = await gamma.push("models/x")
    await gamma.running(fifth)
    await gamma.github.delete_repository(gamma.repository)
    assert (await ended(gamma, fifth)).facts["why"] == "The repository was deleted by `ada`."
    assert await gamma.service.surfaces.count_dirty() == 0
