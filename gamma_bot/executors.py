"""Which executors this Gamma offers, and how each of them is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gamma_bot.github.gateway import GitHubApp
from gamma_bot.jobs.reach import Reach
from gamma_bot.jobs.workflows import GitHubWorkflows
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.actions_runs import ActionsRuns
from gamma_bot.store.database import Database
from gamma_bot.store.launches import Launches
from gamma_bot.store.projects import Projects
from gamma_bot.tracking.addresses import is_folder, is_http
from gamma_bot.training.actions import ActionsTrainer
from gamma_bot.training.local import LocalTrainer
from gamma_bot.training.trainer import Trainer

if TYPE_CHECKING:
    from gamma_bot.training.sagemaker.trainer import SageMakerTrainer


def trainers_of(
    settings: Settings, database: Database, term: Callable[[str], int], actions: ActionsTrainer | None = None
) -> Mapping[str, Trainer]:
    """Every trainer that the settings allow, by its name.

    Args:
        term: by executor, which term of office this process is in as the one that looks after its jobs; 0 for none.
        actions: the one that trains in GitHub Actions, where a GitHub App is configured.

    Raises:
        WrongSettings: jobs on SageMaker could not reach MLflow.
    """
    trainers: dict[str, Trainer] = {}
    # Replicas on several machines can't share the jobs of one: there it is offered only if it is asked for.
    if settings.database_url is None or settings.executor == "local":
        jobs = settings.data_dir / "jobs"
        trainers["local"] = LocalTrainer(jobs, slots=settings.local_jobs, term=lambda: term("local"))
    if settings.aws_bucket:
        trainers["sagemaker"] = sagemaker_trainer(settings, settings.aws_bucket, database, lambda: term("sagemaker"))
    if actions is not None:
        trainers["actions"] = actions
    return trainers


def sagemaker_trainer(settings: Settings, bucket: str, database: Database, term: Callable[[], int]) -> SageMakerTrainer:
    """What trains on Amazon SageMaker.

    Raises:
        WrongSettings: its machines could not reach MLflow.
    """
    # Another AWS on this machine (the sandbox) has its machines here, too: they reach what we reach.
    if not _is_here(settings.aws_endpoint_url or "") and tracking_is_here(settings):
        raise WrongSettings(
            "SageMaker's machines can't reach the MLflow of this machine: set GAMMA_MLFLOW_TRACKING_URI to an MLflow "
            "server that they reach, or unset GAMMA_AWS_BUCKET to train elsewhere"
        )
    from gamma_bot.training.sagemaker.aws import Aws
    from gamma_bot.training.sagemaker.trainer import SageMakerTrainer

    return SageMakerTrainer(
        Aws(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url),
        Launches(database),
        bucket=bucket,
        role=settings.aws_role_arn or "",
        queue_url=settings.aws_events_queue_url,
        term=term,
    )


def tracking_is_here(settings: Settings) -> bool:
    """Whether MLflow is a file of this machine, or a server that answers to this machine only."""
    uri = settings.tracking_uri
    return uri.startswith("sqlite:") or is_folder(uri) or (is_http(uri) and _is_here(uri))


def actions_trainer(settings: Settings, github: GitHubApp, database: Database) -> ActionsTrainer:
    """What trains in the repositories' own GitHub Actions."""
    problem = ""
    # A GitHub on this machine (the sandbox) has its machines here, too: they reach what we reach.
    if not _is_here(settings.github_api_url):
        if not is_http(settings.tracking_uri):
            problem = "GitHub's machines can't reach the MLflow that is embedded in this Gamma"
        elif _is_here(settings.tracking_uri):
            problem = "GitHub's machines can't reach this Gamma's MLflow: its address is for its own machine only"
    workflows = GitHubWorkflows(Reach(github, Projects(database)))
    return ActionsTrainer(workflows, ActionsRuns(database), tracking_problem=problem)


def default_first(trainers: Mapping[str, Trainer], default: str) -> dict[str, Trainer]:
    """The trainers in the order in which they are offered: the default one first.

    Raises:
        WrongSettings: there is no such executor here.
    """
    if default not in trainers:
        offered = f"can train on {', '.join(trainers)} only" if trainers else "has nothing to train on"
        raise WrongSettings(f"GAMMA_EXECUTOR={default}: this Gamma {offered}")
    return {default: trainers[default], **trainers}


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")  # noqa: S104 - compared, not bound
