"""A job that would only repeat an earlier one takes over its result; and a script may make its own MLflow run."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from gamma_bot.sandbox.model import CheckRun
from tests.conversation import newest, say
from tests.harness import CONFIG, LOGGING_SCRIPT, Gamma, get

PATHS = CONFIG.replace("  command", "  paths: [train.py, gamma.yml, data/]\n  command")

# It does what `mlflow.set_experiment` and `mlflow.start_run` do where MLFLOW_RUN_CONTEXT is set.
ADOPTED = """\
import json, os, urllib.request

def ask(path, body):
    request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path,
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))

assert "MLFLOW_RUN_ID" not in os.environ
experiment = ask("experiments/create", {"name": "elsewhere-" + os.environ["GAMMA_SHA"]})["experiment_id"]
tags = [{"key": key, "value": value} for key, value in json.loads(os.environ["MLFLOW_RUN_CONTEXT"]).items()]
run = ask("runs/create", {"experiment_id": experiment, "start_time": 0, "tags": tags})["run"]["info"]["run_id"]
os.environ["MLFLOW_RUN_ID"] = run
"""


async def test_what_was_trained_already_is_not_trained_again(gamma: Gamma, tmp_path: Path) -> None:
    counter = tmp_path / "starts"
    script = f"open({str(counter)!r}, 'a').write('started\\n')\n{LOGGING_SCRIPT}"

    def starts() -> int:
        return len(counter.read_text().splitlines())

    async def attempt(sha: str, number: int) -> CheckRun:
        return await gamma.eventually(lambda: newest(gamma, sha, number), f"attempt {number}")

    first = await gamma.push("models/a", {"gamma.yml": PATHS, "train.py": script, "README.md": "One."})
    trained = await gamma.finished(first)
    files = {"gamma.yml": f"# The same, but for this line.\n{PATHS}", "train.py": script, "README.md": "Two."}
    second = await gamma.push("models/b", files)
    pull = await gamma.open_pull_request("models/b", base="main")
    reused = await gamma.finished(second)

    assert (trained.conclusion, reused.conclusion) == ("success", "success")
    assert starts() == 1
    assert trained.external_id in (reused.output.summary or "")
    assert "**Nothing was trained**" in (reused.output.summary or "")
    assert "`/gamma train force=true` trains all the same" in (reused.output.summary or "")
    assert "score 0.3" in (reused.output.title or "")
    assert "**Nothing was trained**" in await gamma.comment_says(pull, second[:7], "0.3")
    # What the job that trained has left is there to be looked at.
    assert "step 3" in (await get(reused.details_url))[1]
    assert "step 3" in (await say(gamma, pull, "/gamma logs"))[1]

    await say(gamma, pull, "/gamma train")
    assert "**Nothing was trained**" in ((await attempt(second, 2)).output.summary or "")
    assert starts() == 1
    await say(gamma, pull, "/gamma train force=true")
    assert "Nothing was trained" not in ((await attempt(second, 3)).output.summary or "")
    assert starts() == 2
    await say(gamma, pull, "/gamma retry")
    await attempt(second, 4)
    assert starts() == 3

    other = await gamma.push("models/b", {"gamma.yml": PATHS.replace("lr: 0.1", "lr: 0.2")})
    assert "0.6" in ((await gamma.finished(other)).output.title or "")
    assert starts() == 4
    _, answer = await say(gamma, pull, "/gamma train instance=ml.g5.xlarge")
    assert "no instances to choose" in answer

    # What says which packages there are counts, whatever the training paths are.
    await gamma.push("models/b", {"constraints.txt": "numpy<3\n", "data/x.csv": "1"})
    other = await gamma.push("models/b", {"constraints.txt": "numpy<2\n"})
    assert "Skipped" in ((await gamma.finished(other)).output.title or "")
    await say(gamma, pull, "/gamma train")
    assert "Nothing was trained" not in ((await attempt(other, 2)).output.summary or "")
    # A run that somebody has thrown away in MLflow can't be shown: it is trained again.
    thrown_away = (await gamma.service.jobs.recent(1))[0].run_id
    async with aiohttp.ClientSession() as session:
        api = f"{gamma.settings.mlflow_tracking_uri}/api/2.0/mlflow/runs/delete"
        async with session.post(api, json={"run_id": thrown_away}) as deleted:
            assert deleted.status == 200
    before = starts()
    await say(gamma, pull, "/gamma train")
    assert "Nothing was trained" not in ((await attempt(other, 3)).output.summary or "")
    assert starts() == before + 1
    await say(gamma, pull, "/gamma train")
    assert "**Nothing was trained**" in ((await attempt(other, 4)).output.summary or ""), "the newer one has its run"


async def test_a_run_that_the_script_makes_is_the_jobs_run(gamma: Gamma) -> None:
    config = CONFIG.replace("  command", "  mlflow: adopt\n  command")
    sha = await gamma.push("models", {"gamma.yml": config, "train.py": ADOPTED + LOGGING_SCRIPT})

    run = await gamma.finished(sha)

    assert run.conclusion == "success"
    assert "score 0.3" in (run.output.title or "")
    (job,) = await gamma.service.jobs.recent(1)
    assert job.run_id is not None
    assert (await gamma.service.tracking.read_run(job.run_id)).status == "FINISHED"
