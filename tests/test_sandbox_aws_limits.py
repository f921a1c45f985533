"""What the AWS stand-in refuses, limits, loses and delays, and the events it sends through EventBridge to SQS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gamma_bot.sandbox.aws.client import AwsStandIn
from tests.aws_stand_in import BUCKET, GROUP, ROLE, error, on_spot, preferring, refusal, request, stand_in

pytestmark = pytest.mark.thorough

# The members of the event in AWS's developer guide, and of its detail.
EVENT = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
DETAIL = {
    "TrainingJobName",
    "TrainingJobArn",
    "TrainingJobStatus",
    "SecondaryStatus",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CreationTime",
    "LastModifiedTime",
    "SecondaryStatusTransitions",
    "Tags",
}


@pytest.fixture(scope="module")
def standing() -> Iterator[AwsStandIn]:
    with stand_in() as aws:
        yield aws


@pytest.fixture
def aws(standing: AwsStandIn) -> Iterator[AwsStandIn]:
    """A stand-in whose jobs are moved by the test."""
    standing.plan("frozen")
    yield standing
    standing.forget()
    standing.move(to="Stopped")


@pytest.fixture
def sagemaker(aws: AwsStandIn) -> Any:
    return aws.client("sagemaker")


class Queue:
    """A queue that a rule of EventBridge fills."""

    def __init__(self, aws: AwsStandIn, name: str, pattern: dict[str, Any]) -> None:
        self._aws, self._sqs = aws, aws.client("sqs")
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        told = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        events = aws.client("events")
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": told["Attributes"]["QueueArn"]}])

    def drained(self) -> list[dict[str, Any]]:
        """Every event that arrived, in the order of the queue."""
        assert self._aws.settle()
        found = list[dict[str, Any]]()
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
            entries = [{"Id": item["MessageId"], "ReceiptHandle": item["ReceiptHandle"]} for item in messages]
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return found


@pytest.fixture(scope="module")
def queue(standing: AwsStandIn) -> Queue:
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Training Job State Change"],
        "detail": {"TrainingJobName": [{"prefix": "gamma-told-"}]},
    }
    return Queue(standing, "gamma-events", pattern)


def test_a_rule_brings_the_events_of_our_jobs_to_the_queue(aws: AwsStandIn, sagemaker: Any, queue: Queue) -> None:
    for name in ("gamma-told-1", "somebody-elses-1"):
        sagemaker.create_training_job(**request(name))
        aws.move(name, to="Training")
    aws.move("gamma-told-1", to="Failed", failure_reason="AlgorithmError: , exit code: 1")
    events = queue.drained()
    told = [(event["detail"]["TrainingJobStatus"], event["detail"]["SecondaryStatus"]) for event in events]
    assert told == [("InProgress", "Starting"), ("InProgress", "Training"), ("Failed", "Failed")]
    last = events[-1]
    assert set(last) == EVENT
    assert DETAIL | {"FailureReason", "Environment", "TrainingStartTime", "TrainingEndTime"} == set(last["detail"])
    assert last["resources"] == [last["detail"]["TrainingJobArn"]]
    assert last["detail"]["Tags"] == {"gamma:job": "j1"}
    assert last["detail"]["CreationTime"].isdigit()
    assert last["time"].endswith("Z")


def test_events_come_twice_in_disorder_or_not_at_all(aws: AwsStandIn, sagemaker: Any, queue: Queue) -> None:
    events = aws.plan("events", mode="both", seconds=0.1, times="number")
    sagemaker.create_training_job(**request("gamma-told-often"))
    states = ["Pending", "Downloading", "Training", "Uploading", "Completed"]
    for state in states:
        aws.move("gamma-told-often", to=state)
    told = queue.drained()
    order = [event["detail"]["SecondaryStatus"] for event in told]
    assert sorted(order) == sorted(["Starting", *states] * 2)
    assert order != sorted(order, key=["Starting", *states].index)
    assert len({event["id"] for event in told}) == 6  # A double is the same event.
    assert isinstance(told[0]["detail"]["CreationTime"], int)
    aws.forget(events)
    aws.plan("events", mode="off")
    sagemaker.create_training_job(**request("gamma-told-never"))
    assert queue.drained() == []


def test_many_frozen_jobs_end_in_one_call(aws: AwsStandIn, sagemaker: Any, queue: Queue) -> None:
    names = [f"gamma-told-many-{number}" for number in range(100)]
    assert aws.create_frozen([request(name) for name in names], state="Training") == 100
    queue.drained()
    assert aws.move(to="Completed", jobs=names[:60], training_seconds=500, billable_seconds=100) == 60
    assert len(queue.drained()) == 60
    job = sagemaker.describe_training_job(TrainingJobName=names[0])
    assert (job["TrainingJobStatus"], job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (
        "Completed",
        500,
        100,
    )


def test_jobs_are_listed_page_by_page(aws: AwsStandIn, sagemaker: Any) -> None:
    aws.create_frozen([request(f"gamma-list-{number}") for number in range(25)])
    aws.move(to="Completed", jobs=[f"gamma-list-{number}" for number in range(5, 25)])

    def pages(**asked: Any) -> list[list[str]]:
        found, token = list[list[str]](), dict[str, Any]()
        while True:
            told = sagemaker.list_training_jobs(NameContains="gamma-list-", **asked, **token)
            found.append([summary["TrainingJobName"] for summary in told["TrainingJobSummaries"]])
            if "NextToken" not in told:
                return found
            token = {"NextToken": told["NextToken"]}

    every = [f"gamma-list-{number}" for number in range(25)]
    assert pages() == [every[:10], every[10:20], every[20:]]
    assert pages(MaxResults=20, SortOrder="Descending") == [every[:4:-1], every[4::-1]]
    assert pages(StatusEquals="InProgress") == [every[:5]]
    # Documented: the page is cut first, from the newest on, and filtered then.
    assert pages(MaxResults=10, StatusEquals="InProgress") == [[], [], every[4::-1]]
    changed = sagemaker.describe_training_job(TrainingJobName="gamma-list-24")["LastModifiedTime"]
    time.sleep(0.002)
    aws.move("gamma-list-3", to="Training")
    assert pages(LastModifiedTimeAfter=changed) == [["gamma-list-3"]]
    token = sagemaker.list_training_jobs(NameContains="gamma-list-", MaxResults=1)["NextToken"]
    other = {"NameContains": "gamma-", "MaxResults": 1, "NextToken": token}
    assert error(sagemaker.list_training_jobs, **other).startswith("ValidationException: ")


def test_quotas_count_what_runs(aws: AwsStandIn, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("gamma-quota-1"))
    aws.plan("quota", instance_type="ml.g5.xlarge", usage="training job", limit=1)
    aws.plan("quota", instance_type="ml.g5.xlarge", usage="spot training job", limit=0)
    full = (
        "ResourceLimitExceeded: The account-level service limit 'ml.g5.xlarge for training job usage' is 1 Instances, "
        "with current utilization of 1 Instances and a request delta of 1 Instances. "
    )
    assert refusal(aws, "gamma-quota-2").startswith(full)
    assert "'ml.g5.xlarge for spot training job usage' is 0 Instances, with current utilization of 0 Instances" in (
        refusal(aws, "gamma-quota-3", **on_spot())
    )
    other = preferring("ml.g5.xlarge", "ml.g5.2xlarge", VolumeSizeInGB=5)
    sagemaker.create_training_job(**request("gamma-quota-4", ResourceConfig=other))
    assert refusal(aws, "gamma-quota-1").startswith("ResourceInUse: ")  # The name comes first.
    aws.move("gamma-quota-1", to="Stopped")
    aws.move("gamma-quota-4", to="Stopped")
    sagemaker.create_training_job(**request("gamma-quota-2"))


def test_a_warm_pool_is_kept_used_again_and_let_go(aws: AwsStandIn, sagemaker: Any) -> None:
    kept = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5, "KeepAlivePeriodInSeconds": 600}

    def pool(name: str) -> Any:
        return sagemaker.describe_training_job(TrainingJobName=name)["WarmPoolStatus"]

    sagemaker.create_training_job(**request("gamma-warm-1", ResourceConfig=kept))
    assert pool("gamma-warm-1")["Status"] == "InUse"
    aws.move("gamma-warm-1", to="Completed")
    assert pool("gamma-warm-1")["Status"] == "Available"
    assert error(sagemaker.delete_training_job, TrainingJobName="gamma-warm-1").startswith("ResourceInUse: ")
    sagemaker.create_training_job(**request("gamma-warm-2", ResourceConfig=kept))
    assert (pool("gamma-warm-1")["Status"], pool("gamma-warm-1")["ReusedByJob"]) == ("Reused", "gamma-warm-2")
    aws.move("gamma-warm-2", to="Completed")
    found = sagemaker.list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [summary["TrainingJobName"] for summary in found] == ["gamma-warm-2"]
    let_go = {"TrainingJobName": "gamma-warm-2", "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}}
    sagemaker.update_training_job(**let_go)
    assert pool("gamma-warm-2")["Status"] == "Terminated"
    assert error(sagemaker.update_training_job, **let_go).startswith("ValidationException: ")


def test_what_sagemaker_refuses_beyond_its_model(aws: AwsStandIn) -> None:
    def refused(**changed: Any) -> str:
        return refusal(aws, "gamma-refused", **changed)

    wait = "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
    assert refused(EnableManagedSpotTraining=True) == f"ValidationException: {wait}"
    times = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    assert "only supported when EnableManagedSpotTraining" in refused(StoppingCondition=times)
    assert "at most 2419200" in refused(StoppingCondition={"MaxRuntimeInSeconds": 2_419_201})
    assert "Cross-account" in refused(RoleArn="arn:aws:iam::999999999999:role/theirs")
    once = preferring("ml.g5.xlarge", "ml.g5.2xlarge", VolumeSizeInGB=5)
    assert "mutually exclusive" in refused(ResourceConfig=once, **on_spot())
    assert "mutually exclusive" in refused(ResourceConfig=once | {"InstanceType": "ml.g5.xlarge"})
    assert "only once" in refused(ResourceConfig=preferring("ml.g5.xlarge", "ml.g5.xlarge"))
    assert "either on every" in refused(ResourceConfig=preferring("ml.g5.xlarge", InstanceCount=0))
    image = {"TrainingImage": "docker.io/me/mine:1", "TrainingInputMode": "File"}
    assert "private Docker registry" in refused(AlgorithmSpecification=image)
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://not-there/data"}
    missing = refused(InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}])
    assert missing == (
        'ValidationException: No S3 objects found under S3 URL "s3://not-there/data" given in input data source. '
        "Please ensure that the bucket exists in the selected region (us-east-1), that objects exist under that S3 "
        f'prefix, and that the role "{ROLE}" has "s3:ListBucket" permissions on bucket "not-there".'
    )
    elsewhere = aws.client("sagemaker", "eu-west-1").create_training_job
    assert "No S3 objects found" in error(elsewhere, **request("gamma-refused"))


def test_with_roles_and_images_it_is_as_strict_as_aws(aws: AwsStandIn, sagemaker: Any) -> None:
    iam, ecr = aws.client("iam"), aws.client("ecr")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="another", AssumeRolePolicyDocument=policy)
    assert refusal(aws, "gamma-role") == (
        f"ValidationException: Could not assume role {ROLE}. Please ensure that the role exists and allows principal "
        "'sagemaker.amazonaws.com' to assume the role."
    )
    sagemaker.create_training_job(**request("gamma-role", RoleArn="arn:aws:iam::123456789012:role/another"))
    iam.delete_role(RoleName="another")
    ecr.create_repository(repositoryName="other")
    assert "Cannot find repository: train in registry ID: 123456789012" in refusal(aws, "gamma-image")
    ecr.create_repository(repositoryName="train")
    assert "with tag: 1 and digest: null" in refusal(aws, "gamma-image")
    for name in ("other", "train"):
        ecr.delete_repository(repositoryName=name)
    sagemaker.create_training_job(**request("gamma-image"))


def test_calls_are_throttled_denied_and_late(aws: AwsStandIn, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("gamma-calls"))
    throttle = aws.plan("throttle", action="sagemaker:Describe*", every=3, times=None)
    outcomes = []
    for _ in range(6):
        try:
            sagemaker.describe_training_job(TrainingJobName="gamma-calls")
            outcomes.append("ok")
        except sagemaker.exceptions.ClientError as refused:
            outcomes.append(refused.response["Error"]["Code"])
    assert outcomes == ["ok", "ok", "ThrottlingException"] * 2
    aws.forget(throttle)

    aws.plan("denied", action="iam:PassRole")
    assert f"not authorized to perform: iam:PassRole on resource: {ROLE}" in refusal(aws, "gamma-denied")
    aws.plan("denied", action="sagemaker:StopTrainingJob")
    arn = "arn:aws:sagemaker:us-east-1:123456789012:training-job/gamma-calls"
    assert error(sagemaker.stop_training_job, TrainingJobName="gamma-calls") == (
        "AccessDeniedException: User: arn:aws:iam::123456789012:user/gamma is not authorized to perform: "
        f"sagemaker:StopTrainingJob on resource: {arn} because no identity-based policy allows the "
        "sagemaker:StopTrainingJob action"
    )
    aws.plan("denied", action="s3:PutObject", resource=f"arn:aws:s3:::{BUCKET}/secret/*")
    s3, sqs = aws.client("s3"), aws.client("sqs")
    assert error(s3.put_object, Bucket=BUCKET, Key="secret/a", Body=b"") == "AccessDenied: Access Denied"
    s3.put_object(Bucket=BUCKET, Key="open/a", Body=b"")
    aws.plan("internal", action="sqs:ListQueues")
    assert error(sqs.list_queues).startswith("InternalFailure: ")

    expired = aws.plan("expired")
    late = "The security token included in the request is expired"
    assert error(sagemaker.list_training_jobs) == f"ExpiredTokenException: {late}"
    assert error(aws.client("sts").get_caller_identity) == f"ExpiredToken: {late}"
    assert error(s3.list_objects_v2, Bucket=BUCKET).startswith("ExpiredToken: ")
    aws.forget(expired)
    aws.plan("delay", action="sagemaker:ListTrainingJobs", seconds=0.2)
    before = time.monotonic()
    sagemaker.list_training_jobs()
    assert time.monotonic() - before >= 0.2
    with pytest.raises(ValueError, match="unknown kind of fault 'typo'"):
        aws.plan("typo")


def test_what_moto_does_not_know_is_refused_in_a_typed_way_or_answered_as_planned(aws: AwsStandIn) -> None:
    prices = aws.client("pricing")
    assert error(prices.get_products, ServiceCode="AmazonSageMaker").startswith("AccessDeniedException: User: ")
    assert error(aws.client("service-quotas").list_service_quotas, ServiceCode="sagemaker").startswith("AccessDenied")
    aws.plan("answer", action="pricing:GetProducts", body={"FormatVersion": "aws_v1", "PriceList": ["{}"]})
    assert prices.get_products(ServiceCode="AmazonSageMaker")["PriceList"] == ["{}"]


def test_every_call_is_listed_as_iam_would_see_it(aws: AwsStandIn, sagemaker: Any) -> None:
    s3, logs, sqs = aws.client("s3"), aws.client("logs"), aws.client("sqs")
    url = sqs.create_queue(QueueName="gamma-seen")["QueueUrl"]
    aws.forget_calls()
    sagemaker.create_training_job(**request("gamma-seen"))
    s3.put_object(Bucket=BUCKET, Key="seen/a", Body=b"x", ServerSideEncryption="AES256")
    s3.head_object(Bucket=BUCKET, Key="seen/a")
    s3.list_objects_v2(Bucket=BUCKET, Prefix="seen/")
    sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": "x"}])
    logs.create_log_group(logGroupName=GROUP + "/other")
    logs.describe_log_streams(logGroupName=GROUP + "/other")
    error(logs.filter_log_events, logGroupName="/nobody", logStreamNamePrefix="a")
    job = "arn:aws:sagemaker:us-east-1:123456789012:training-job/gamma-seen"
    group = "arn:aws:logs:us-east-1:123456789012:log-group:"
    calls = aws.calls()
    assert [(call["action"], call["resource"]) for call in calls] == [
        ("sagemaker:CreateTrainingJob", job),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/seen/a"),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/seen/a"),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
        ("sqs:DeleteMessage", "arn:aws:sqs:us-east-1:123456789012:gamma-seen"),
        ("logs:CreateLogGroup", f"{group}{GROUP}/other"),
        ("logs:DescribeLogStreams", f"{group}{GROUP}/other"),
        ("logs:FilterLogEvents", f"{group}/nobody"),
    ]
    assert calls[0]["implied"] == [
        {"action": "iam:PassRole", "resource": ROLE},
        {"action": "sagemaker:AddTags", "resource": job},
    ]


def test_a_reset_forgets_everything(aws: AwsStandIn, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("gamma-reset"))
    aws.reset()
    assert aws.jobs() == aws.calls() == aws.faults() == []
    assert aws.client("s3").list_buckets()["Buckets"] == []
