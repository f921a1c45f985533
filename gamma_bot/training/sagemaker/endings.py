"""Why a training job is over: which ending it is, and what a person is told of it. Pure.

SageMaker's words are only read where it has no code of its own: ``FailureReason`` begins with the kind of failure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gamma_bot.training.checked import text
from gamma_bot.training.sagemaker.description import Description
from gamma_bot.training.trainer import Ending, Outcome, Usage

TRIES = {Ending.CAPACITY: 3, Ending.NEVER_STARTED: 3, Ending.PLATFORM: 2}

_EXIT_CODE = re.compile(r",?\s*exit code: (\d{1,3})\s*$", re.IGNORECASE)
_NO_CAPACITY = (
    "CapacityError",
    "InsufficientInstanceCapacity",
    "Insufficient capacity",
    "Unable to provision requested",
)
_NO_MEMORY = ("instance type with more memory", "OutOfMemory", "Out of memory", "out of memory")
_IMAGE = ("CannotPullContainer", "Cannot pull", "pull algorithm container", "image", "manifest")
_DATA = ("S3", "Data download failed", "Artifact upload failed", "NoSuchBucket", "NoSuchKey")
_KILLED = 137
# What our entry in the container writes first when it could not begin.
_ENTRY = {
    "gamma-source: ": Ending.SOURCE,
    "gamma-requirements: ": Ending.REQUIREMENTS,
    "gamma-command: ": Ending.COMMAND,
}


@dataclass(frozen=True)
class Judgement:
    """Why one try is over.

    Attributes:
        again: another try may go better, with nothing changed.
    """

    ending: Ending
    message: str
    hint: str = ""
    exit_code: int | None = None
    again: bool = False


def judge(job: Description, *, asked: bool) -> Judgement:
    """The ending of a training job that SageMaker says is over.

    Args:
        asked: we asked for its end; recorded before it was sent (I7).
    """
    if job.status == "Completed":
        return Judgement(Ending.COMPLETED, "The command ended with exit status 0.", exit_code=0)
    if job.status == "Stopped":
        return _stopped(job, asked)
    if asked and job.was_asked_to_stop:  # it broke while it was ending, or was ended by force
        return Judgement(Ending.STOPPED, "Stopped because somebody asked for it.")
    return _failed(job)


def after_all_tries(judgement: Judgement, tries: int, instance: str) -> Judgement:
    """What is told when no further try follows."""
    if tries < 2 or not judgement.again:
        return judgement
    match judgement.ending:
        case Ending.CAPACITY | Ending.NEVER_STARTED:
            words = f"SageMaker had no free {instance} machine, each of the {tries} times that it was asked."
        case _:
            words = f"SageMaker itself failed, {tries} times: {judgement.message}"
    return replace(judgement, message=words)


def outcome(judgement: Judgement, job: Description, usage: Usage) -> Outcome:
    """The end of an attempt."""
    return Outcome(
        judgement.ending,
        judgement.message,
        exit_code=judgement.exit_code,
        started_at=job.started_at,
        ended_at=job.ended_at or 0.0,
        hint=judgement.hint,
        usage=usage,
    )


def _stopped(job: Description, asked: bool) -> Judgement:
    if asked:
        words = "Stopped because somebody asked for it"
        return Judgement(Ending.STOPPED, f"{words}{' before it had a machine' if job.never_ran else ''}.")
    if job.secondary == "MaxRuntimeExceeded":
        limit = duration(job.max_runtime_seconds)
        return Judgement(
            Ending.TIME_LIMIT,
            f"Ended because it ran longer than its time limit of {limit}.",
            "Raise `train.timeout` in gamma.yml, or train less.",
        )
    if job.secondary == "MaxWaitTimeExceeded":
        return _waited_too_long(job)
    if job.never_ran and not job.was_asked_to_stop:
        return Judgement(
            Ending.NEVER_STARTED,
            f"SageMaker ended it before it had an {job.instance_type} machine.",
            _other_machine(job),
            again=True,
        )
    return Judgement(
        Ending.STOPPED,
        "Stopped by somebody outside of Gamma, with access to the AWS account.",
        "`/gamma retry` trains it again.",
    )


def _waited_too_long(job: Description) -> Judgement:
    limit = duration(job.max_wait_seconds)
    if job.never_ran:
        return Judgement(
            Ending.NEVER_STARTED,
            f"No spot machine ({job.instance_type}) was free in {limit}, as long as it may wait (`max_wait`).",
            "`/gamma retry` tries again. Or raise `max_wait`, name further types under `instance`, or use no spot.",
        )
    often = (
        f", with {job.interruptions} interruption{'s' if job.interruptions > 1 else ''}" if job.interruptions else ""
    )
    return Judgement(
        Ending.TIME_LIMIT,
        f"Ended because waiting and training on spot capacity took longer than {limit} (`max_wait`){often}.",
        "`/gamma retry` goes on from its checkpoints if gamma.yml has `resume: same-sha`. Or raise `max_wait`.",
    )


def _failed(job: Description) -> Judgement:
    kind, _, said = job.failure_reason.partition(":")
    reason = text(job.failure_reason.replace("\n", " ")) or "it gives no reason"
    if any(words in job.failure_reason for words in _NO_CAPACITY) and kind != "AlgorithmError":
        return Judgement(
            Ending.CAPACITY,
            f"SageMaker had no free {job.instance_type} machine.",
            _other_machine(job),
            again=True,
        )
    match kind.strip():
        case "AlgorithmError":
            return _user_code(said)
        case "InternalServerError":
            return Judgement(
                Ending.PLATFORM,
                "An internal error of SageMaker.",
                "This is not the code's fault: `/gamma retry` tries again.",
                again=True,
            )
        case "ClientError":
            return _client_error(job, said)
        case "ResourceLimitExceeded":
            return Judgement(Ending.QUOTA, f"SageMaker refused the machines: {reason}", _ASK_FOR_MORE)
        case _:
            return Judgement(Ending.PLATFORM, f"SageMaker ended the job: {reason}", "`/gamma retry` tries again.")


def _user_code(said: str) -> Judgement:
    found = _EXIT_CODE.search(said)
    status = int(found[1]) if found else None
    written = (said[: found.start()] if found else said).strip()
    for mark, ending in _ENTRY.items():
        if written.startswith(mark):
            words = (text(written.removeprefix(mark).splitlines()[0]) or "").rstrip(".")
            return Judgement(ending, f"{words[:1].upper()}{words[1:]}.", exit_code=status)
    first = text(written.splitlines()[0] if written else "") or ""
    if status == _KILLED:
        return Judgement(
            Ending.USER_CODE,
            "The command was killed (exit status 137), which is nearly always the machine running out of memory.",
            "Use a machine with more memory (`/gamma retry instance=…`), or let the script hold less at once.",
            exit_code=status,
        )
    shown = f": {first}" if first and not first.startswith("exit status") else "."
    ended = f"The command ended with exit status {status}" if status is not None else "The command failed"
    return Judgement(Ending.USER_CODE, f"{ended}{shown}", exit_code=status)


def _client_error(job: Description, said: str) -> Judgement:
    reason = text(said.strip().replace("\n", " ")) or "it gives no reason"
    if any(words in said for words in _NO_MEMORY):
        return Judgement(
            Ending.MEMORY_LIMIT,
            f"The machine ({job.instance_type}) ran out of memory.",
            "Use one with more memory: `/gamma retry instance=…`, or `train.sagemaker.instance` in gamma.yml.",
        )
    if any(words in said for words in _DATA):
        hint = "Check the addresses under `train.sagemaker.inputs`, and that the job's role may read and write there."
    elif any(words in said for words in _IMAGE):
        hint = "Check `train.sagemaker.image`: does this image exist, and may the job's role pull it?"
    else:
        hint = "Correct `train.sagemaker` in gamma.yml and push again."
    return Judgement(Ending.CONFIG, f"SageMaker could not run the job: {reason}", hint)


def _other_machine(job: Description) -> str:
    spot = ", or set `spot: false`" if job.spot else ""
    return f"`/gamma retry` tries again. Or name several types under `train.sagemaker.instance`{spot}."


_ASK_FOR_MORE = "Ask AWS for more in the Service Quotas console, or use another `instance`."


def duration(seconds: float) -> str:
    """A duration for a sentence."""
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.4g} min" if seconds < 7200 else f"{seconds / 3600:.4g} h"
