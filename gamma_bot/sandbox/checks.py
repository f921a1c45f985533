"""Check runs and check suites, with the limits and one-way streets that GitHub gives them."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, forbidden, invalid, invalid_request, not_found
from gamma_bot.sandbox.check_limits import ACTION_LIMITS, check_limits
from gamma_bot.sandbox.events import emit_check_run, emit_check_suite
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.ids import moment_of
from gamma_bot.sandbox.model import Account, Annotation, App, CheckAction, CheckOutput, CheckRun, CheckSuite
from gamma_bot.sandbox.pushes import suite_for
from gamma_bot.sandbox.shapes_checks import annotation_json, run_json, suite_json

MAXIMUM_RUNS_OF_A_NAME = 1000


async def create_run(call: Call) -> Answer:
    body, forge, repository = call.json_object(), call.forge, call.repository
    name, head_sha = body.get("name"), body.get("head_sha")
    if not isinstance(name, str) or not name or not isinstance(head_sha, str):
        raise invalid_request('"name" and "head_sha" must be supplied.')
    check_limits(body)
    if len(head_sha) != 40 or await forge.git.resolve(repository.git_dir, head_sha) != head_sha:
        raise ApiError(422, f"No commit found for SHA: {head_sha}")
    refs, app = await forge.git.refs(repository.git_dir), _app(call)
    branch = next((ref[11:] for ref, sha in refs.items() if sha == head_sha and ref.startswith("refs/heads/")), None)
    suite, _ = suite_for(forge, repository, app, head_sha, branch, None)
    now = forge.state.now()
    run = CheckRun(forge.state.next_id(), suite, name, "queued", now, started_at=now)
    suite.runs.append(run)
    same_name = [other for other in suite.runs if other.name == name]
    if len(same_name) > MAXIMUM_RUNS_OF_A_NAME:
        suite.runs.remove(same_name[0])
    _apply(forge, run, body)
    emit_check_run(forge, run, "created", app.bot)
    await _announce_completion(forge, run, app.bot, was_completed=False)
    return Answer(201, run_json(forge.urls, run), headers={"Location": run_json(forge.urls, run)["url"]})


async def update_run(call: Call) -> Answer:
    run, body, app = _run(call), call.json_object(), _app(call)
    if run.app is not app:
        message = "check run can only be modified by the GitHub App that created it."
        raise forbidden(f"Invalid app_id `{app.id}` - {message}")
    check_limits(body)
    was_completed = run.status == "completed"
    _apply(call.forge, run, body)
    call.forge.state.changed()
    await _announce_completion(call.forge, run, app.bot, was_completed=was_completed)
    return Answer(200, run_json(call.forge.urls, run))


async def get_run(call: Call) -> Answer:
    return Answer(200, run_json(call.forge.urls, _run(call)))


async def list_annotations(call: Call) -> Answer:
    run = _run(call)
    return Answer(200, [annotation_json(call.forge.urls, run, note) for note in call.page(run.annotations)])


async def list_runs_of_commit(call: Call) -> Answer:
    sha = await _commit(call)
    suites = [suite for suite in call.repository.suites.values() if suite.head_sha == sha]
    if "app_id" in call.query:
        suites = [suite for suite in suites if str(suite.app.id) == call.query["app_id"]]
    return _list_runs(call, suites)


async def list_runs_of_suite(call: Call) -> Answer:
    return _list_runs(call, [_suite(call)])


async def list_suites_of_commit(call: Call) -> Answer:
    sha = await _commit(call)
    suites = [suite for suite in call.repository.suites.values() if suite.head_sha == sha]
    if "app_id" in call.query:
        suites = [suite for suite in suites if str(suite.app.id) == call.query["app_id"]]
    if "check_name" in call.query:
        suites = [suite for suite in suites if any(run.name == call.query["check_name"] for run in suite.runs)]
    shown = [await _suite_json(call, suite) for suite in call.page(suites)]
    return Answer(200, {"total_count": len(suites), "check_suites": shown})


async def get_suite(call: Call) -> Answer:
    return Answer(200, await _suite_json(call, _suite(call)))


async def rerequest_run(call: Call) -> Answer:
    await ask_again(call.forge, _run(call), call.account)
    return Answer(201, {})


async def rerequest_suite(call: Call) -> Answer:
    await ask_suite_again(call.forge, _suite(call), call.account)
    return Answer(201, {})


async def ask_again(forge: Forge, run: CheckRun, by: Account) -> None:
    """What "Re-run" does: the App is told. The run itself stays as it is; its suite is queued again.

    Raises:
        ApiError: it has not completed, or the person may not write to the repository.
    """
    _require_push(run.suite, by)
    if run.status != "completed":
        raise ApiError(422, "This check run is not rerequestable: it has not completed.")
    run.suite.rerequested_after = max(one.id for one in run.suite.runs)
    emit_check_run(forge, run, "rerequested", by)


async def ask_suite_again(forge: Forge, suite: CheckSuite, by: Account) -> None:
    """What "Re-run all checks" does: one webhook for all runs of the suite.

    Raises:
        ApiError: the person may not write to the repository.
    """
    _require_push(suite, by)
    suite.rerequested_after = max((run.id for run in suite.runs), default=0)
    await emit_check_suite(forge, suite, "rerequested", by)


def request_action(forge: Forge, run: CheckRun, identifier: str, by: Account) -> None:
    """What a click on a button of the run does.

    Raises:
        ApiError: the run has no such button, or the person may not write to the repository.
    """
    if not any(action.identifier == identifier for action in run.actions):
        raise invalid("CheckRun", "identifier", "invalid", f"the check run has no action {identifier!r}")
    _require_push(run.suite, by)
    emit_check_run(forge, run, "requested_action", by, identifier=identifier)


def _require_push(suite: CheckSuite, by: Account) -> None:
    if by.type != "Bot" and not suite.repository.may(by.login, "write"):
        raise ApiError(403, "You must have push access to use the buttons of a check.")


def _app(call: Call) -> App:
    if call.app is None:
        raise forbidden("You must authenticate via a GitHub App.")
    return call.app


def _run(call: Call) -> CheckRun:
    wanted = call.number("check_run_id")
    run = next((run for run in call.repository.check_runs if run.id == wanted), None)
    if run is None:
        raise not_found()
    return run


def _suite(call: Call) -> CheckSuite:
    suite = call.repository.suites.get(call.number("check_suite_id"))
    if suite is None:
        raise not_found()
    return suite


async def _suite_json(call: Call, suite: CheckSuite) -> dict[str, Any]:
    commit = await call.forge.git.commit_info(call.repository.git_dir, suite.head_sha)
    return suite_json(call.forge.urls, suite, commit)


async def _commit(call: Call) -> str:
    sha = await call.forge.git.resolve(call.repository.git_dir, call.params["ref"])
    if sha is None:
        raise ApiError(422, f"No commit found for SHA: {call.params['ref']}")
    return sha


def _list_runs(call: Call, suites: list[CheckSuite]) -> Answer:
    latest = call.query.get("filter", "latest") == "latest"
    runs = [run for suite in suites for run in (suite.latest_runs if latest else suite.runs)]
    for key, value in (("check_name", "name"), ("status", "status")):
        if key in call.query:
            runs = [run for run in runs if getattr(run, value) == call.query[key]]
    runs.sort(key=lambda run: run.id, reverse=True)
    shown = [run_json(call.forge.urls, run) for run in call.page(runs)]
    return Answer(200, {"total_count": len(runs), "check_runs": shown})


def _apply(forge: Forge, run: CheckRun, body: dict[str, Any]) -> None:
    now = forge.state.now()
    run.name = body.get("name", run.name)
    run.details_url = body.get("details_url", run.details_url)
    run.external_id = body.get("external_id", run.external_id)
    run.started_at = moment_of(body.get("started_at")) or run.started_at
    if body.get("conclusion"):
        run.status, run.conclusion = "completed", body["conclusion"]
        run.completed_at = moment_of(body.get("completed_at")) or run.completed_at or now
    elif body.get("status") and run.status != "completed":
        # A completed run never goes back: GitHub takes the rest of the update and leaves the status.
        run.status = body["status"]
    output = body.get("output")
    if output is not None:
        run.output = CheckOutput(output.get("title"), output.get("summary"), output.get("text", run.output.text))
        fields = Annotation.__dataclass_fields__
        run.annotations += [
            Annotation(**{key: value for key, value in note.items() if key in fields})
            for note in output.get("annotations") or []
        ]
    if body.get("actions") is not None:
        run.actions = [CheckAction(**{key: action[key] for key in ACTION_LIMITS}) for action in body["actions"]]
    run.suite.updated_at = now
    run.history.append(f"{run.conclusion or run.status}: {run.output.title or ''}".rstrip(": "))


async def _announce_completion(forge: Forge, run: CheckRun, by: Account, *, was_completed: bool) -> None:
    if run.status == "completed" and not was_completed:
        emit_check_run(forge, run, "completed", by)
        if run.suite.status == "completed":
            await emit_check_suite(forge, run.suite, "completed", by)


_RUN = "/repos/{owner}/{repo}/check-runs/{check_run_id}"
_SUITE = "/repos/{owner}/{repo}/check-suites/{check_suite_id}"
_READ, _WRITE = ("checks:read",), ("checks:write",)

ROUTES = (
    Route("POST", "/repos/{owner}/{repo}/check-runs", create_run, needs=_WRITE, apps_only=True, content=True),
    Route("PATCH", _RUN, update_run, needs=_WRITE, apps_only=True),
    Route("GET", _RUN, get_run, needs=_READ),
    Route("GET", f"{_RUN}/annotations", list_annotations, needs=_READ),
    Route("POST", f"{_RUN}/rerequest", rerequest_run, needs=_WRITE, role="write"),
    Route("GET", _SUITE, get_suite, needs=_READ),
    Route("GET", f"{_SUITE}/check-runs", list_runs_of_suite, needs=_READ),
    Route("POST", f"{_SUITE}/rerequest", rerequest_suite, needs=_WRITE, role="write"),
    Route("GET", "/repos/{owner}/{repo}/commits/{ref}/check-runs", list_runs_of_commit, needs=_READ),
    Route("GET", "/repos/{owner}/{repo}/commits/{ref}/check-suites", list_suites_of_commit, needs=_READ),
)
