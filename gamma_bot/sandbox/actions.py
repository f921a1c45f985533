"""GitHub Actions: workflows and their dispatch, runs, jobs, logs and artifacts."""

from __future__ import annotations

import io
import secrets
import zipfile
from typing import Any

from gamma_bot.sandbox.actions_expressions import WrongExpression, as_text, filled
from gamma_bot.sandbox.actions_file import (
    FOLDER,
    MAXIMUM_INPUTS,
    WorkflowFile,
    WrongWorkflow,
    given_inputs,
    read_workflow,
)
from gamma_bot.sandbox.actions_log import log_text
from gamma_bot.sandbox.actions_runner import begin, cancel
from gamma_bot.sandbox.call import Answer, ApiError, Call, Route, invalid_request, not_found
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Repository
from gamma_bot.sandbox.model_actions import Workflow, WorkflowJob, WorkflowRun
from gamma_bot.sandbox.shapes_actions import (
    artifact_json,
    run_page,
    workflow_job_json,
    workflow_json,
    workflow_run_json,
)

_OVER = "Cannot cancel a workflow run that is completed."


async def list_workflows(call: Call) -> Answer:
    found = await workflows_of(call.forge, call.repository)
    shown = [workflow_json(call.forge.urls, one) for one in call.page(found)]
    return Answer(200, {"total_count": len(found), "workflows": shown})


async def get_workflow(call: Call) -> Answer:
    return Answer(200, workflow_json(call.forge.urls, await _workflow(call)))


async def dispatch(call: Call) -> Answer:
    """Start a run. By default GitHub does not say which one it is; with ``return_run_details`` it does."""
    workflow, repository, git = await _workflow(call), call.repository, call.forge.git
    body = call.json_object()
    ref, given = _dispatch_of(body)
    if workflow.state != "active":
        raise ApiError(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    refs = await git.refs(repository.git_dir)
    sha = refs.get(f"refs/heads/{branch}") or refs.get(f"refs/tags/{branch}")
    if sha is None:  # a commit's id is no ref
        raise ApiError(422, f"No ref found for: {ref}")
    try:
        file = await workflow_file(call.forge, repository, workflow.path, sha)
        if file is None or file.inputs is None:
            raise WrongWorkflow("Workflow does not have 'workflow_dispatch' trigger")
        run = _new_run(call, workflow, file, branch, sha, given_inputs(file, given))
    except (WrongWorkflow, WrongExpression) as error:
        raise ApiError(422, str(error)) from None
    repository.workflow_runs[run.id] = run
    await begin(call.forge, run, file)
    if not body.get("return_run_details"):
        return Answer(204)
    api = f"{call.forge.urls.repository_api(repository)}/actions/runs/{run.id}"
    details = {"workflow_run_id": run.id, "run_url": api, "html_url": run_page(call.forge.urls, run)}
    return Answer(200, details)


async def list_runs(call: Call) -> Answer:
    return await _list_runs(call, list(call.repository.workflow_runs.values()))


async def list_runs_of_workflow(call: Call) -> Answer:
    workflow = await _workflow(call)
    return await _list_runs(call, [run for run in call.repository.workflow_runs.values() if run.workflow is workflow])


async def get_run(call: Call) -> Answer:
    return Answer(200, await _run_json(call, run_of(call)))


async def list_jobs(call: Call) -> Answer:
    jobs = run_of(call).jobs
    shown = [workflow_job_json(call.forge.urls, job) for job in call.page(jobs)]
    return Answer(200, {"total_count": len(jobs), "jobs": shown})


async def get_job(call: Call) -> Answer:
    return Answer(200, workflow_job_json(call.forge.urls, _job(call)))


async def job_logs(call: Call) -> Answer:
    """A redirect to a text. Of a job that has not ended GitHub has no log to download."""
    job = _job(call)
    if job.status != "completed":
        raise not_found()
    return _download(call, log_text(job), "text/plain; charset=utf-8")


async def run_logs(call: Call) -> Answer:
    run = run_of(call)
    if run.status != "completed":
        raise not_found()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, job in enumerate(run.jobs):
            archive.writestr(f"{number}_{job.name.replace('/', '_')}.txt", log_text(job))
    return _download(call, content.getvalue(), "application/zip")


async def cancel_run(call: Call) -> Answer:
    run = run_of(call)
    if run.status == "completed":
        raise ApiError(409, _OVER)
    cancel(call.forge, run)
    return Answer(202, {})


async def force_cancel_run(call: Call) -> Answer:
    run = run_of(call)
    if run.status == "completed":
        raise ApiError(409, _OVER)
    cancel(call.forge, run, force=True)
    return Answer(202, {})


async def list_artifacts(call: Call) -> Answer:
    found = [one for one in run_of(call).artifacts if call.query.get("name", one.name) == one.name]
    shown = [artifact_json(call.forge.urls, one) for one in call.page(found)]
    return Answer(200, {"total_count": len(found), "artifacts": shown})


async def download_artifact(call: Call) -> Answer:
    wanted = call.number("artifact_id")
    runs = call.repository.workflow_runs.values()
    found = next((one for run in runs for one in run.artifacts if one.id == wanted), None)
    if found is None or call.params["archive_format"] != "zip":
        raise not_found()
    return _download(call, found.content, "application/zip")


async def workflows_of(forge: Forge, repository: Repository) -> list[Workflow]:
    """The workflows on the default branch; each keeps the id that it got first."""
    git = forge.git
    head = await git.resolve(repository.git_dir, f"refs/heads/{repository.default_branch}")
    entries = await git.entries(repository.git_dir, head, FOLDER) if head else []
    found = []
    for entry in entries:
        if not entry.path.endswith((".yml", ".yaml")):
            continue
        try:
            name = read_workflow(await git.blob(repository.git_dir, entry.sha), entry.path).name
        except WrongWorkflow:
            name = entry.path
        workflow = repository.workflows.get(entry.path)
        if workflow is None:
            workflow = Workflow(forge.state.next_id(), repository, entry.path, name, forge.state.now())
            repository.workflows[entry.path] = workflow
        workflow.name = name
        found.append(workflow)
    return found


def _dispatch_of(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ref, given = body.get("ref"), body.get("inputs", {})
    if unknown := [key for key in body if key not in ("ref", "inputs", "return_run_details")]:
        named = ", ".join(f'"{key}"' for key in unknown)
        raise invalid_request(f"{named} {'is' if len(unknown) == 1 else 'are'} not a permitted key.")
    if not isinstance(ref, str) or not ref:
        raise invalid_request('"ref" wasn\'t supplied.')
    if not isinstance(given, dict):
        raise invalid_request(f"For 'properties/inputs', {given!r} is not an object.")
    if len(given) > MAXIMUM_INPUTS:
        raise invalid_request(f"No more than {MAXIMUM_INPUTS} properties are allowed; {len(given)} were supplied.")
    return ref, given


def _new_run(
    call: Call, workflow: Workflow, file: WorkflowFile, branch: str, sha: str, inputs: dict[str, object]
) -> WorkflowRun:
    state, repository = call.forge.state, call.repository
    github = {"actor": call.account.login, "ref_name": branch, "sha": sha, "repository": repository.full_name}
    contexts = {"inputs": inputs, "github": github, "vars": call.forge.machines.variables}
    number = sum(run.workflow is workflow for run in repository.workflow_runs.values()) + 1
    now = state.now()
    return WorkflowRun(
        id=state.next_id(), workflow=workflow, number=number,
        name=as_text(filled(file.run_name, contexts)) or file.name,
        actor=call.account, head_branch=branch, head_sha=sha, inputs=inputs, created_at=now, updated_at=now,
        group=as_text(filled(file.group, contexts)),
    )  # fmt: skip


async def workflow_file(forge: Forge, repository: Repository, path: str, sha: str) -> WorkflowFile | None:
    """A workflow as it is at a commit."""
    entry = await forge.git.entry(repository.git_dir, sha, path)
    return read_workflow(await forge.git.blob(repository.git_dir, entry.sha), path) if entry else None


async def _list_runs(call: Call, runs: list[WorkflowRun]) -> Answer:
    query = call.query
    if "status" in query:  # it means a conclusion, too
        runs = [run for run in runs if query["status"] in (run.status, run.conclusion)]
    for name, value in (("event", "event"), ("branch", "head_branch"), ("head_sha", "head_sha")):
        if name in query:
            runs = [run for run in runs if getattr(run, value) == query[name]]
    if "actor" in query:
        runs = [run for run in runs if run.actor.login.lower() == query["actor"].lower()]
    if "created" in query:
        runs = [run for run in runs if _is_in(run.created_at, query["created"])]
    runs.sort(key=lambda run: run.id, reverse=True)
    page, git = list(call.page(runs)), call.forge.git
    heads = {sha: await git.commit_info(call.repository.git_dir, sha) for sha in {run.head_sha for run in page}}
    shown = [workflow_run_json(call.forge.urls, run, heads[run.head_sha]) for run in page]
    return Answer(200, {"total_count": len(runs), "workflow_runs": shown})


def _is_in(moment: str, wanted: str) -> bool:
    """GitHub's search syntax for dates: ``>=2026-11-24T10:00:00Z``, ``A..B``, a day."""
    first, dots, last = wanted.partition("..")
    if dots:
        return (first == "*" or moment >= first) and (last == "*" or moment[: len(last)] <= last)
    for sign in (">=", "<=", ">", "<"):
        if wanted.startswith(sign):
            other = wanted.removeprefix(sign)
            own = moment[: len(other)]
            return {">=": own >= other, "<=": own <= other, ">": own > other, "<": own < other}[sign]
    return moment.startswith(wanted)


async def _workflow(call: Call) -> Workflow:
    wanted = call.params["workflow_id"]
    for workflow in await workflows_of(call.forge, call.repository):
        if wanted in (str(workflow.id), workflow.file_name):
            return workflow
    raise not_found()


def run_of(call: Call) -> WorkflowRun:
    """The run that the address names."""
    run = call.repository.workflow_runs.get(call.number("run_id"))
    if run is None:
        raise not_found()
    return run


def _job(call: Call) -> WorkflowJob:
    wanted = call.number("job_id")
    for run in call.repository.workflow_runs.values():
        for job in (*run.jobs, *(job for before in run.earlier for job in before.jobs)):
            if job.id == wanted:
                return job
    raise not_found()


async def _run_json(call: Call, run: WorkflowRun) -> dict[str, Any]:
    head = await call.forge.git.commit_info(run.repository.git_dir, run.head_sha)
    return workflow_run_json(call.forge.urls, run, head)


def _download(call: Call, content: bytes, kind: str) -> Answer:
    """A redirect to the download host: the address carries its own permission, and nobody's token goes there."""
    token = secrets.token_hex(16)
    call.forge.files[token] = (content, kind)
    location = f"{call.forge.codeload_url}/files/{token}"
    return Answer(302, data=b"", content_type="text/html;charset=utf-8", headers={"Location": location})


_ACTIONS = "/repos/{owner}/{repo}/actions"
_WORKFLOW, _RUN, _JOB = (
    f"{_ACTIONS}/workflows/{{workflow_id}}",
    f"{_ACTIONS}/runs/{{run_id}}",
    f"{_ACTIONS}/jobs/{{job_id}}",
)
_READ, _WRITE = ("actions:read",), ("actions:write",)

ROUTES = (
    Route("GET", f"{_ACTIONS}/workflows", list_workflows, needs=_READ),
    Route("GET", _WORKFLOW, get_workflow, needs=_READ),
    Route("POST", f"{_WORKFLOW}/dispatches", dispatch, needs=_WRITE, role="write"),
    Route("GET", f"{_WORKFLOW}/runs", list_runs_of_workflow, needs=_READ),
    Route("GET", f"{_ACTIONS}/runs", list_runs, needs=_READ),
    Route("GET", _RUN, get_run, needs=_READ),
    Route("GET", f"{_RUN}/jobs", list_jobs, needs=_READ),
    Route("GET", f"{_RUN}/logs", run_logs, needs=_READ),
    Route("GET", f"{_RUN}/artifacts", list_artifacts, needs=_READ),
    Route("POST", f"{_RUN}/cancel", cancel_run, needs=_WRITE, role="write"),
    Route("POST", f"{_RUN}/force-cancel", force_cancel_run, needs=_WRITE, role="write"),
    Route("GET", _JOB, get_job, needs=_READ),
    Route("GET", f"{_JOB}/logs", job_logs, needs=_READ),
    Route("GET", f"{_ACTIONS}/artifacts/{{artifact_id}}/{{archive_format}}", download_artifact, needs=_READ),
)
