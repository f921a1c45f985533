"""Training jobs on the AWS stand-in, as their user lives them: endings, stops, interruptions, clashes."""

from __future__ import annotations

import contextlib
import io
import signal
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from gamma_bot.sandbox.aws.client import AwsStandIn
from tests.aws_stand_in import BUCKET, error, log_of, objects, on_spot, preferring, refusal, request, stand_in, states

pytestmark = pytest.mark.thorough

SPOT_SCRIPT = (
    "cd $GAMMA_ML/checkpoints; echo start >> starts; "
    "if [ $(wc -l < starts) = 1 ]; then echo first; exec sleep 60; fi; echo again; cp starts ../model/"
)


@pytest.fixture(scope="module")
def standing() -> Iterator[AwsStandIn]:
    with stand_in() as aws:
        yield aws


@pytest.fixture
def aws(standing: AwsStandIn) -> Iterator[AwsStandIn]:
    yield standing
    standing.forget()


@pytest.fixture
def sagemaker(aws: AwsStandIn) -> Any:
    return aws.client("sagemaker")


def until_it_says(aws: AwsStandIn, job: str, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in log_of(aws, job):
        assert time.monotonic() < deadline, log_of(aws, job)
        time.sleep(0.02)


def test_a_job_runs_its_command_in_the_layout_of_a_container(aws: AwsStandIn, sagemaker: Any) -> None:
    script = (
        "cd $GAMMA_ML; cat input/data/code/code.txt; echo $GREETING $TRAINING_JOB_NAME $TRAINING_JOB_ARN; "
        "cat input/config/hyper*; echo; python -c 'import sys; print(sys.version_info[0])'; "
        "echo weights > model/m.bin; echo chart > output/data/c.svg; printf last"
    )
    created = sagemaker.create_training_job(**request("gamma-whole-1", script))
    sagemaker.create_training_job(**request("gamma-whole-10", "echo somebody else"))
    job = aws.wait("gamma-whole-1")
    aws.wait("gamma-whole-10")

    assert job["TrainingJobStatus"] == "Completed"
    assert states(job) == ["Starting", "Pending", "Downloading", "Training", "Uploading", "Completed"]
    assert job["TrainingJobArn"] == created["TrainingJobArn"]
    assert job["Environment"] == {"GREETING": "hello"}
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] >= 1
    assert log_of(aws, "gamma-whole-1") == [
        "the code",
        f"hello gamma-whole-1 {created['TrainingJobArn']}",
        '{"lr": "0.1"}',
        "3",
        "last",
    ]
    assert objects(aws, "out/gamma-whole-1/") == [
        "out/gamma-whole-1/output/model.tar.gz",
        "out/gamma-whole-1/output/output.tar.gz",
    ]
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/gamma-whole-1/output/model.tar.gz"
    body = aws.client("s3").get_object(Bucket=BUCKET, Key="out/gamma-whole-1/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as model:
        assert model.getnames() == ["m.bin"]
    tags = sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "gamma:job", "Value": "j1"}]


def test_two_hosts_each_have_their_folder_and_their_log(aws: AwsStandIn, sagemaker: Any) -> None:
    resources = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 5}
    script = "cat $GAMMA_ML/input/config/resourceconfig.json | cut -c 1-27"
    sagemaker.create_training_job(**request("gamma-hosts", script, ResourceConfig=resources))
    aws.wait("gamma-hosts", "Completed")
    assert sorted(log_of(aws, "gamma-hosts")) == ['{"current_host": "algo-1", ', '{"current_host": "algo-2", ']


def test_a_failing_script_says_why(aws: AwsStandIn, sagemaker: Any) -> None:
    scripts = {
        "gamma-says": "printf 'loss is NaN' > $GAMMA_ML/output/failure; exit 3",
        "gamma-talks": "head -c 3000 /dev/zero | tr '\\0' x > $GAMMA_ML/output/failure; exit 1",
        "gamma-silent": "echo lost > $GAMMA_ML/model/m; kill -9 $$",
    }
    for name, script in scripts.items():
        sagemaker.create_training_job(**request(name, script))
    jobs = {name: aws.wait(name) for name in scripts}
    assert {job["TrainingJobStatus"] for job in jobs.values()} == {"Failed"}
    assert jobs["gamma-says"]["FailureReason"] == "AlgorithmError: loss is NaN, exit code: 3"
    assert jobs["gamma-silent"]["FailureReason"] == "AlgorithmError: , exit code: 137"
    reason = jobs["gamma-talks"]["FailureReason"]
    assert len(reason) == 1024
    assert reason.endswith("x, exit code: 1")
    assert objects(aws, "out/gamma-silent/") == []


def test_a_command_that_is_not_there_and_an_output_bucket_that_is_not_there(aws: AwsStandIn, sagemaker: Any) -> None:
    algorithm = request("x")["AlgorithmSpecification"] | {"ContainerEntrypoint": ["/no/such/command"]}
    sagemaker.create_training_job(**request("gamma-no-command", AlgorithmSpecification=algorithm))
    sagemaker.create_training_job(**request("gamma-no-bucket", OutputDataConfig={"S3OutputPath": "s3://not-there/o"}))
    assert aws.wait("gamma-no-command")["FailureReason"] == "AlgorithmError: , exit code: 127"
    assert aws.wait("gamma-no-bucket")["FailureReason"] == (
        "ClientError: Artifact upload failed:NoSuchBucket (404): The specified bucket does not exist"
    )


def test_a_stop_lets_the_script_save_what_it_has(aws: AwsStandIn, sagemaker: Any) -> None:
    script = "trap 'echo saved > $GAMMA_ML/model/m; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    sagemaker.create_training_job(**request("gamma-stop", script))
    until_it_says(aws, "gamma-stop", "up")
    sagemaker.stop_training_job(TrainingJobName="gamma-stop")
    job = aws.wait("gamma-stop")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert states(job)[-3:] == ["Stopping", "Uploading", "Stopped"]
    assert objects(aws, "out/gamma-stop/") == ["out/gamma-stop/output/model.tar.gz"]
    stop = sagemaker.stop_training_job
    assert error(stop, TrainingJobName="gamma-stop") == (
        "ValidationException: The request was rejected because the training job is in status Stopped."
    )
    assert error(stop, TrainingJobName="gamma-nobody") == "ValidationException: Requested resource not found."


def test_a_script_that_does_not_listen_is_killed_with_all_it_started(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.plan("stop-grace", seconds=0.1)
    sagemaker.create_training_job(**request("gamma-deaf", "trap '' TERM; sleep 60 & echo up; wait; sleep 60"))
    until_it_says(aws, "gamma-deaf", "up")
    first = next(job for job in aws.jobs() if job["name"] == "gamma-deaf")["process_ids"][0]
    sagemaker.stop_training_job(TrainingJobName="gamma-deaf")
    assert aws.wait("gamma-deaf")["TrainingJobStatus"] == "Stopped"
    assert not group_of(first)


def test_a_job_is_stopped_before_it_has_machines(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.plan("slow", job="gamma-early", state="Starting", seconds=60)
    sagemaker.create_training_job(**request("gamma-early"))
    assert error(sagemaker.delete_training_job, TrainingJobName="gamma-early").startswith("ValidationException: ")
    sagemaker.stop_training_job(TrainingJobName="gamma-early")
    job = aws.wait("gamma-early")
    assert states(job) == ["Starting", "Stopping", "Stopped"]
    assert not {"TrainingStartTime", "BillableTimeInSeconds"} & job.keys()
    sagemaker.delete_training_job(TrainingJobName="gamma-early")
    sagemaker.create_training_job(**request("gamma-early"))  # The name is free again.


def test_a_job_that_takes_too_long_is_ended(aws: AwsStandIn, sagemaker: Any) -> None:
    sagemaker.create_training_job(
        **request("gamma-long", "exec sleep 60", StoppingCondition={"MaxRuntimeInSeconds": 1})
    )
    job = aws.wait("gamma-long")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert job["BillableTimeInSeconds"] >= 1


def test_a_spot_interruption_costs_time_but_not_the_checkpoints(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.client("s3").put_object(Bucket=BUCKET, Key="kept/older", Body=b"from a job before")
    aws.plan("interrupt", job="gamma-spot-planned", after_seconds=0.1, away_seconds=0.05)
    sagemaker.create_training_job(**request("gamma-spot-planned", "sleep 0.3", **on_spot()))
    sagemaker.create_training_job(**request("gamma-spot", SPOT_SCRIPT, **on_spot(f"s3://{BUCKET}/kept")))
    until_it_says(aws, "gamma-spot", "first")
    aws.interrupt("gamma-spot")
    job = aws.wait("gamma-spot")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert states(job)[3:] == [
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    assert log_of(aws, "gamma-spot") == ["first", "again"]
    assert objects(aws, "kept/") == ["kept/older", "kept/starts"]
    streams = aws.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="gamma-spot/algo-1-"
    )
    assert len(streams["logStreams"]) == 2
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]
    planned = aws.wait("gamma-spot-planned")
    assert (planned["TrainingJobStatus"], states(planned).count("Training")) == ("Completed", 2)


def test_no_machines_the_next_type_and_none_at_all(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.plan("capacity", job="gamma-pick*", instance_types=["ml.g5.xlarge"], times=None)
    sagemaker.create_training_job(
        **request("gamma-pick", ResourceConfig=preferring("ml.g5.xlarge", "ml.g5.2xlarge", VolumeSizeInGB=5))
    )
    sagemaker.create_training_job(**request("gamma-pick-one"))
    aws.plan("never-started", job="gamma-never*", times=2)
    sagemaker.create_training_job(**request("gamma-never"))
    sagemaker.create_training_job(**request("gamma-never-spot", **on_spot()))
    aws.plan("internal-error", job="gamma-internal*", times=3)
    sagemaker.create_training_job(**request("gamma-internal", RetryStrategy={"MaximumRetryAttempts": 1}))
    aws.plan("image", job="gamma-image")
    sagemaker.create_training_job(**request("gamma-image"))
    aws.plan("client-error", job="gamma-memory", message="Please use an instance type with more memory")
    sagemaker.create_training_job(**request("gamma-memory"))
    aws.plan("slow", job="gamma-wait", state="Starting", seconds=60)
    short_wait = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    sagemaker.create_training_job(**request("gamma-wait", **on_spot() | {"StoppingCondition": short_wait}))

    assert aws.wait("gamma-pick")["ResourceConfig"]["SelectedInstanceType"] == "ml.g5.2xlarge"
    short = aws.wait("gamma-pick-one")
    assert short["FailureReason"] == (
        "CapacityError: Unable to provision requested ML compute capacity. "
        "Please retry using a different ML instance type."
    )
    assert states(short) == ["Starting", "Failed"]
    assert "TrainingStartTime" not in short
    assert aws.wait("gamma-never")["SecondaryStatus"] == "Stopped"
    never = aws.wait("gamma-never-spot")
    assert never["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert "BillableTimeInSeconds" not in never
    internal = aws.wait("gamma-internal")
    assert internal["FailureReason"] == "InternalServerError: We encountered an internal error. Please try again."
    assert states(internal).count("Restarting") == 1
    assert aws.wait("gamma-image")["FailureReason"].startswith("ClientError: Cannot pull algorithm container.")
    memory = aws.wait("gamma-memory")
    assert memory["FailureReason"] == "ClientError: Please use an instance type with more memory"
    assert states(memory)[-2:] == ["Downloading", "Failed"]
    assert states(aws.wait("gamma-wait")) == ["Starting", "MaxWaitTimeExceeded"]


def test_eight_at_once_make_one_job(aws: AwsStandIn, sagemaker: Any) -> None:
    def submit(_: int) -> str:
        try:
            return str(sagemaker.create_training_job(**request("gamma-clash"))["TrainingJobArn"])
        except ClientError as refused:
            return str(refused.response["Error"]["Message"])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(submit, range(8)))
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/gamma-clash"
    clash = f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
    assert sorted(answers) == sorted([arn] + [clash] * 7)
    assert refusal(aws, "gamma-clash").startswith("ResourceInUse: ")


def test_a_lost_answer_leaves_a_job_behind(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.plan("lost", action="sagemaker:CreateTrainingJob", times=2)
    with pytest.raises(ConnectionClosedError):
        sagemaker.create_training_job(**request("gamma-lost"))
    assert aws.wait("gamma-lost")["TrainingJobStatus"] == "Completed"
    patient = aws.client("sagemaker", attempts=3)  # It tries again by itself, and finds its own job.
    assert error(patient.create_training_job, **request("gamma-lost-too")).startswith("ResourceInUse: ")


def test_the_price_of_a_job_can_be_told(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.plan("billed", job="gamma-bill", training_seconds=3600, billable_seconds=1080)
    sagemaker.create_training_job(**request("gamma-bill"))
    job = aws.wait("gamma-bill")
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (3600, 1080)


@pytest.mark.parametrize("how", ["its parent goes", "SIGTERM"])
def test_nothing_is_left_of_a_stand_in_that_ends(how: str, tmp_path: Path) -> None:
    with AwsStandIn.started(tmp_path / "aws") as aws:
        bare = request("gamma-left", "trap '' TERM; sleep 60 & sleep 60")
        del bare["InputDataConfig"]
        aws.client("sagemaker").create_training_job(**bare)
        aws.wait("gamma-left", "Training")
        while not (running := aws.jobs()[0]["process_ids"]):
            time.sleep(0.02)
        if how == "SIGTERM":
            assert aws.ended_by(signal.SIGTERM) == 0
    assert not group_of(running[0])
    assert list((tmp_path / "aws").iterdir()) == []


def group_of(process: int) -> list[str]:
    """The living processes of a process group."""
    found = list[str]()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if group == str(process) and state != "Z":
                found.append((folder / "cmdline").read_text())
    return found
