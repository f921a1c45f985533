"""How check suites, check runs and annotations look in an answer."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.git import GitCommit
from gamma_bot.sandbox.model import Annotation, CheckRun, CheckSuite, PullRequest, Repository
from gamma_bot.sandbox.shapes import Json, app_json, repository_json
from gamma_bot.sandbox.shapes_git import simple_commit_json
from gamma_bot.sandbox.urls import Urls


def run_json(urls: Urls, run: CheckRun) -> Json:
    api = f"{urls.repository_api(run.suite.repository)}/check-runs/{run.id}"
    return {
        "id": run.id,
        "name": run.name,
        "node_id": run.node_id,
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": api,
        "html_url": urls.run_page(run),
        # Without a details_url GitHub shows the App's own page.
        "details_url": run.details_url or run.app.external_url,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "output": {
            "title": run.output.title,
            "summary": run.output.summary,
            "text": run.output.text,
            "annotations_count": len(run.annotations),
            "annotations_url": f"{api}/annotations",
        },
        "check_suite": {"id": run.suite.id},
        "app": app_json(urls, run.app),
        "pull_requests": pull_requests_json(urls, run.suite),
    }


def run_event_json(urls: Urls, run: CheckRun) -> Json:
    """A check run in a webhook: its suite comes along."""
    suite = run.suite
    return {
        **run_json(urls, run),
        "check_suite": {**_suite_basics(urls, suite), "app": app_json(urls, suite.app)},
    }


def suite_json(urls: Urls, suite: CheckSuite, head_commit: GitCommit) -> Json:
    return {
        **suite_event_json(urls, suite, head_commit),
        "repository": repository_json(urls, suite.repository),
    }


def suite_event_json(urls: Urls, suite: CheckSuite, head_commit: GitCommit) -> Json:
    """A check suite in a webhook, where the repository stands beside it."""
    api = f"{urls.repository_api(suite.repository)}/check-suites/{suite.id}"
    return {
        **_suite_basics(urls, suite),
        "app": app_json(urls, suite.app),
        "latest_check_runs_count": len(suite.latest_runs),
        "check_runs_url": f"{api}/check-runs",
        "head_commit": simple_commit_json(head_commit),
        "rerequestable": True,
        "runs_rerequestable": True,
    }


def annotation_json(urls: Urls, run: CheckRun, annotation: Annotation) -> Json:
    return {
        "path": annotation.path,
        "start_line": annotation.start_line,
        "end_line": annotation.end_line,
        "start_column": annotation.start_column,
        "end_column": annotation.end_column,
        "annotation_level": annotation.annotation_level,
        "title": annotation.title,
        "message": annotation.message,
        "raw_details": annotation.raw_details,
        "blob_href": f"{urls.repository_page(run.suite.repository)}/blob/{run.head_sha}/{annotation.path}",
    }


def pull_requests_json(urls: Urls, suite: CheckSuite) -> list[Json]:
    """The open pull requests with this head; GitHub leaves out those from forks."""
    return [
        {
            "url": urls.pull_api(pull),
            "id": pull.pull_id,
            "number": pull.number,
            "head": {"ref": pull.head_ref, "sha": pull.head_sha, "repo": _repository(urls, pull.repository)},
            "base": {"ref": pull.base_ref, "sha": pull.base_sha, "repo": _repository(urls, pull.repository)},
        }
        for pull in _pulls_with_head(suite)
    ]


def _pulls_with_head(suite: CheckSuite) -> list[PullRequest]:
    return [
        pull
        for pull in suite.repository.pulls
        if pull.state == "open" and not pull.from_fork and pull.head_sha == suite.head_sha
    ]


def _repository(urls: Urls, repository: Repository) -> Json:
    return {"id": repository.id, "url": urls.repository_api(repository), "name": repository.name}


def _suite_basics(urls: Urls, suite: CheckSuite) -> dict[str, Any]:
    return {
        "id": suite.id,
        "node_id": suite.node_id,
        "head_branch": suite.head_branch,
        "head_sha": suite.head_sha,
        "status": suite.status,
        "conclusion": suite.conclusion,
        "url": f"{urls.repository_api(suite.repository)}/check-suites/{suite.id}",
        "before": suite.before,
        "after": suite.head_sha,
        "pull_requests": pull_requests_json(urls, suite),
        "created_at": suite.created_at,
        "updated_at": suite.updated_at,
    }
