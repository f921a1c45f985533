"""Whose turn it is, decided from what is known of all unfinished jobs: queues, limits, and who goes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamma_bot.jobs.turns import BehindBranch, Contender, Full, Stage, explain, waits

NEW, WAITING, BEGUN = Stage.NEW, Stage.WAITING, Stage.BEGUN


def job(name: str, at: float, stage: Stage = WAITING, *, branch: str = "models", repository: int = 1) -> Contender:
    """A job of a push without concurrency or limits."""
    return Contender(name, 9, repository, branch, f"sha-{name}", "", at, at, stage)


def queued(name: str, at: float, stage: Stage = WAITING, **more: object) -> Contender:
    """A job whose gamma.yml says ``concurrency: queue``."""
    return replace(job(name, at, stage), queues=True, **more)


def test_a_queue_trains_its_branch_in_the_order_of_the_pushes() -> None:
    first, second, third = queued("a", 1), queued("b", 2), queued("c", 3)

    assert waits([third, second, first]) == {"a": None, "b": BehindBranch("a", 0), "c": BehindBranch("a", 1)}
    assert waits([third, second]) == {"b": None, "c": BehindBranch("b", 0)}


def test_a_queue_waits_for_an_older_push_whose_plan_is_not_made_yet() -> None:
    assert waits([job("a", 1, NEW), queued("b", 2)]) == {"b": BehindBranch("a", 0)}
    assert waits([job("c", 3, NEW), queued("b", 2)]) == {"b": None}


def test_a_queue_waits_for_what_runs_though_it_was_pushed_later() -> None:
    assert waits([queued("late", 1), job("newer", 2, BEGUN)]) == {"late": BehindBranch("newer", 0)}


def test_a_queue_waits_for_nobody_on_other_branches_and_repositories() -> None:
    others = [job("a", 1, BEGUN, branch="models/x"), job("b", 1, BEGUN, repository=2)]

    assert waits([*others, queued("c", 2)]) == {"c": None}


def test_only_who_queues_waits_for_its_branch() -> None:
    assert waits([queued("a", 1, BEGUN), job("b", 2), queued("c", 3)]) == {"b": None, "c": BehindBranch("a", 1)}


def test_pushes_of_one_second_are_ordered_by_their_commits() -> None:
    first = queued("z", 5, before_sha="sha-0", created_at=5.3)
    second = queued("y", 5, before_sha="sha-z", created_at=5.2)
    third = queued("x", 5, before_sha="sha-y", created_at=5.1)

    assert waits([third, first, second]) == {"z": None, "y": BehindBranch("z", 0), "x": BehindBranch("z", 1)}


def test_commits_that_go_in_a_circle_are_ordered_all_the_same() -> None:
    there, back = queued("a", 5, before_sha="sha-b"), queued("b", 5, before_sha="sha-a")

    assert sorted(waits([there, back]).values(), key=str) == [BehindBranch("a", 0), None]


def test_a_commit_that_somebody_trains_again_does_not_pass_those_that_wait() -> None:
    again = replace(queued("again", 9), chained=False, head_sha="sha-a")

    assert waits([again, queued("b", 2)]) == {"b": None, "again": BehindBranch("b", 0)}


def test_a_repository_runs_no_more_than_its_limit_and_the_oldest_goes_first() -> None:
    running = [job(name, 1, BEGUN, branch=name) for name in "ab"]
    waiting = [replace(job(name, at, branch=name), repository_limit=3) for name, at in (("d", 3), ("c", 2), ("e", 4))]

    assert waits([*running, *waiting]) == {
        "c": None,
        "d": Full("repository", running=3, limit=3, before=0),
        "e": Full("repository", running=3, limit=3, before=1),
    }


def test_a_full_repository_holds_up_no_other_one() -> None:
    full = [job("a", 1, BEGUN), replace(job("b", 2), repository_limit=1)]
    other = replace(job("c", 3, repository=2), repository_limit=1)

    assert waits([*full, other])["c"] is None


def test_who_waits_for_its_branch_leaves_its_place_to_others() -> None:
    limit = {"repository_limit": 2}
    line = [queued("a", 1, BEGUN), queued("b", 2, **limit), replace(job("c", 3, branch="models/x"), **limit)]

    assert waits(line) == {"b": BehindBranch("a", 0), "c": None}


def test_repositories_of_an_installation_that_say_different_limits_each_obey_their_own() -> None:
    running = [job("a", 1, BEGUN), job("b", 1, BEGUN, repository=2)]
    careful = replace(job("c", 2, repository=3), installation_limit=2)
    bold = replace(job("d", 3, repository=4), installation_limit=3)
    elsewhere = replace(job("e", 4, repository=5), installation_id=8, installation_limit=1)

    assert waits([*running, careful, bold, elsewhere]) == {
        "c": Full("installation", running=2, limit=2, before=0),
        "d": None,
        "e": None,
    }


@given(
    st.lists(
        st.builds(
            lambda number, stage, branch, repository, at, queues, limit: replace(
                job(f"job-{number}", at, stage, branch=branch, repository=repository),
                queues=queues,
                repository_limit=limit,
            ),
            st.integers(0, 1000),
            st.sampled_from(Stage),
            st.sampled_from("xy"),
            st.integers(1, 3),
            st.integers(1, 5),
            st.booleans(),
            st.just(2),
        ),
        unique_by=lambda each: each.job,
        max_size=14,
    )
)
def test_no_rule_is_broken_and_somebody_can_always_go_on(line: Sequence[Contender]) -> None:
    while line:
        started = {name for name, wait in waits(line).items() if wait is None}
        before = [each for each in line if each.stage is BEGUN]
        line = [replace(each, stage=BEGUN) if each.job in started else each for each in line]
        running = [each for each in line if each.stage is BEGUN]
        for each in running:
            if each.job in started:
                assert sum(other.repository_id == each.repository_id for other in running) <= 2
                assert not each.queues or all(_branch(other) != _branch(each) for other in before)
        assert running or any(each.stage is NEW for each in line)
        # All that runs ends, and a plan is made of what is new.
        line = [replace(each, stage=WAITING) if each.stage is NEW else each for each in line if each.stage is not BEGUN]


def _branch(each: Contender) -> tuple[int, str]:
    return each.repository_id, each.branch


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (BehindBranch("j1", 0), "job `j1` of this branch runs first"),
        (BehindBranch("j1", 2), "job `j1` of this branch runs first, then 2 more"),
        (Full("repository", 2, 2, 0), "this repository runs 2 of 2 jobs (limit in gamma.yml on `main`)"),
        (
            Full("installation", 8, 8, 1),
            "the repositories of this installation run 8 of 8 jobs (limit in gamma.yml on `main`); 1 waits before it",
        ),
        (
            Full("repository", 3, 2, 4),
            "this repository runs 3 jobs where 2 may run (limit in gamma.yml on `main`); 4 wait before it",
        ),
    ],
)
def test_what_a_reader_is_told(wait: BehindBranch | Full, words: str) -> None:
    assert explain(wait, "main") == words
