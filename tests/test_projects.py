"""What is believed of repositories, by what deliveries say and without asking GitHub, where nothing depends on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gamma_bot.github.gateway import GitHubApp
from gamma_bot.jobs.installations import InstallationNews, Installations, ProjectNews
from gamma_bot.jobs.push import Push
from gamma_bot.jobs.record import facts_of, new_job
from gamma_bot.store.database import Database
from gamma_bot.store.jobs import Jobs
from gamma_bot.store.projects import Place, Project, Projects, ProjectState

PLACE = Place(7, "ada/walker", 9)
Known = tuple[Projects, Jobs, Installations]


@pytest.fixture
async def projects(tmp_path: Path, database_url: str | None) -> AsyncIterator[Known]:
    """What is believed, and who learns it; any call to GitHub would fail for want of a key."""
    database = Database(database_url or f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    known, jobs = Projects(database), Jobs(database)
    async with aiohttp.ClientSession() as session:
        github = GitHubApp(session, api_url="http://127.0.0.1:9", app_id="1", keys=())
        yield known, jobs, Installations(github, known, jobs, lambda: None)
    database.close()


async def test_news_of_an_installation_come_in_the_wrong_order(projects: Known) -> None:
    known, _, learner = projects
    created = ProjectNews((PLACE,), ProjectState.ACTIVE, first=True)
    deleted = InstallationNews(9, ProjectState.FORGOTTEN, "The App was uninstalled by `ada`.", (PLACE,))
    new = Place(7, "ada/walker", 10)

    await learner.heard(deleted)
    await learner.heard(created)
    assert (await known.get(7)).state is ProjectState.FORGOTTEN, "it began before it ended"

    await learner.heard(ProjectNews((new,), ProjectState.ACTIVE, first=True))
    await learner.heard(deleted)
    await learner.heard(ProjectNews((PLACE,), ProjectState.FORGOTTEN, "taken"))
    assert (await known.get(7)).state is ProjectState.ACTIVE, "the old installation's end is not the new one's"
    assert (await known.get(7)).installation_id == 10
    assert await known.of([new, Place(8, "ada/other", 10)]) == {7: await known.get(7)}


async def test_what_is_archived_or_taken_away_stays_so_when_the_installation_is_suspended_and_no_longer(
    projects: Known,
) -> None:
    known, _, learner = projects
    places = [Place(number, f"ada/r{number}", 9) for number in (1, 2, 3)]
    await learner.heard(ProjectNews(places, ProjectState.ACTIVE, first=True))
    await learner.heard(ProjectNews(places[:1], ProjectState.ARCHIVED, "archived"))
    await learner.heard(ProjectNews(places[1:2], ProjectState.FORGOTTEN, "taken"))

    await learner.heard(InstallationNews(9, ProjectState.SUSPENDED, "suspended"))
    assert [project.state for project in await known.of_installation(9)] == ["archived", "forgotten", "suspended"]
    await learner.heard(InstallationNews(9, ProjectState.ACTIVE))
    assert [project.state for project in await known.of_installation(9)] == ["archived", "forgotten", "active"]
    assert await known.counts() == {"active": 1, "archived": 1, "forgotten": 1}


async def test_jobs_follow_their_repository_and_a_late_push_finds_it_where_it_is_now(projects: Known) -> None:
    known, jobs, _ = projects

    def job(guid: str) -> Push:
        return Push(
            guid=guid,
            installation_id=9,
            repository_id=7,
            repository="ada/walker",
            branch="models",
            before="0" * 40,
            after="a" * 40,
            pusher="ada",
            message="",
            pushed_at=1.0,
            html_url="https://github.example/ada/walker",
        )

    first = await jobs.open(new_job(job("1"), details_url="", now=1.0))
    await known.keep([Project(7, "lab/runner", 10)])
    late = await jobs.open(new_job(job("2"), details_url="", now=2.0))
    again = await jobs.get(first.id)

    for each in (again, late):
        assert (each.repository, each.installation_id) == ("lab/runner", 10)
        assert facts_of(each).repo == "lab/runner"
        assert facts_of(each).commit_url == f"https://github.example/lab/runner/commit/{'a' * 40}"
    assert await known.worked_for([7, 8]) == {7}
    assert Push.from_json(late.push).moved("lab/runner", 10).html_url == "https://github.example/lab/runner"
