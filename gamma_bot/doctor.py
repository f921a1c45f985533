"""``gamma doctor``: looks at everything that Gamma needs and says what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from gamma_bot.agent.client import NoAnswer, Patience, Rejected
from gamma_bot.agents import agent_of
from gamma_bot.github.errors import GitHubError
from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.keys import UnusableKey, signing_keys
from gamma_bot.settings import Settings, WrongSettings
from gamma_bot.store.database import Database, StoreUnavailable
from gamma_bot.tracking.open import open_tracking
from gamma_bot.tracking.runs import TrackingError

# What app.yml asks for; a test keeps them in agreement.
NEEDED_PERMISSIONS = {
    "actions": "write",
    "checks": "write",
    "contents": "read",
    "issues": "write",
    "metadata": "read",
    "pull_requests": "write",
}
NEEDED_EVENTS = (
    "push",
    "pull_request",
    "issue_comment",
    "pull_request_review",
    "pull_request_review_comment",
    "workflow_run",
    "repository",
)
_LEVELS = ("", "read", "write", "admin")
_LITTLE_DISK_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``fix`` is what to do, empty where all is well."""

    name: str
    well: bool
    detail: str
    fix: str = ""


async def examine(settings: Settings, on_finding: Callable[[Finding], None]) -> bool:
    """Look at everything; True if Gamma can work. Findings come as they are made."""
    well = True
    checks: tuple[Callable[[Settings], Awaitable[list[Finding]]], ...]
    checks = (_machine, _store, _tracking, _github, _sagemaker, _agent)
    for check in checks:
        for finding in await check(settings):
            on_finding(finding)
            well &= finding.well
    return well


async def _machine(settings: Settings) -> list[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding("Python", sys.version_info >= (3, 11), python, "Gamma needs 3.11 or newer")]
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.data_dir / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        fix = f"make {settings.data_dir} writable, or set GAMMA_DATA_DIR"
        return [*findings, Finding("data directory", False, str(error), fix)]
    free = shutil.disk_usage(settings.data_dir).free
    detail = f"{settings.data_dir}, {free / 1024**3:.0f} GiB free"
    findings.append(
        Finding(
            "data directory", free > _LITTLE_DISK_BYTES, detail, "" if free > _LITTLE_DISK_BYTES else "free some disk"
        )
    )
    return findings


async def _store(settings: Settings) -> list[Finding]:
    try:
        database = Database(settings.store_url)
        await asyncio.to_thread(database.create_tables)
        database.close()
    except OSError as error:
        return [Finding("store", False, str(error), "mend the data directory first")]
    except (StoreUnavailable, ValueError, ImportError) as error:
        return [Finding("store", False, str(error), "check GAMMA_DATABASE_URL and that the server is up")]
    return [Finding("store", True, "PostgreSQL" if settings.database_url else "SQLite, embedded")]


async def _tracking(settings: Settings) -> list[Finding]:
    async with aiohttp.ClientSession() as session:
        tracking = open_tracking(
            settings.tracking_uri,
            artifact_root=settings.data_dir / "mlflow" / "artifacts",
            public_url=settings.mlflow_public_url,
            http_session=session,
        )
        try:
            await tracking.open_runs()
        except TrackingError as error:
            return [Finding("MLflow", False, str(error), "check GAMMA_MLFLOW_TRACKING_URI")]
        finally:
            await tracking.close()
    return [Finding("MLflow", True, "server answers" if settings.mlflow_tracking_uri else "embedded")]


async def _github(settings: Settings) -> list[Finding]:
    findings = [
        Finding(
            "webhook secret",
            bool(settings.webhook_secrets),
            f"{len(settings.webhook_secrets)} configured",
            "" if settings.webhook_secrets else "set GAMMA_GITHUB_WEBHOOK_SECRET to the App's webhook secret",
        )
    ]
    if not (settings.github_app_id and settings.github_private_key):
        fix = "run `gamma setup`, or set GAMMA_GITHUB_APP_ID and GAMMA_GITHUB_PRIVATE_KEY (PEM text or the file's path)"
        return [*findings, Finding("GitHub App", False, "not configured", fix)]
    try:
        keys = signing_keys(settings.private_key or "")
    except (OSError, UnusableKey) as error:
        return [*findings, Finding("GitHub App", False, str(error), "check GAMMA_GITHUB_PRIVATE_KEY")]
    async with aiohttp.ClientSession() as session:
        github = GitHubApp(session, api_url=settings.github_api_url, app_id=settings.github_app_id, keys=keys)
        try:
            app = await github.app()
        except GitHubError as error:
            fix = "do the App's id, its private key and GAMMA_GITHUB_API_URL belong together?"
            return [*findings, Finding("GitHub App", False, str(error), fix)]
    findings.append(Finding("GitHub App", True, f"{app.get('slug')} at {settings.github_api_url}"))
    granted = app.get("permissions") or {}
    missing = [
        f"{name}: {level}"
        for name, level in NEEDED_PERMISSIONS.items()
        if _LEVELS.index(granted.get(name, "")) < _LEVELS.index(level)
    ]
    detail = f"missing {', '.join(missing)}" if missing else "as app.yml asks"
    findings.append(
        Finding(
            "permissions", not missing, detail, "grant them in the App's settings, and accept them" if missing else ""
        )
    )
    events = [event for event in NEEDED_EVENTS if event not in (app.get("events") or ())]
    detail = f"not subscribed to {', '.join(events)}" if events else ", ".join(NEEDED_EVENTS)
    findings.append(Finding("events", not events, detail, "subscribe in the App's settings" if events else ""))
    return findings


async def _sagemaker(settings: Settings) -> list[Finding]:
    if not settings.aws_bucket:
        return []
    from gamma_bot.training.sagemaker.aws import Aws
    from gamma_bot.training.sagemaker.examination import examine as examine_aws

    aws = Aws(region=settings.aws_region, endpoint_url=settings.aws_endpoint_url)
    role, queue_url = settings.aws_role_arn or "", settings.aws_events_queue_url or ""
    found = examine_aws(aws, bucket=settings.aws_bucket, role=role, queue_url=queue_url)
    findings = [Finding(each.name, each.well, each.detail, each.fix) async for each in found]
    aws.close()
    return findings


async def _agent(settings: Settings) -> list[Finding]:
    try:
        database = Database(settings.store_url)
    except (OSError, StoreUnavailable):
        return []  # said already: without its store Gamma asks no model
    try:
        agent = agent_of(settings, database, Patience(request_seconds=20.0, retries=0))
        if not agent.claude.available:
            return []
        findings = []
        for model in filter(None, (agent.first, agent.second)):
            try:
                await agent.claude.probe(model)
            except Rejected as error:
                fix = "check GAMMA_ANTHROPIC_API_KEY, and that this key may use the model"
                findings.append(Finding("agent", False, f"{model.name}: {error}", fix))
            except NoAnswer as error:
                fix = "check GAMMA_ANTHROPIC_BASE_URL and the network; try again if the API is only busy"
                findings.append(Finding("agent", False, f"{model.name}: {error}", fix))
            else:
                findings.append(Finding("agent", True, f"{model.name} answers; prices of {agent.prices_of}"))
        await agent.claude.close()
        return findings
    except WrongSettings as error:
        return [Finding("agent", False, str(error), "name one of these, or leave the variable out")]
    finally:
        database.close()
