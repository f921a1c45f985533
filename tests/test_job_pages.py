"""The page that the details link leads to, for jobs in every state."""

from __future__ import annotations

import re

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import update
from yarl import URL

from gamma_bot.store.tables import jobs
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def gamma(shared: Gamma) -> Gamma:
    """A repository where nothing has happened yet."""
    return shared.elsewhere()


async def test_the_page_of_a_finished_job_shows_metrics_chart_log_and_baseline(gamma: Gamma) -> None:
    base = await gamma.push("models/main", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT})
    await gamma.finished(base)
    head = await gamma.push("models/x", {"gamma.yml": CONFIG.replace("0.1", "0.2")}, start_from="models/main")
    run = await gamma.finished(head)

    status, page = await get(run.details_url or "")

    assert status == 200
    for words in ("succeeded", "+0.3", "<polyline", base[:7], "step 3 score", "python train.py"):
        assert words in page
    status, index = await get(f"{gamma.service.url}/")
    assert status == 200
    for one in (*gamma.check_runs(base), run):
        assert f"/jobs/{one.external_id}" in index


async def test_hostile_words_stay_words(gamma: Gamma) -> None:
    script = "print('<script>alert(1)</script>')\nraise ValueError('</pre><script>alert(2)</script>')\n"
    sha = await gamma.push("models", {"train.py": script}, message="<script>alert(3)</script>")
    run = await gamma.finished(sha)

    _, page = await get(run.details_url or "")

    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


LEAVING_SCRIPT = """
import os, pathlib
import mlflow

pathlib.Path(os.environ["SM_MODEL_DIR"], "a b.bin").write_bytes(b"<script>" + bytes(300_000))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "curve.txt").write_text("1 2 3")
pathlib.Path("only.txt").write_text("in MLflow")
with mlflow.start_run():
    mlflow.log_param("rate", "<0.1>")
    mlflow.log_artifact(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "curve.txt"))
    mlflow.log_artifact("only.txt")
"""


async def test_artifacts_are_downloads_and_only_those_of_the_list(gamma: Gamma) -> None:
    run = await gamma.finished(await gamma.push("models", {"train.py": LEAVING_SCRIPT}))
    page_url = run.details_url or ""

    _, page = await get(page_url)
    assert "&lt;0.1&gt;" in page
    assert re.findall(r'href="[^"]*/artifacts/([^"]+)"', page) == ["curve.txt", "model/a%20b.bin"]
    assert "<code>only.txt</code>" in page
    assert "output/data/curve.txt" not in page

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{page_url}/artifacts/model/a%20b.bin") as answer:
            assert (answer.status, len(await answer.read())) == (200, 300_008)
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b.bin"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with session.get(f"{page_url}/artifacts/curve.txt") as answer:
            assert await answer.text() == "1 2 3"
        for path in ("only.txt", "output/data/curve.txt", "model/nothing", "..%2F..%2Fspec.json", "model"):
            async with session.get(URL(f"{page_url}/artifacts/{path}", encoded=True)) as answer:
                assert answer.status == 404, path


async def test_a_job_whose_record_is_not_understood_hides_no_other(gamma: Gamma) -> None:
    first = await gamma.finished(await gamma.push("models", {"train.py": "print(1)"}))
    second = await gamma.finished(await gamma.push("models", {"train.py": "print(2)"}))
    broken = (first.details_url or "").rsplit("/", 1)[-1]
    damage = update(jobs).where(jobs.c.id == broken).values(facts='{"state": "unheard of"}')
    await gamma.service.database.write(lambda connection: connection.execute(damage))

    status, index = await get(f"{gamma.service.url}/")
    assert status == 200
    assert "another version of Gamma" in index
    assert (second.details_url or "").rsplit("/", 1)[-1] in index
    status, page = await get(first.details_url or "")
    assert status == 200
    assert "can&#39;t be shown" in page


async def test_a_job_that_does_not_exist_is_a_plain_404(gamma: Gamma) -> None:
    status, page = await get(f"{gamma.service.url}/jobs/jnothere")

    assert status == 404
    assert "no such job" in page


async def test_the_numbers_for_probes_are_there(gamma: Gamma) -> None:
    await gamma.finished(await gamma.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}))

    assert (await get(f"{gamma.service.url}/healthz"))[0] == 200
    assert (await get(f"{gamma.service.url}/readyz"))[0] == 200
    _, numbers = await get(f"{gamma.service.url}/metrics")
    succeeded = [job for job in await gamma.service.jobs.recent(100) if job.state == "succeeded"]
    assert f'gamma_jobs{{state="succeeded"}} {len(succeeded)}\n' in numbers
