"""What a request to AWS asks for: service, IAM action, resource and parameters; and the list of all that were asked."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

ACCOUNT = "123456789012"
_KEPT_CALLS = 200_000
_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request")

# The part of an `X-Amz-Target` before the dot says the API; the signature's scope says the same, but not always.
_LISTED_OBJECTS = {"location": "GetBucketLocation", "uploads": "ListBucketMultipartUploads"}
_S3_SUBRESOURCES = {
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
# Where an API call is governed by an IAM action of another name.
_IAM_ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}


@dataclass(frozen=True)
class Call:
    """One request, as IAM sees it.

    Attributes:
        operation: the name in the service's API; ``action`` is the IAM action that governs it.
        parameters: the request's body, for services that speak JSON or forms; empty for S3.
        implied: what AWS checks besides, such as ``iam:PassRole`` for a training job's role.
    """

    service: str
    operation: str
    action: str
    resource: str
    region: str
    protocol: str
    parameters: dict[str, Any] = field(default_factory=dict)
    implied: tuple[tuple[str, str], ...] = ()

    def arn(self, rest: str) -> str:
        return f"arn:aws:{self.service}:{self.region}:{ACCOUNT}:{rest}"


class CallLog:
    """Every call that came, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, Any]] = deque(maxlen=_KEPT_CALLS)
        self._lock = threading.Lock()

    def add(self, call: Call, *, refused: str | None = None) -> dict[str, Any]:
        """Note a call; its outcome can be added to the returned entry later."""
        entry: dict[str, Any] = {
            "time": time.time(),
            "action": call.action,
            "operation": call.operation,
            "resource": call.resource,
            "region": call.region,
            "implied": [{"action": action, "resource": resource} for action, resource in call.implied],
            "refused": refused,
        }
        with self._lock:
            self._calls.append(entry)
        return entry

    def listed(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()


def read_call(environ: dict[str, Any]) -> Call | None:
    """What this request asks of AWS; ``None`` when it is no call to AWS (moto's own pages, for example)."""
    path, query = environ.get("PATH_INFO", "/"), parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    scope = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "") or unquote(environ.get("QUERY_STRING", "")))
    region, service = scope.groups() if scope else ("us-east-1", "")
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if path.startswith("/moto-api"):
        return None
    if target:
        parameters = _parsed_json(_body(environ))
        operation = target.rpartition(".")[2]
        call = Call(service or target.partition(".")[0].lower(), operation, "", "*", region, "json", parameters)
    elif service in ("", "s3"):
        return _s3_call(environ["REQUEST_METHOD"], path, query, region)
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = {name: values[0] for name, values in parse_qs(_body(environ).decode(), keep_blank_values=True).items()}
        call = Call(service, form.get("Action", ""), "", "*", region, "query", form)
    else:
        name = f"{environ['REQUEST_METHOD']} {path}"
        return Call(service, name, f"{service}:{name}", "*", region, "json")
    return _governed(call)


def _governed(call: Call) -> Call:
    """The call with its IAM action and the resource that IAM would be asked about."""
    action = f"{call.service}:{call.operation}"
    resource, implied = _resource(call), tuple(_implied(call))
    fields = (call.service, call.operation, _IAM_ACTIONS.get(action, action), resource, call.region, call.protocol)
    return Call(*fields, call.parameters, implied)


def _resource(call: Call) -> str:
    given = call.parameters
    match call.service:
        case "sagemaker" if "TrainingJobName" in given:
            return call.arn(f"training-job/{given['TrainingJobName']}")
        case "sagemaker":
            return str(given.get("ResourceArn", "*"))
        case "sqs" if "QueueUrl" in given:
            return call.arn(str(given["QueueUrl"]).rpartition("/")[2])
        case "sqs" if "QueueName" in given:
            return call.arn(str(given["QueueName"]))
        case "logs" if "logGroupName" in given:
            stream = f":log-stream:{given['logStreamName']}" if "logStreamName" in given else ""
            return call.arn(f"log-group:{given['logGroupName']}{stream}")
        case "ecr" if "repositoryName" in given:
            return call.arn(f"repository/{given['repositoryName']}")
        case _:
            return str(given.get("RoleArn") or given.get("SecretId") or "*")


def _implied(call: Call) -> Iterable[tuple[str, str]]:
    if call.operation == "CreateTrainingJob" and call.service == "sagemaker":
        if "RoleArn" in call.parameters:
            yield "iam:PassRole", str(call.parameters["RoleArn"])
        if call.parameters.get("Tags"):
            yield "sagemaker:AddTags", call.arn(f"training-job/{call.parameters.get('TrainingJobName')}")


def _s3_call(method: str, path: str, query: dict[str, list[str]], region: str) -> Call:
    bucket, _, key = path.lstrip("/").partition("/")
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}" if bucket else "*"
    operation = _s3_operation(method, bucket, key, query)
    return Call("s3", operation, f"s3:{operation}", resource, region, "rest-xml")


def _s3_operation(method: str, bucket: str, key: str, query: dict[str, list[str]]) -> str:
    verb = {"GET": "Get", "HEAD": "Get", "DELETE": "Delete"}.get(method, "Put")
    if not bucket:
        return "ListAllMyBuckets"
    if key:
        if "tagging" in query:
            return f"{verb}ObjectTagging"
        if "uploadId" in query and verb in ("Get", "Delete"):
            return "ListMultipartUploadParts" if verb == "Get" else "AbortMultipartUpload"
        return f"{verb}Object"
    for name, subject in _S3_SUBRESOURCES.items():
        if name in query:
            return f"{'Put' if verb == 'Delete' else verb}{subject}"
    if method == "POST" and "delete" in query:
        return "DeleteObject"
    if verb == "Get":
        return next((name for word, name in _LISTED_OBJECTS.items() if word in query), "ListBucket")
    return "CreateBucket" if verb == "Put" else "DeleteBucket"


def _body(environ: dict[str, Any]) -> bytes:
    """The request's body, left in place for whoever reads it next."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _parsed_json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
