"""The whole bot with SageMaker as its executor: from the push to the verdict, against the AWS stand-in."""

from __future__ import annotations

import aiohttp
import pytest

from gamma_bot.sandbox.aws.client import AwsStandIn
from gamma_bot.settings import WrongSettings
from tests.harness import LOGGING_SCRIPT, Gamma
from tests.sagemaker_stage import BUCKET, ROLE, furnish

CONFIG = """\
version: 1
train:
  executor: sagemaker
  command: python train.py
  hyperparameters: {lr: 0.1}
  sagemaker:
    image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/train:1
    instance: ml.m5.xlarge
metrics:
  score: {goal: maximize, primary: true}
"""


@pytest.fixture
async def gamma(stage: Gamma, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> Gamma:
    """A Gamma that trains on SageMaker."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    queue = furnish(aws)
    await stage.push("main", {"gamma.yml": CONFIG})
    await stage.start(
        executor="sagemaker",
        aws_region="us-east-1",
        aws_endpoint_url=aws.url,
        aws_bucket=BUCKET,
        aws_role_arn=ROLE,
        aws_events_queue_url=queue,
    )
    return stage


async def test_a_push_trains_on_sagemaker_and_its_artifacts_can_be_fetched(gamma: Gamma, aws: AwsStandIn) -> None:
    script = LOGGING_SCRIPT + "open(os.path.join(os.environ['SM_MODEL_DIR'], 'weights'), 'w').write('42')\n"
    sha = await gamma.push("models", {"gamma.yml": CONFIG, "train.py": script})
    run = await gamma.finished(sha)

    assert run.conclusion == "success", gamma.history()
    assert "score" in (run.output.summary or "")
    assert "ml.m5.xlarge" in (run.output.summary or "") + (run.output.text or "")
    (job,) = aws.jobs()
    assert job["tags"]["gamma:sha"] == sha
    assert run.details_url is not None
    async with aiohttp.ClientSession() as session:
        link = f"{run.details_url}/artifacts/model.tar.gz"
        async with session.get(link, allow_redirects=False) as response:
            assert response.status == 302
            assert "X-Amz-Signature=" in response.headers["Location"]
        async with session.get(link) as response:
            assert (await response.read())[:2] == b"\x1f\x8b"
    everything = "".join((r.output.summary or "") + (r.output.text or "") for r in gamma.repository.check_runs)
    assert "X-Amz-" not in everything


async def test_a_failure_of_the_code_is_annotated_at_its_line(gamma: Gamma) -> None:
    sha = await gamma.push("models", {"gamma.yml": CONFIG, "train.py": "def model():\n    return 1 / 0\n\nmodel()\n"})
    run = await gamma.finished(sha)
    assert run.conclusion == "failure"
    assert "ZeroDivisionError" in (run.output.summary or "")
    assert [(each.path, each.start_line) for each in run.annotations] == [("train.py", 2)]


async def test_a_mistake_about_sagemaker_is_annotated_in_gamma_yml(gamma: Gamma, aws: AwsStandIn) -> None:
    wrong = CONFIG.replace("ml.m5.xlarge", "ml.m5.xlrage")
    await gamma.push("main", {"gamma.yml": wrong})
    sha = await gamma.push("models", {"gamma.yml": wrong, "train.py": "print(1)"})
    run = await gamma.finished(sha, "gamma / config")
    assert run.conclusion == "failure"
    (annotation,) = run.annotations
    assert (annotation.path, annotation.start_line) == ("gamma.yml", 8)
    assert annotation.message == "Did you mean “ml.m5.xlarge”?"
    assert aws.jobs() == []


async def test_a_newer_push_stops_the_older_job_at_sagemaker(gamma: Gamma, aws: AwsStandIn) -> None:
    first = await gamma.push("models", {"gamma.yml": CONFIG, "train.py": "import time; time.sleep(60)"})
    await gamma.running(first)
    second = await gamma.push("models", {"train.py": "print('quick')"})
    assert (await gamma.finished(first)).conclusion == "cancelled"
    assert (await gamma.finished(second)).conclusion in ("success", "neutral")
    assert sorted(job["status"] for job in aws.jobs()) == ["Completed", "Stopped"]


async def test_an_mlflow_that_sagemaker_can_not_reach_is_refused_at_the_start(stage: Gamma) -> None:
    with pytest.raises(WrongSettings, match="GAMMA_MLFLOW_TRACKING_URI"):
        await stage.start(executor="sagemaker", aws_bucket=BUCKET, mlflow_tracking_uri=None)
