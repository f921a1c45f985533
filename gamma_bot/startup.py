"""What ``gamma serve`` says at its start: what is configured, what is off, and what that means. No secret in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gamma_bot.agent.models import DEFAULT_MODEL
from gamma_bot.settings import Settings


@dataclass(frozen=True)
class Part:
    """A part of Gamma: ``on`` says whether it works, ``detail`` how, or what to set."""

    name: str
    on: bool
    detail: str


def parts_of(settings: Settings, url: str, others: Sequence[str] = ()) -> tuple[Part, ...]:
    """Every part that an operator can configure, in the order of a push's way.

    Args:
        others: the hosts of the other replicas that are alive.
    """
    app = settings.github_app_id and settings.github_private_key
    secrets = len(settings.webhook_secrets)
    return (
        Part(
            "webhooks",
            secrets > 0,
            f"POST {url}/webhook, {secrets} secret{'s' if secrets > 1 else ''}"
            if secrets
            else "set GAMMA_GITHUB_WEBHOOK_SECRET; until then /webhook answers 503",
        ),
        Part(
            "GitHub App",
            bool(app),
            f"App {settings.github_app_id} at {_host(settings.github_api_url)}"
            if app
            else "run `gamma setup`, or set GAMMA_GITHUB_APP_ID and …_PRIVATE_KEY; until then deliveries wait",
        ),
        *([Part("tunnel", True, f"webhooks come through {_host(settings.tunnel_url)}")] if settings.tunnel_url else []),
        Part("branches", True, f"a push to {', '.join(settings.branches)} trains"),
        Part("executor", True, f"{settings.executor}, {settings.local_jobs} at a time"),
        Part("SageMaker", settings.aws_bucket is not None, _sagemaker(settings)),
        Part(
            "GitHub Actions",
            bool(app),
            "`executor: actions` trains there, where the App has actions: write and the repository the workflow"
            if app
            else "needs the GitHub App",
        ),
        Part("store", True, _database(settings)),
        *([Part("replicas", True, _replicas(others))] if settings.database_url else []),
        Part("MLflow", True, _tracking(settings)),
        Part(
            "public address",
            settings.public_url is not None,
            settings.public_url or f"set GAMMA_PUBLIC_URL; until then links in reports lead to {url}",
        ),
        Part(
            "agent",
            settings.anthropic_api_key is not None,
            f"write-ups and answers by {settings.anthropic_model or DEFAULT_MODEL}"
            if settings.anthropic_api_key
            else "set GAMMA_ANTHROPIC_API_KEY; until then reports carry the deterministic write-up",
        ),
    )


def render(parts: tuple[Part, ...]) -> str:
    """The report as lines for a terminal."""
    width = max(len(part.name) for part in parts)
    return "\n".join(f"  {'on ' if part.on else 'off'}  {part.name.ljust(width)}  {part.detail}" for part in parts)


def _sagemaker(settings: Settings) -> str:
    if settings.aws_bucket is None:
        return "set GAMMA_AWS_BUCKET and GAMMA_AWS_ROLE_ARN, and `executor: sagemaker` trains there"
    queue = (settings.aws_events_queue_url or "").rpartition("/")[2]
    events = f"events from {queue}" if queue else "asked every 20 s; GAMMA_AWS_EVENTS_QUEUE_URL spares that"
    return f"code and results in s3://{settings.aws_bucket}, {events}"


def _database(settings: Settings) -> str:
    if settings.database_url is None:
        return f"SQLite in {settings.data_dir} (one process)"
    return f"{urlsplit(settings.database_url).scheme} at {_host(settings.database_url)}"


def _replicas(others: Sequence[str]) -> str:
    if not others:
        return "this is the only one"
    return f"{len(others) + 1} with this one; the other{'s run' if len(others) > 1 else ' runs'} on {', '.join(others)}"


def _tracking(settings: Settings) -> str:
    if settings.mlflow_tracking_uri is None:
        return f"embedded, in {settings.data_dir / 'mlflow'}"
    return _host(settings.mlflow_tracking_uri) or settings.mlflow_tracking_uri.split(":")[0]


def _host(url: str) -> str:
    """Host and port only: an address may carry a password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
