"""What AWS says no with, as a value: which kind of no, who may not do what, whether it passes by itself."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

_DENIED = re.compile(
    r"not authorized to perform:?\s+([\w-]+:\w+)(?:\s+on resource:?\s+\"?([^\s\"]+))?(?:.*?\bbecause\b (.*))?", re.S
)
_LIMIT = re.compile(
    r"service limit '([^']{1,200})' is (\d+) \w+, with current utilization of (\d+) \w+ and a request delta of (\d+)"
)
_CLASH = re.compile(r"arn:aws[a-z-]*:sagemaker:\S+?:training-job/[A-Za-z0-9-]+")
_SHOWN_CHARACTERS = 600
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Refusal(StrEnum):
    """Why a call to AWS did not work."""

    DENIED = "denied"
    EXPIRED = "expired"
    NO_CREDENTIALS = "no_credentials"
    NO_REGION = "no_region"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    NOT_FOUND = "not_found"
    IN_USE = "in_use"
    LIMIT = "limit"
    INVALID = "invalid"
    INTERNAL = "internal"


_BY_CODE = {
    "AccessDenied": Refusal.DENIED,
    "AccessDeniedException": Refusal.DENIED,
    "UnauthorizedOperation": Refusal.DENIED,
    "AllAccessDisabled": Refusal.DENIED,
    "403": Refusal.DENIED,
    "ExpiredToken": Refusal.EXPIRED,
    "ExpiredTokenException": Refusal.EXPIRED,
    "RequestExpired": Refusal.EXPIRED,
    "InvalidClientTokenId": Refusal.EXPIRED,
    "UnrecognizedClientException": Refusal.EXPIRED,
    "InvalidAccessKeyId": Refusal.EXPIRED,
    "SignatureDoesNotMatch": Refusal.EXPIRED,
    "InvalidToken": Refusal.EXPIRED,
    "ThrottlingException": Refusal.THROTTLED,
    "Throttling": Refusal.THROTTLED,
    "TooManyRequestsException": Refusal.THROTTLED,
    "RequestLimitExceeded": Refusal.THROTTLED,
    "SlowDown": Refusal.THROTTLED,
    "RequestThrottled": Refusal.THROTTLED,
    "ResourceInUse": Refusal.IN_USE,
    "ResourceLimitExceeded": Refusal.LIMIT,
    "ResourceNotFound": Refusal.NOT_FOUND,
    "ResourceNotFoundException": Refusal.NOT_FOUND,
    "NoSuchBucket": Refusal.NOT_FOUND,
    "NoSuchKey": Refusal.NOT_FOUND,
    "RepositoryNotFoundException": Refusal.NOT_FOUND,
    "ImageNotFoundException": Refusal.NOT_FOUND,
    "QueueDoesNotExist": Refusal.NOT_FOUND,
    "AWS.SimpleQueueService.NonExistentQueue": Refusal.NOT_FOUND,
    "404": Refusal.NOT_FOUND,
    "InternalFailure": Refusal.INTERNAL,
    "InternalServerError": Refusal.INTERNAL,
    "InternalError": Refusal.INTERNAL,
    "ServiceUnavailable": Refusal.INTERNAL,
    "ServiceUnavailableException": Refusal.INTERNAL,
}
_PASSING = frozenset(
    {Refusal.EXPIRED, Refusal.NO_CREDENTIALS, Refusal.THROTTLED, Refusal.UNREACHABLE, Refusal.INTERNAL}
)


class AwsRefused(Exception):
    """A call to AWS that did not work.

    Attributes:
        operation: the IAM action of the call (``sagemaker:CreateTrainingJob``).
        code: AWS's own word for it; empty if AWS was not reached.
        reason: AWS's sentence, on one line.
    """

    def __init__(self, kind: Refusal, operation: str, reason: str, code: str = "") -> None:
        self.kind, self.operation, self.code = kind, operation, code
        self.reason = _one_line(reason)
        super().__init__(f"{operation}: {code or kind.value}: {self.reason}")

    @property
    def passes_by_itself(self) -> bool:
        """The same call can work later, with nothing changed in ``gamma.yml``."""
        return self.kind in _PASSING

    @property
    def denied_action(self) -> str:
        """The IAM action that is missing, as AWS names it."""
        found = _DENIED.search(self.reason)
        return found[1] if found else self.operation

    @property
    def denied_resource(self) -> str:
        """What that action is missing on; empty if AWS does not say."""
        found = _DENIED.search(self.reason)
        return (found[2] or "").rstrip(".,") if found else ""

    @property
    def denied_because(self) -> str:
        """Which policy says no, in AWS's words; empty if AWS does not say."""
        found = _DENIED.search(self.reason)
        return (found[3] or "").rstrip(".") if found else ""

    @property
    def limit(self) -> tuple[str, int, int, int] | None:
        """Of an exceeded quota: its name, its value, what of it is in use, what was asked for."""
        found = _LIMIT.search(self.reason)
        return (found[1], int(found[2]), int(found[3]), int(found[4])) if found else None

    @property
    def clashing_arn(self) -> str:
        """Of a name that is taken: whose it is; empty if AWS does not say."""
        found = _CLASH.search(self.reason)
        return found[0] if found else ""


def refused(error: Exception, operation: str) -> AwsRefused:
    """What botocore raised, as a value of ours.

    Args:
        operation: the IAM action of the call.
    """
    from boto3.exceptions import Boto3Error
    from botocore import exceptions as known

    if isinstance(error, Boto3Error) and isinstance(error.__context__, known.ClientError | known.BotoCoreError):
        error = error.__context__  # what an upload of several parts says adds nothing to it
    if isinstance(error, known.ClientError):
        response: dict[str, Any] = error.response
        code = str(response.get("Error", {}).get("Code", ""))
        reason = str(response.get("Error", {}).get("Message", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
        return AwsRefused(_kind(code, reason, status), operation, reason or code, code)
    if isinstance(error, known.NoRegionError):
        return AwsRefused(Refusal.NO_REGION, operation, "no region is set: set AWS_REGION")
    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError | known.CredentialRetrievalError):
        return AwsRefused(Refusal.NO_CREDENTIALS, operation, f"there are no credentials for AWS ({error})")
    if isinstance(error, known.TokenRetrievalError | known.UnauthorizedSSOTokenError | known.SSOTokenLoadError):
        return AwsRefused(Refusal.EXPIRED, operation, str(error))
    if isinstance(error, known.ParamValidationError):
        return AwsRefused(Refusal.INVALID, operation, str(error))
    return AwsRefused(Refusal.UNREACHABLE, operation, f"AWS can't be reached ({error})")


def _kind(code: str, reason: str, status: int) -> Refusal:
    if code in _BY_CODE:
        return _BY_CODE[code]
    # SageMaker has no code of its own for a job that it does not know.
    if code == "ValidationException" and ("not found" in reason.lower() or "could not find" in reason.lower()):
        return Refusal.NOT_FOUND
    if "AccessDenied" in code or "not authorized to perform" in reason:
        return Refusal.DENIED
    if "Throttl" in code:
        return Refusal.THROTTLED
    return Refusal.INTERNAL if status >= 500 else Refusal.INVALID


def _one_line(reason: str) -> str:
    text = " ".join(_CONTROL.sub(" ", reason).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
