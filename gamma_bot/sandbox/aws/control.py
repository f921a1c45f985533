"""The control API under /_gamma/: how a test plans faults, moves frozen jobs and reads what was asked of AWS."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

from gamma_bot.sandbox.aws.errors import Answer, Refused, json_answer
from gamma_bot.sandbox.aws.faults import CALL_KINDS, JOB_KINDS, WORLD_KINDS
from gamma_bot.sandbox.aws.job import STATUS_OF, TrainingJob
from gamma_bot.sandbox.aws.world import World

_EVENTS_SECONDS = 30.0


class Control:
    """Answers the control API. Every body is JSON, both ways."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, environ: dict[str, Any], path: str) -> Answer:
        method = environ["REQUEST_METHOD"]
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            return json_answer(
                self._told(method, path, query, json.loads(body or b"{}")), content_type="application/json"
            )
        except (KeyError, ValueError) as error:
            return json_answer({"error": str(error)}, 400)
        except Refused as refused:
            return json_answer({"error": str(refused)}, 409)

    def _told(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> object:
        world = self._world
        match method, path:
            case "GET", "calls":
                wanted = query.get("action", "*")
                return [call for call in world.calls.listed() if fnmatchcase(call["action"], wanted)]
            case "DELETE", "calls":
                world.calls.clear()
            case "GET", "faults":
                return world.faults.listed()
            case "GET", "kinds":
                return CALL_KINDS | JOB_KINDS | WORLD_KINDS
            case "POST", "faults":
                return world.faults.plan(body).told()
            case "DELETE", "faults":
                world.faults.remove(int(query["id"]) if "id" in query else None)
            case "GET", "jobs":
                return world.told()
            case "POST", "jobs":
                return {"created": self._create(body)}
            case "POST", "move":
                return {"moved": self._move(body)}
            case "POST", "interrupt":
                self._interrupt(str(body["job"]))
            case "POST", "settle":
                return {"settled": world.events.settled(float(body.get("seconds", _EVENTS_SECONDS)))}
            case "POST", "reset":
                world.reset()
            case _:
                raise ValueError(f"no such thing: {method} {path}")
        return {}

    def _create(self, body: dict[str, Any]) -> int:
        """Many frozen jobs at once, as CreateTrainingJob would make them, without its checks."""
        requests = body["requests"]
        with self._world.lock:
            for request in requests:
                job = TrainingJob(request, str(body.get("region", "us-east-1")))
                self._world.add(job, frozen=True)
                if body.get("state", "Starting") != "Starting":
                    self._world.move(job, str(body["state"]))
        return len(requests)

    def _move(self, body: dict[str, Any]) -> int:
        """Bring frozen jobs to a state: those named, or all whose name matches ``job``."""
        to = str(body["to"])
        if to not in STATUS_OF:
            raise ValueError(f"unknown state {to!r}; known: {', '.join(STATUS_OF)}")
        names, pattern, most = body.get("jobs"), str(body.get("job", "*")), body.get("most")
        with self._world.lock:
            if names is not None:
                wanted = set(names)
                chosen = [job for job in self._world.jobs.values() if job.name in wanted]
            else:
                chosen = [job for job in self._world.jobs.values() if fnmatchcase(job.name, pattern)]
            chosen = [job for job in chosen if job.frozen and not job.over][: most if most is not None else None]
            for job in chosen:
                job.fail(body.get("failure_reason"))
                job.bill(body.get("training_seconds"), body.get("billable_seconds"))
                self._world.move(job, to, str(body.get("message", "")))
        return len(chosen)

    def _interrupt(self, name: str) -> None:
        """Take a running spot job's machines away."""
        with self._world.lock:
            for job in self._world.jobs.values():
                if job.name == name and job.spot:
                    job.interruption = True
                    job.wake.set()
                    return
        raise ValueError(f"no spot job of the name {name}")
