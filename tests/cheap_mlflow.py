"""As much of an MLflow server as running jobs need, in a few lines: every run is there, and has the same numbers.

A real one takes a core for what is asked of it here; what is measured beside it would then be MLflow.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

METRICS = {"score": 0.3, "loss": 0.7, "steps_per_second": 512.0}
_API = "/api/2.0/mlflow"


@asynccontextmanager
async def cheap_mlflow(jobs: Sequence[str]) -> AsyncIterator[str]:
    """Serve the runs ``run-<job>`` of these jobs, all of them running; the address."""
    server = _Server(jobs)
    app = web.Application()
    app.router.add_get(f"{_API}/runs/get", server.run)
    app.router.add_post(f"{_API}/runs/update", server.updated)
    app.router.add_post(f"{_API}/runs/search", server.search)
    app.router.add_post(f"{_API}/experiments/search", server.experiments)
    app.router.add_get(f"{_API}/metrics/get-history", server.history)
    app.router.add_get(f"{_API}/artifacts/list", server.artifacts)
    app.router.add_get(f"{_API}/registered-models/get", server.no_model)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def run_of(job: str) -> str:
    """The id of a job's run."""
    return f"run-{job}"


class _Server:
    def __init__(self, jobs: Sequence[str]) -> None:
        self._running = dict.fromkeys(run_of(job) for job in jobs)

    async def run(self, request: web.Request) -> web.Response:
        return web.json_response({"run": self._told(request.query["run_id"])})

    async def updated(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("status", "RUNNING") != "RUNNING":
            self._running.pop(body["run_id"], None)
        return web.json_response({})

    async def search(self, request: web.Request) -> web.Response:
        """All runs that go on, in pages as MLflow gives them."""
        body = await request.json()
        first, most = int(body.get("page_token") or 0), int(body["max_results"])
        chosen = list(self._running)[first : first + most]
        more = {"next_page_token": str(first + most)} if first + most < len(self._running) else {}
        return web.json_response({"runs": [self._told(run) for run in chosen], **more})

    async def experiments(self, _request: web.Request) -> web.Response:
        return web.json_response({"experiments": [{"experiment_id": "1"}]})

    async def history(self, request: web.Request) -> web.Response:
        name, now = request.query["metric_key"], int(time.time() * 1000)
        points = [{"key": name, "value": METRICS[name], "step": step, "timestamp": now} for step in range(100)]
        return web.json_response({"metrics": points})

    async def artifacts(self, _request: web.Request) -> web.Response:
        return web.json_response({"files": [{"path": "model.json", "is_dir": False, "file_size": "512"}]})

    async def no_model(self, _request: web.Request) -> web.Response:
        return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}, status=404)

    def _told(self, run: str) -> dict[str, object]:
        now = int(time.time() * 1000)
        metrics = [{"key": key, "value": value, "step": 100, "timestamp": now} for key, value in METRICS.items()]
        tags = {"gamma.job": run.removeprefix("run-"), "gamma.attempt": "1", "mlflow.runName": "models/idea a1b2c3d"}
        return {
            "info": {
                "run_id": run,
                "experiment_id": "1",
                "status": "RUNNING" if run in self._running else "FINISHED",
                "start_time": now - 600_000,
                "lifecycle_stage": "active",
                "artifact_uri": f"s3://mlflow/1/{run}/artifacts",
            },
            "data": {
                "metrics": metrics,
                "params": [{"key": "lr", "value": "0.1"}],
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            },
        }
