"""How a run of GitHub Actions is and how it ended, told as a trainer tells it."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence

from gamma_bot.store.actions_runs import ActionsRun
from gamma_bot.training.actions_log import JobLog
from gamma_bot.training.endings import duration
from gamma_bot.training.trainer import Attempt, Ending, Observation, Outcome, Phase
from gamma_bot.training.workflows import WorkflowJob, WorkflowRun, WorkflowStep

TRAIN = "Train"
# The steps of the starter's workflow before the training, and what it means if one of them fails.
_BEFORE = {
    "Check out the commit": (Ending.SOURCE, "The commit could not be checked out."),
    "Install the requirements": (Ending.REQUIREMENTS, "requirements.txt could not be installed."),
}
_ROUNDED_SECONDS = 1.0  # GitHub tells times in whole seconds
_LONGEST_SECONDS = 6 * 3600 - 600  # nearly as long as a machine of GitHub's works on a job, set-up included
_TIMED_OUT = 124  # what `timeout` exits with
_KILLED = 137  # the same, where the command did not heed SIGTERM
_SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


def job_that_counts(jobs: Sequence[WorkflowJob]) -> WorkflowJob | None:
    """The job with the training step, else the first that failed, else the first."""
    with_training = [job for job in jobs if any(step.name == TRAIN for step in job.steps)]
    failed = [job for job in jobs if job.conclusion not in ("success", "skipped")]
    return next(iter((*with_training, *failed, *jobs)), None)


def outcome_of_run(
    run: WorkflowRun, jobs: Sequence[WorkflowJob], log: JobLog, *, timeout_seconds: float, stopped: bool
) -> Outcome:
    """What became of an attempt whose run is over.

    Args:
        stopped: somebody asked Gamma for its end.
    """
    job = job_that_counts(jobs)
    training = next((step for step in job.steps if step.name == TRAIN), None) if job else None
    began, ended = _times(job, training)
    ran_seconds = ended - began + _ROUNDED_SECONDS if began is not None else 0.0

    def outcome(ending: Ending, message: str = "", hint: str = "", exit_code: int | None = None) -> Outcome:
        return Outcome(ending, message, exit_code=exit_code, started_at=began, ended_at=ended, hint=hint)

    late = outcome(
        Ending.TIME_LIMIT, f"Ended because it ran longer than its time limit of {duration(timeout_seconds)}."
    )
    where = "The log of the run at GitHub tells more"
    match run.conclusion:
        case "success":
            return outcome(Ending.COMPLETED, exit_code=0)
        case "timed_out":
            return late
        case "cancelled" | "failure" if stopped:
            return outcome(Ending.STOPPED, "Stopped because somebody asked for it.")
        case "cancelled" if job is None or not job.steps:
            return outcome(
                Ending.NEVER_STARTED,
                "The run was cancelled at GitHub before a machine took it: by somebody, or because it waited too long.",
                "Are there runners with the labels that the workflow's `runs-on` names? `/gamma retry` tries again.",
            )
        case "cancelled":
            if ran_seconds >= timeout_seconds:
                return late
            if ran_seconds >= _LONGEST_SECONDS:
                said = "GitHub ended the job: a machine of its own works on one for 6 hours at most."
                return outcome(Ending.TIME_LIMIT, said, "Let it do less, or name a runner of yours in the workflow.")
            return outcome(Ending.STOPPED, "The run was cancelled at GitHub.")
        case "startup_failure":
            return outcome(
                Ending.CONFIG,
                "GitHub could not start the workflow: the file has a mistake.",
                f"{where}. Mend the file on the default branch, or write a new one: `gamma init --executor actions`.",
            )
        case "failure":
            failed = next((step for step in job.steps if step.conclusion == "failure"), None) if job else None
            if failed is None:
                return outcome(Ending.PLATFORM, "The run failed at GitHub before any of its steps did.", f"{where}.")
            if failed.name in _BEFORE:
                return outcome(*_BEFORE[failed.name])
            if failed.name != TRAIN and training is not None:
                said = f"The step “{failed.name}” of the workflow failed."
                return outcome(Ending.PLATFORM, said, f"{where}. Mend the workflow on the default branch.")
            return _died(outcome(Ending.USER_CODE), late, log.exit_status, ran_seconds >= timeout_seconds)
        case other:
            return outcome(Ending.PLATFORM, f"GitHub ended the run as “{other}”.", f"{where}.")


def shown(attempt: Attempt, run: ActionsRun) -> Observation:
    """An attempt as it is known. Which step it is at, GitHub would have to be asked for each run."""
    if run.outcome is not None:
        outcome = _outcome(run.outcome)
        return Observation(attempt, Phase.ENDED, outcome.message, outcome, url=run.url)
    if run.run_id is None:
        words = "asking GitHub for a run" if run.tries < 2 else "asking GitHub for a run once more"
        return Observation(attempt, Phase.QUEUED, words)
    match run.status:
        case "in_progress":
            return Observation(attempt, Phase.RUNNING, "running in GitHub Actions", url=run.url)
        case "waiting":
            return Observation(attempt, Phase.QUEUED, "waiting for an approval in GitHub Actions", url=run.url)
        case _:
            return Observation(attempt, Phase.QUEUED, "waiting for a machine of GitHub Actions", url=run.url)


def _outcome(values: Mapping[str, object]) -> Outcome:
    known = {name: values[name] for name in Outcome.__dataclass_fields__ if name in values}
    return Outcome(**{**known, "ending": Ending(str(values["ending"])), "usage": None})  # type: ignore[arg-type]


def _died(outcome: Outcome, late: Outcome, status: int | None, took_too_long: bool) -> Outcome:
    if took_too_long and status in (_TIMED_OUT, _KILLED, None):
        return late
    number = (status or 0) - 128  # a shell tells a signal as 128 and its number
    if number in _SIGNALS:
        return Outcome(
            outcome.ending, "", signal=signal.Signals(number).name,
            started_at=outcome.started_at, ended_at=outcome.ended_at,
        )  # fmt: skip
    return Outcome(outcome.ending, "", exit_code=status, started_at=outcome.started_at, ended_at=outcome.ended_at)


def _times(job: WorkflowJob | None, training: WorkflowStep | None) -> tuple[float | None, float]:
    """When the command began and ended: as the step with the training did, else as the job."""
    began = (training.started_at if training else None) or (job.started_at if job else None)
    ended = (training.ended_at if training else None) or (job.ended_at if job else None) or time.time()
    return began, ended
