"""What of SageMaker can be told without AWS: names, requests, what was seen, why it ended."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from gamma_bot.config.executors import SageMaker
from gamma_bot.training.sagemaker import names
from gamma_bot.training.sagemaker.container.run import summary, value_of
from gamma_bot.training.sagemaker.description import Description
from gamma_bot.training.sagemaker.endings import judge
from gamma_bot.training.sagemaker.framework_image import newest_match
from gamma_bot.training.sagemaker.refusals import AwsRefused, Refusal
from gamma_bot.training.sagemaker.request import Place, text_of, training_job
from gamma_bot.training.sagemaker.sightings import Sighting, detail_of, merged, moment, seen_in_event
from gamma_bot.training.sagemaker.source import repack
from gamma_bot.training.trainer import Attempt, Ending, Origin, TrainingSpec
from tests.sagemaker_stage import ORIGIN, tarball

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
PLACE = Place("bucket", "arn:aws:iam::123456789012:role/training", "us-east-1")
attempts = st.builds(Attempt, st.one_of(st.from_regex(r"j[0-9a-f]{12}", fullmatch=True), st.text(max_size=80)))
sightings = st.builds(
    Sighting,
    st.sampled_from(["InProgress", "Stopping", "Completed", "Failed", "Stopped"]),
    st.sampled_from(["Starting", "Downloading", "Training", "Interrupted", "Uploading", "Completed", "New"]),
    st.integers(1, 5).map(float),
    st.integers(0, 3),
)


@given(attempts, attempts, st.integers(1, 12), st.integers(1, 12))
def test_every_try_has_a_name_of_its_own_that_aws_takes(one: Attempt, two: Attempt, first: int, second: int) -> None:
    a, b = names.training_job_name(one, first), names.training_job_name(two, second)
    assert NAME.fullmatch(a)
    assert a.startswith("gamma-")
    assert len(a) <= 63
    assert (a == b) == ((one, first) == (two, second))


def test_names_of_jobs_are_readable() -> None:
    attempt = Attempt("j0123456789ab", 2)
    assert names.training_job_name(attempt, 1) == "gamma-j0123456789ab-2"
    assert names.training_job_name(attempt, 3) == "gamma-j0123456789ab-2-r3"


@given(st.text(), st.text())
def test_tags_hold_only_what_aws_allows(repository: str, branch: str) -> None:
    for value in names.tags(Attempt("j1"), 1, Origin(1, repository, branch, "a" * 40)).values():
        assert len(value) <= 256
        assert not re.search(r"[^\w .:/=+\-@]", value)


def test_checkpoints_are_found_by_line_of_descent() -> None:
    def folder(job: str, sha: str, branch: str, resume: names.Lineage) -> str:
        return names.checkpoint_folder("b", Attempt(job), Origin(7, "ada/walker", branch, sha), resume)

    assert folder("j1", "s1", "models", "none") != folder("j2", "s1", "models", "none")
    assert folder("j1", "s1", "models", "same-sha") == folder("j2", "s1", "other", "same-sha")
    assert folder("j1", "s1", "models/a", "branch") == folder("j2", "s2", "models/a", "branch")
    assert folder("j1", "s1", "models/a", "branch") != folder("j2", "s1", "models-a", "branch")
    assert ".." not in folder("j1", "s1", "../../x", "branch")


@given(st.lists(sightings, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_events_mean_the_same_in_any_order_and_however_often(seen: list[Sighting], chance: random.Random) -> None:
    def all_of(found: list[Sighting]) -> Sighting:
        known = found[0]
        for each in found[1:]:
            known = merged(known, each)
        return known

    shuffled = [*seen, *chance.choices(seen, k=3)]
    chance.shuffle(shuffled)
    assert all_of(shuffled) == all_of(seen)
    assert all_of(seen).ended == any(each.ended for each in seen)


@pytest.mark.parametrize(
    "written",
    ["2026-11-24T03:00:00Z", 1795489200, 1795489200000, "1795489200000", datetime(2026, 11, 24, 3, tzinfo=UTC)],
)
def test_times_are_read_however_aws_writes_them(written: object) -> None:
    assert moment(written) == 1795489200.0


def test_an_event_as_the_documentation_shows_it() -> None:
    body = {
        "source": "aws.sagemaker",
        "time": "2018-10-06T12:26:13Z",
        "detail": {
            "TrainingJobName": "89c96cc8-dded-4739-afcc-6f1dc936701d",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/kmeans-1",
            "TrainingJobStatus": "Completed",
            "SecondaryStatus": "Completed",
            "LastModifiedTime": "1583831889050",
            "SecondaryStatusTransitions": [],
        },
    }
    assert seen_in_event(body) == ("kmeans-1", Sighting("Completed", "Completed", 1583831889.05))
    assert seen_in_event({"source": "aws.ec2", "detail": {}}) is None
    assert seen_in_event({"source": "aws.sagemaker", "detail": None}) is None


def test_interruptions_are_told_as_what_they_are() -> None:
    told = [
        detail_of(Sighting("InProgress", secondary, 1.0, times))
        for secondary, times in (("Interrupted", 1), ("Starting", 2), ("Training", 2), ("Training", 0), ("Starting", 0))
    ]
    assert told == snapshot(
        [
            "spot capacity was taken back, waits for a new machine",
            "spot capacity was taken back, waits for a new machine (2nd time)",
            "training again after 2 interruptions of spot capacity",
            "",
            "waits for a machine",
        ]
    )


def described(**more: Any) -> Description:
    answer = {
        "TrainingJobName": "gamma-j1-1",
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/gamma-j1-1",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400},
        "SecondaryStatusTransitions": [{"Status": "Starting"}],
    }
    return Description.of({**answer, **more})


@pytest.mark.parametrize(
    ("ending", "again", "more"),
    [
        (Ending.CAPACITY, True, {"FailureReason": "CapacityError: Unable to provision requested ML compute capacity."}),
        (Ending.CAPACITY, True, {"FailureReason": "InsufficientInstanceCapacity: no"}),
        (Ending.PLATFORM, True, {"FailureReason": "InternalServerError: We encountered an internal error."}),
        (Ending.PLATFORM, False, {"FailureReason": "SomethingNew: never seen"}),
        (Ending.PLATFORM, False, {}),
        (Ending.USER_CODE, False, {"FailureReason": "AlgorithmError: CapacityError: mine, exit code: 1"}),
        (Ending.USER_CODE, False, {"FailureReason": "AlgorithmError: , exit code: 3"}),
        (Ending.REQUIREMENTS, False, {"FailureReason": "AlgorithmError: gamma-requirements: no x, exit code: 1"}),
        (Ending.CONFIG, False, {"FailureReason": "ClientError: Data download failed:NoSuchKey (404)"}),
        (Ending.MEMORY_LIMIT, False, {"FailureReason": "ClientError: Please use an instance type with more memory"}),
        (Ending.STOPPED, False, {"TrainingJobStatus": "Stopped", "TrainingStartTime": 1795489200}),
        (Ending.NEVER_STARTED, True, {"TrainingJobStatus": "Stopped"}),
        (Ending.TIME_LIMIT, False, {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}),
        (Ending.NEVER_STARTED, False, {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"}),
        (
            Ending.STOPPED,  # by somebody outside, before it had a machine: not to be tried again
            False,
            {"TrainingJobStatus": "Stopped", "SecondaryStatusTransitions": [{"Status": "Stopping"}]},
        ),
        (
            Ending.TIME_LIMIT,
            False,
            {
                "TrainingJobStatus": "Stopped",
                "SecondaryStatus": "MaxWaitTimeExceeded",
                "TrainingStartTime": 1795489200,
                "BillableTimeInSeconds": 5,
            },
        ),
    ],
)
def test_every_end_is_told_apart(ending: Ending, again: bool, more: dict[str, Any]) -> None:
    found = judge(described(**more), asked=False)
    assert (found.ending, found.again) == (ending, again)
    assert found.message.strip()
    assert "gamma-" not in found.message


@pytest.mark.parametrize("secondary", ["Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded"])
def test_what_we_asked_to_stop_was_stopped_and_is_never_a_success(secondary: str) -> None:
    found = judge(described(TrainingJobStatus="Stopped", SecondaryStatus=secondary), asked=True)
    assert (found.ending, found.again) == (Ending.STOPPED, False)


def test_a_denial_is_taken_apart() -> None:
    error = AwsRefused(
        Refusal.DENIED,
        "sagemaker:CreateTrainingJob",
        "User: arn:aws:sts::123456789012:assumed-role/gamma/i-1 is not authorized to perform: iam:PassRole on "
        "resource: arn:aws:iam::123456789012:role/training because no identity-based policy allows the iam:PassRole "
        "action",
    )
    assert (error.denied_action, error.denied_resource) == ("iam:PassRole", "arn:aws:iam::123456789012:role/training")
    assert error.denied_because == "no identity-based policy allows the iam:PassRole action"
    bare = AwsRefused(Refusal.DENIED, "s3:PutObject", "Access Denied")
    assert (bare.denied_action, bare.denied_resource, bare.denied_because) == ("s3:PutObject", "", "")


@given(
    st.one_of(
        st.text(), st.integers(-(10**15), 10**15), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
    )
)
def test_hyperparameters_come_back_as_what_they_were(value: str | int | float | bool) -> None:
    found = value_of(text_of(value))
    assert (found, type(found)) == (value, type(value))


def request(**section: Any) -> dict[str, Any]:
    spec = TrainingSpec(
        Attempt("j1"),
        Path(),
        ("python", "train.py"),
        timeout_seconds=600.4,
        origin=ORIGIN,
        sagemaker=SageMaker.model_validate(section),
    )
    return training_job(spec, PLACE, "image", "sources/7/abc.tar.gz")


def test_types_are_a_list_of_preferences_where_sagemaker_takes_one() -> None:
    several = ["ml.g5.xlarge", "ml.g5.2xlarge"]
    preferred = request(instance=several)["ResourceConfig"]
    assert preferred["InstancePreferences"] == [{"InstanceType": kind} for kind in several]
    assert "InstanceType" not in preferred
    on_spot = request(instance=several, spot=True)
    assert on_spot["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert "InstancePreferences" not in on_spot["ResourceConfig"]
    assert on_spot["StoppingCondition"] == {"MaxRuntimeInSeconds": 601, "MaxWaitTimeInSeconds": 1202}
    assert on_spot["CheckpointConfig"]["S3Uri"].startswith("s3://bucket/checkpoints/7/attempt/")


def test_secrets_travel_as_addresses_only() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:hub-AbCdEf"
    asked = request(secrets={"HUB_TOKEN": arn}, environment={"GAMMA_JOB_ID": "mine", "MODE": "fast"})
    assert asked["Environment"] == {
        "HUB_TOKEN_SECRET_ARN": arn,
        "GAMMA_JOB_ID": "j1",
        "MODE": "fast",
        "GAMMA_ATTEMPT": "1",
    }


def test_keys_encrypt_what_can_be_encrypted_with_them() -> None:
    plain, with_disks = request(kms_key="key", instance="ml.m5.xlarge"), request(kms_key="key", instance="ml.g5.xlarge")
    assert plain["ResourceConfig"]["VolumeKmsKeyId"] == "key"
    assert "VolumeKmsKeyId" not in with_disks["ResourceConfig"]
    assert with_disks["OutputDataConfig"]["KmsKeyId"] == "key"


@given(st.dictionaries(st.sampled_from(["lr", "name", "a b"]), st.text(max_size=20)))
def test_the_words_of_a_request_fit_into_json(hyperparameters: dict[str, str]) -> None:
    spec = TrainingSpec(Attempt("j1"), Path(), ("a",), hyperparameters=hyperparameters, origin=ORIGIN)
    asked = training_job(spec, PLACE, "image", "sources/7/abc.tar.gz")
    assert json.loads(json.dumps(asked)) == asked
    assert all(len(word) <= 256 for word in asked["AlgorithmSpecification"]["ContainerArguments"])


def test_the_same_tree_is_the_same_tarball(tmp_path: Path) -> None:
    digests = set()
    for number, files in enumerate([{"b.py": "2", "a/c.py": "1"}, {"a/c.py": "1", "b.py": "2"}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "github.tar.gz").write_bytes(tarball(files))
        digests.add(repack(folder / "github.tar.gz", folder).digest)
    assert len(digests) == 1


def test_versions_of_frameworks() -> None:
    versions = ["1.13.1", "2.0.0", "2.5.1", "2.10.0", "2.9.0"]
    found = [newest_match(wanted, versions) for wanted in ("2.x", "2.5", "2.5.1", "2", "3.x", "1.13.1")]
    assert found == ["2.10.0", "2.5.1", "2.5.1", "2.10.0", None, "1.13.1"]


def test_the_end_of_a_traceback_is_what_sagemaker_is_told() -> None:
    lines = (
        b'noise\nTraceback (most recent call last):\n  File "/opt/ml/code/train.py", line 9, in <module>\n    main()\n'
        b'  File "/opt/ml/code/train.py", line 4, in main\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n'
    ).split(b"\n")
    assert summary(lines) == snapshot(
        """\
ZeroDivisionError: division by zero
File "/opt/ml/code/train.py", line 4, in main
File "/opt/ml/code/train.py", line 9, in <module>\
"""
    )
    assert summary([]) == ""
