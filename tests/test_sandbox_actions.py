"""GitHub Actions in the sandbox: dispatch and its refusals, a run on a real machine, cancelling, logs, artifacts."""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamma_bot.sandbox.actions_expressions import WrongExpression, evaluate, filled
from gamma_bot.sandbox.model_actions import WorkflowRun
from tests.contract import assert_contract
from tests.sandbox_api import Stage, open_stage

pytestmark = pytest.mark.thorough

TRAIN = """\
name: Train
run-name: train ${{ inputs.job }} at ${{ github.ref_name }}
on:
  workflow_dispatch:
    inputs:
      job: {required: true}
      sha: {default: ''}
      size: {type: choice, options: [small, large], default: small}
env:
  SIZE: ${{ inputs.size }}
jobs:
  train:
    name: Train it
    runs-on: ubuntu-latest
    timeout-minutes: ${{ fromJSON('5') }}
    steps:
      - uses: actions/checkout@v5
        with: {ref: '${{ inputs.sha || github.sha }}'}
      - uses: actions/setup-python@v6
      - name: Prepare
        id: prepare
        shell: python
        run: |
          import os
          with open(os.environ["GITHUB_ENV"], "a") as file:
              file.write("TWO<<END\\nfirst\\nsecond\\nEND\\n")
          with open(os.environ["GITHUB_OUTPUT"], "a") as file:
              file.write("word=hello\\n")
      - name: Train
        env: {KEY: '${{ secrets.KEY }}', WORD: '${{ steps.prepare.outputs.word }}'}
        run: |
          echo "::group::inside"
          echo "$WORD $SIZE $KEY"
          echo "::endgroup::"
          echo "$TWO"
          mkdir out && echo model > out/model.bin
          bash train.sh
      - uses: actions/upload-artifact@v5
        if: always()
        with: {name: model, path: out}
"""
OTHER = "name: Other\non: push\njobs: {one: {runs-on: x, steps: []}}\n"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path) as stage:
        github = stage.github
        files = {
            ".github/workflows/train.yml": TRAIN,
            ".github/workflows/other.yml": OTHER,
            "train.sh": "echo trained\n",
        }
        await github.commit(stage.repository, "main", files)
        await github.wait_for_deliveries()
        stage.received.clear()
        yield stage
        assert_contract(github.requests)


async def dispatch(stage: Stage, token: str, ref: str = "main", workflow: str = "train.yml", **inputs: Any) -> Any:
    path = f"/repos/ada/walker/actions/workflows/{workflow}/dispatches"
    return await stage.call("POST", path, {"ref": ref, "inputs": inputs, "return_run_details": True}, token=token)


async def ended(stage: Stage, run_id: int) -> WorkflowRun:
    run = stage.repository.workflow_runs[run_id]
    async with asyncio.timeout(20):
        await stage.github.wait_until(lambda: run.status == "completed")
    await stage.github.wait_for_deliveries()
    return run


async def log_of(stage: Stage, token: str, run: WorkflowRun) -> str:
    reply = await stage.call("GET", f"/repos/ada/walker/actions/jobs/{run.jobs[0].id}/logs", token=token)
    assert reply.status == 302
    return (await stage.call("GET", reply.headers["Location"])).data.decode()


async def test_a_dispatched_workflow_runs_and_leaves_its_log_and_its_artifact(stage: Stage) -> None:
    stage.github.machines.secrets["KEY"] = "hunter2"
    sha = await stage.github.commit(stage.repository, "models/wider", {"train.sh": "echo from the branch\n"})
    await stage.github.wait_for_deliveries()
    stage.received.clear()
    token = await stage.token()
    reply = await dispatch(stage, token, job="j1-1", sha=sha)
    assert reply.status == 200, reply.body
    run = await ended(stage, reply.body["workflow_run_id"])

    shown = (await stage.call("GET", f"/repos/ada/walker/actions/runs/{run.id}", token=token)).body
    assert (shown["display_title"], shown["name"], shown["event"]) == (
        "train j1-1 at main",
        "Train",
        "workflow_dispatch",
    )
    assert (shown["status"], shown["conclusion"], shown["actor"]["type"]) == ("completed", "success", "Bot")
    job = (await stage.call("GET", f"/repos/ada/walker/actions/runs/{run.id}/jobs", token=token)).body["jobs"][0]
    assert [(step["name"], step["conclusion"]) for step in job["steps"]][1:6] == [
        ("Run actions/checkout@v5", "success"),
        ("Run actions/setup-python@v6", "success"),
        ("Prepare", "success"),
        ("Train", "success"),
        ("Run actions/upload-artifact@v5", "success"),
    ]
    log = await log_of(stage, token, run)
    lines = [line[29:] for line in log.removeprefix("\ufeff").splitlines()]
    assert all(line[4] == "-" and line[27] == "Z" for line in log.removeprefix("\ufeff").splitlines())
    begin = lines.index("##[group]inside")
    assert lines[begin : begin + 6] == [
        "##[group]inside", "hello small ***", "##[endgroup]", "first", "second", "from the branch",
    ]  # fmt: skip
    assert "hunter2" not in log

    artifact = (await stage.call("GET", f"/repos/ada/walker/actions/runs/{run.id}/artifacts", token=token)).body
    path = f"/repos/ada/walker/actions/artifacts/{artifact['artifacts'][0]['id']}/zip"
    content = (await stage.call("GET", (await stage.call("GET", path, token=token)).headers["Location"])).data
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["model.bin"]
    logs = await stage.call("GET", f"/repos/ada/walker/actions/runs/{run.id}/logs", token=token)
    archive = zipfile.ZipFile(io.BytesIO((await stage.call("GET", logs.headers["Location"])).data))
    assert archive.namelist() == ["0_Train it.txt"]

    assert stage.names() == [
        "workflow_run.requested", "workflow_job.queued", "workflow_job.in_progress", "workflow_run.in_progress",
        "workflow_job.completed", "workflow_run.completed",
    ]  # fmt: skip
    told = stage.received[-1].payload
    assert told["workflow_run"] == shown
    assert (told["workflow"]["path"], told["workflow_run"]["head_sha"] == sha) == (".github/workflows/train.yml", False)

    for page in ("/ada/walker/actions", f"/ada/walker/actions/runs/{run.id}"):
        shown_page = await stage.call("GET", stage.github.url + page)
        assert (shown_page.status, "train j1-1 at main" in shown_page.data.decode()) == (200, True)
    assert "from the branch" in shown_page.data.decode()

    listed = "/repos/ada/walker/actions/runs?event=workflow_dispatch&status=success&created="
    for created, count in ((">=2026-01-01", 1), ("<2026-01-01", 0), ("2026-01-01..*", 1), (run.created_at[:10], 1)):
        assert (await stage.call("GET", listed + created, token=token)).body["total_count"] == count
    workflows = (await stage.call("GET", "/repos/ada/walker/actions/workflows", token=token)).body["workflows"]
    assert [one["name"] for one in workflows] == ["Other", "Train"]
    by_id = f"/repos/ada/walker/actions/workflows/{workflows[1]['id']}"
    assert (await stage.call("GET", f"{by_id}/runs", token=token)).body["total_count"] == 1
    assert (await stage.call("GET", by_id, token=token)).body["path"] == ".github/workflows/train.yml"
    assert (await stage.call("POST", f"/repos/ada/walker/actions/runs/{run.id}/cancel", token=token)).status == 409


async def test_what_github_refuses_to_dispatch(stage: Stage) -> None:
    token = await stage.token()
    sha = await stage.github.head(stage.repository)

    async def said(**given: Any) -> tuple[int, str]:
        reply = await dispatch(stage, given.pop("token", token), **given)
        return reply.status, reply.body["message"]

    assert await said(workflow="missing.yml", job="j") == (404, "Not Found")
    assert await said(workflow="other.yml") == (422, "Workflow does not have 'workflow_dispatch' trigger")
    assert await said(ref="gone", job="j") == (422, "No ref found for: gone")
    assert await said(ref=sha, job="j") == (422, f"No ref found for: {sha}")
    assert await said() == (422, "Required input 'job' not provided")
    assert await said(job="j", colour="red") == (422, 'Unexpected inputs provided: ["colour"]')
    assert await said(job="x" * 70_000) == (422, "inputs are too large.")
    assert (await said(job="j", size="huge"))[1].startswith("Provided value 'huge' for input 'size'")
    assert (await said(**{f"i{number}": "1" for number in range(26)}))[1].startswith(
        "Invalid request.\n\nNo more than 25"
    )
    path = "/repos/ada/walker/actions/workflows/train.yml/dispatches"
    assert '"ref" wasn\'t supplied' in (await stage.call("POST", path, {}, token=token)).body["message"]

    reading = await stage.token(permissions={"actions": "read"})
    assert await said(token=reading, job="j") == (403, "Resource not accessible by integration")
    stage.repository.workflows[".github/workflows/train.yml"].state = "disabled_manually"
    assert await said(job="j") == (422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    assert stage.repository.workflow_runs == {}


async def test_cancelling_reaches_what_runs_and_what_waits(stage: Stage) -> None:
    machines = stage.github.machines
    machines.interrupt_seconds = machines.terminate_seconds = 0.2
    script = "trap 'echo interrupted; exit 3' INT\necho ready > \"$RUNNER_TEMP/ready\"\nwhile :; do sleep 0.02; done\n"
    text = TRAIN.replace("bash train.sh", "source train.sh").replace(
        "env:\n  SIZE", "concurrency: train\nenv:\n  SIZE", 1
    )
    await stage.github.commit(stage.repository, "main", {"train.sh": script, ".github/workflows/train.yml": text})
    token = await stage.token()
    first = (await dispatch(stage, token, job="j1-1")).body["workflow_run_id"]
    ready = stage.github.forge.root / "actions" / str(first) / "_temp" / "ready"
    async with asyncio.timeout(10):
        while not ready.exists():
            await asyncio.sleep(0.02)
    running = stage.repository.workflow_runs[first]
    assert (
        await stage.call("GET", f"/repos/ada/walker/actions/jobs/{running.jobs[0].id}/logs", token=token)
    ).status == 404

    second = (await dispatch(stage, token, job="j2-1")).body["workflow_run_id"]
    waiting = stage.repository.workflow_runs[second]
    await stage.github.wait_until(lambda: waiting.status == "pending")
    for run_id in (second, first):
        reply = await stage.call("POST", f"/repos/ada/walker/actions/runs/{run_id}/cancel", token=token)
        assert (reply.status, reply.body) == (202, {})
    run = await ended(stage, first)
    assert (run.conclusion, (await ended(stage, second)).conclusion) == ("cancelled", "cancelled")
    assert waiting.jobs[0].steps == []
    assert [step.conclusion for step in run.jobs[0].steps][-3:] == ["cancelled", "success", "success"], "always() ran"
    log = await log_of(stage, token, run)
    assert "interrupted" in log
    assert "##[error]The operation was canceled." in log


async def test_failures_force_and_time(stage: Stage) -> None:
    stage.github.machines.interrupt_seconds = stage.github.machines.terminate_seconds = 0.1
    await stage.github.commit(
        stage.repository,
        "main",
        {
            "train.sh": "sleep 60\n",
            ".github/workflows/slow.yml": TRAIN.replace("fromJSON('5')", "fromJSON('0.005')"),
            ".github/workflows/bad.yml": TRAIN.replace("bash train.sh", "exit 7"),
            ".github/workflows/wrong.yml": TRAIN.replace("actions/checkout@v5", "somebody/action@v1"),
        },
    )
    token = await stage.token()
    runs = {}
    for name in ("train", "slow", "bad", "wrong"):
        runs[name] = (await dispatch(stage, token, workflow=f"{name}.yml", job="j1-1")).body["workflow_run_id"]
    train = stage.repository.workflow_runs[runs["train"]]
    await stage.github.wait_until(lambda: any(s.name == "Train" for j in train.jobs for s in j.steps))
    await stage.call("POST", f"/repos/ada/walker/actions/runs/{train.id}/force-cancel", token=token)
    conclusions = {name: (await ended(stage, run_id)).conclusion for name, run_id in runs.items()}
    assert conclusions == {"train": "cancelled", "slow": "cancelled", "bad": "failure", "wrong": "failure"}
    logs = {name: await log_of(stage, token, stage.repository.workflow_runs[run_id]) for name, run_id in runs.items()}
    assert "exceeded the maximum execution time" in logs["slow"]
    assert "##[error]Process completed with exit code 7." in logs["bad"]
    assert "Unable to resolve action `somebody/action@v1`" in logs["wrong"]
    assert [one.name for one in stage.repository.workflow_runs[runs["bad"]].artifacts] == ["model"]
    assert stage.repository.workflow_runs[runs["train"]].artifacts == []
    async with asyncio.timeout(20):  # the machines are clean in a moment
        while os.listdir(stage.github.forge.root / "actions"):
            await asyncio.sleep(0.02)


def test_expressions() -> None:
    contexts = {"inputs": {"a": "x", "b": "", "deep": {"er": 3}}, "always": lambda: True}
    values = {
        "inputs.a": "x", "inputs.b || 'other'": "other", "inputs.none": None, "inputs.deep.er": 3,
        "inputs.a == 'X' && !(inputs.b)": True, "inputs.a != 'x'": False, "fromJSON('[1]')": [1],
        "format('{0}-{1}', inputs.a, 'it''s')": "x-it's", "contains(inputs.a, 'x')": True, "always()": True,
        "startsWith('Abc', 'ab')": True, "toJSON(inputs.deep)": json.dumps({"er": 3}, indent=2), "1 == 1.0": True,
    }  # fmt: skip
    assert {text: evaluate(text, contexts) for text in values} == values
    assert filled({"a": ["${{ inputs.a }}-${{ 1 }}", 5, "${{ inputs.deep }}"]}, contexts) == {
        "a": ["x-1", 5, {"er": 3}]
    }
    for wrong in ("inputs.a ==", "who.knows", "nothing()", "(inputs.a", "fromJSON('x')", "a b", "#"):
        with pytest.raises(WrongExpression):
            evaluate(wrong, contexts)
