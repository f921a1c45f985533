"""SageMaker's operations on training jobs: each takes a checked request and gives the answer's body."""

from __future__ import annotations

import base64
import json
import math
import operator
from collections.abc import Callable
from typing import Any

from gamma_bot.sandbox.aws import rules, warm_pools
from gamma_bot.sandbox.aws.errors import Refused, invalid
from gamma_bot.sandbox.aws.job import TrainingJob
from gamma_bot.sandbox.aws.world import World

_DEFAULT_PAGE = 10
_ARN_PART = ":training-job/"


class TrainingApi:
    """What the stand-in answers itself; the rest of SageMaker is moto's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any] | None]] = {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": self._describe,
            "StopTrainingJob": self._stop,
            "UpdateTrainingJob": self._update,
            "DeleteTrainingJob": self._delete,
            "ListTrainingJobs": self._list,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags,
            "DeleteTags": self._delete_tags,
        }

    def knows(self, operation: str, request: dict[str, Any]) -> bool:
        """Whether it is ours: tags only when they are those of a training job."""
        if operation.endswith("Tags"):
            return _ARN_PART in str(request.get("ResourceArn"))
        return operation in self._operations

    def answer(self, operation: str, region: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer's body; ``None`` for an empty one.

        Raises:
            Refused: as SageMaker refuses.
        """
        self._world.contract.check(operation, request)
        return self._operations[operation](region, request)

    def _create(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        world = self._world
        rules.check(request, region)
        job = TrainingJob(request, region)
        with world.lock:
            # The name comes first: whoever asks twice must learn that, also when the quota is used up meanwhile.
            if (region, job.name) not in world.jobs:
                rules.check_quota(job, world)
                if job.keep_alive_seconds:
                    others = world.of_region(region)
                    warm_pools.refresh(others)
                    warm_pools.take(job, others)
            world.add(job)
        return {"TrainingJobArn": job.arn}

    def _describe(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._world.find(region, request["TrainingJobName"])
            warm_pools.refresh([job])
            return job.describe()

    def _stop(self, region: str, request: dict[str, Any]) -> None:
        self._world.stop(self._world.find(region, request["TrainingJobName"]))

    def _update(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            job = self._world.find(region, request["TrainingJobName"])
            warm_pools.refresh([job])
            if "ResourceConfig" in request:
                warm_pools.keep(job, int(request["ResourceConfig"]["KeepAlivePeriodInSeconds"]))
            return {"TrainingJobArn": job.arn}

    def _delete(self, region: str, request: dict[str, Any]) -> None:
        with self._world.lock:
            job = self._world.find(region, request["TrainingJobName"])
            warm_pools.refresh([job])
            if not job.over:
                raise invalid(f"The request was rejected because the training job is in status {job.status}.")
            if job.warm_pool is not None and job.warm_pool["Status"] == "Available":
                raise Refused("ResourceInUse", "The training job retains an Available warm pool.")
            del self._world.jobs[region, job.name]

    def _list(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        with self._world.lock:
            everyone = self._world.of_region(region)
            warm_pools.refresh(everyone)
            jobs = [job for job in everyone if _is_wanted(job, request)]
            sort, backwards = request.get("SortBy", "CreationTime"), request.get("SortOrder") == "Descending"
            if "StatusEquals" in request and "MaxResults" in request:
                # Documented: a page is cut first, newest first, and then filtered: it can be empty and not the last.
                sort, backwards = "CreationTime", True
            if sort == "CreationTime":
                jobs = jobs[::-1] if backwards else jobs
            else:
                jobs.sort(key=lambda job: _sort_key(job, sort), reverse=backwards)
            if token := request.get("NextToken"):
                last = _opened(token, request)
                after: Callable[[list[Any], list[Any]], bool] = operator.lt if backwards else operator.gt
                jobs = [job for job in jobs if after(_sort_key(job, sort), last)]
            size = int(request.get("MaxResults", _DEFAULT_PAGE))
            wanted = request.get("StatusEquals")
            if wanted and "MaxResults" not in request:
                jobs = [job for job in jobs if job.status == wanted]
            page = jobs[:size]
            answer: dict[str, Any] = {
                "TrainingJobSummaries": [job.summary() for job in page if wanted in (None, job.status)]
            }
            if len(jobs) > size:
                answer["NextToken"] = _sealed(_sort_key(page[-1], sort), request)
            return answer

    def _add_tags(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        job = self._tagged(region, request)
        job.tags |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {"Tags": _listed(job)}

    def _list_tags(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        return {"Tags": _listed(self._tagged(region, request))}

    def _delete_tags(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        job = self._tagged(region, request)
        for key in request["TagKeys"]:
            job.tags.pop(key, None)
        return {}

    def _tagged(self, region: str, request: dict[str, Any]) -> TrainingJob:
        return self._world.find(region, str(request["ResourceArn"]).rpartition("/")[2])


def _is_wanted(job: TrainingJob, request: dict[str, Any]) -> bool:
    pool = (job.warm_pool or {}).get("Status")
    return (
        request.get("NameContains", "") in job.name
        and request.get("CreationTimeAfter", 0) < job.created < request.get("CreationTimeBefore", math.inf)
        and request.get("LastModifiedTimeAfter", 0) < job.modified < request.get("LastModifiedTimeBefore", math.inf)
        and request.get("WarmPoolStatusEquals", pool) == pool
    )


def _sort_key(job: TrainingJob, sort: str) -> list[Any]:
    match sort:
        case "Name":
            return [job.name]
        case "Status":
            return [job.status, job.name]
        case _:
            return [job.number]


def _sealed(last: list[Any], request: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps([last, _question(request)]).encode()).decode()


def _opened(token: str, request: dict[str, Any]) -> list[Any]:
    """Where the page before ended.

    Raises:
        Refused: the token is none of ours, or belongs to another question.
    """
    try:
        last, question = json.loads(base64.b64decode(token, validate=True))
    except ValueError:
        raise invalid("Invalid NextToken.") from None
    if question != _question(request):
        raise invalid("The NextToken was created with other parameters.")
    return list(last)


def _question(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sorted(request.items()) if name not in ("NextToken", "MaxResults")}


def _listed(job: TrainingJob) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in job.tags.items()]
