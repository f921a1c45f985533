"""The page that the details link leads to, for jobs in every state."""

from __future__ import annotations

from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get


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
    assert index.count("/jobs/j") == 2


async def test_hostile_words_stay_words(gamma: Gamma) -> None:
    script = "print('<script>alert(1)</script>')\nraise ValueError('</pre><script>alert(2)</script>')\n"
    sha = await gamma.push("models", {"train.py": script}, message="<script>alert(3)</script>")
    run = await gamma.finished(sha)

    _, page = await get(run.details_url or "")

    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_a_job_that_does_not_exist_is_a_plain_404(gamma: Gamma) -> None:
    status, page = await get(f"{gamma.service.url}/jobs/jnothere")

    assert status == 404
    assert "no such job" in page


async def test_the_numbers_for_probes_are_there(gamma: Gamma) -> None:
    await gamma.finished(await gamma.push("models", {"gamma.yml": CONFIG, "train.py": LOGGING_SCRIPT}))

    assert (await get(f"{gamma.service.url}/healthz"))[0] == 200
    assert (await get(f"{gamma.service.url}/readyz"))[0] == 200
    _, numbers = await get(f"{gamma.service.url}/metrics")
    assert 'gamma_jobs{state="succeeded"} 1' in numbers
