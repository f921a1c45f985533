"""What goes wrong around a job does not decide how it ends, and nothing is repeated without a pause.

One Gamma serves all stories of this module; each has a repository, an owner and an installation of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gamma_bot.sandbox.faults import Fault, FaultKind
from gamma_bot.store.inbox import Delivery, Stored
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPOSITORY = {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}


@pytest_asyncio.fixture(loop_scope="module")
async def gamma(shared: Gamma) -> AsyncIterator[Gamma]:
    """A repository where nothing has happened yet; what still would go wrong after its story does not."""
    yield shared.elsewhere()
    shared.github.faults.clear()


def waiting_for(gate: Path) -> str:
    """A script that goes on when a file appears."""
    return f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)\n" + LOGGING_SCRIPT


async def test_a_refused_look_at_pull_requests_does_not_cost_the_result(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    gamma.github.faults.add(Fault("GET", r"/pulls", FaultKind.STATUS, times=20, status=403))
    gate.touch()

    run = await gamma.finished(sha)

    assert run.conclusion == "success"
    assert "0.3" in run.output.title


async def test_a_stale_404_makes_no_second_check_run(gamma: Gamma, tmp_path: Path) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    gamma.github.faults.add(Fault("PATCH", r"/check-runs/", FaultKind.STALE_NOT_FOUND))
    gate.touch()

    run = await gamma.finished(sha)
    await gamma.flushed()

    assert run.conclusion == "success"
    assert len(gamma.check_runs(sha)) == 1


async def test_a_comment_that_somebody_deleted_is_written_again_with_the_next_news(gamma: Gamma) -> None:
    await gamma.finished(await gamma.push("models/x", REPOSITORY))
    pull = await gamma.open_pull_request("models/x", base="main")
    await gamma.comment_says(pull, "0.3")
    await gamma.flushed()
    await gamma.github.delete_comment(gamma.comments(pull)[0])

    sha = await gamma.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")})

    await gamma.comment_says(pull, sha[:7], "0.6")
    assert len(gamma.comments(pull)) == 1


async def test_a_rate_limit_is_obeyed_by_the_whole_installation(gamma: Gamma) -> None:
    sha = await gamma.push("models", REPOSITORY)
    await gamma.finished(sha)
    await gamma.flushed()
    gamma.github.faults.add(Fault("POST", r"/check-runs$", FaultKind.SECONDARY_LIMIT, times=1, retry_after_seconds=2))
    began = len(gamma.github.requests)

    second = await gamma.push("models", {"gamma.yml": CONFIG.replace("0.1", "0.2")})
    run = await gamma.finished(second)

    own = [r for r in gamma.github.requests[began:] if gamma.repository.full_name in r.path]
    limited = next(r for r in own if r.status == 403)
    later = [r for r in own if limited.time < r.time < limited.time + 1.9]
    under_way = [r for r in later if r.time < limited.time + 0.5]
    assert run.conclusion == "success"
    assert len(later) == len(under_way) <= 3, "only the reads that were under way already"
    assert len(gamma.check_runs(second)) == 1


async def test_a_clock_that_is_set_back_hides_no_end(
    gamma: Gamma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "go"
    sha = await gamma.push("models", {**REPOSITORY, "train.py": waiting_for(gate)})
    await gamma.running(sha)
    real = time.time
    monkeypatch.setattr("gamma_bot.store.jobs.time.time", lambda: real() - 60)
    gate.touch()

    assert (await gamma.finished(sha)).conclusion == "success"


async def test_a_payload_that_no_code_expects_is_parked_and_holds_up_nothing(gamma: Gamma) -> None:
    inbox = gamma.service.inbox
    hostile = {"ref": "refs/heads/models", "after": "1" * 40, "installation": {"id": 1}, "repository": None}
    odd = '{"ref": "refs/heads/\\ud800"}'
    await inbox.offer(Delivery("bad", "push", json.dumps(hostile).encode(), 0.0))
    await inbox.offer(Delivery("odd", "push", odd.encode(), 0.0))

    sha = await gamma.push("models", REPOSITORY)
    assert (await gamma.finished(sha)).conclusion == "success"

    async def parked() -> str | None:
        record = await inbox.find("bad")
        return record.result if record is not None and record.state == "parked" else None

    assert "repository" in await gamma.eventually(parked, "the delivery to be parked")
    with capture_logs() as logged:
        assert await inbox.offer(Delivery("bad", "push", b"{}", 0.0)) is Stored.DUPLICATE

        def tried() -> bool | None:
            return True if any(line.get("delivery") == "bad" for line in logged) else None

        await gamma.eventually(tried, "what was parked to be tried once more, since it was delivered again")
