"""CloudWatch Logs: what a container prints, line by line, and the search by prefix that moto leaves out."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT, Call
from gamma_bot.sandbox.aws.errors import Answer, Refused, json_answer

GROUP = "/aws/sagemaker/TrainingJobs"
_LONGEST_MESSAGE = 256 * 1024


class LogWriter:
    """One log stream of a training job."""

    def __init__(self, region: str, stream: str, lock: threading.Lock) -> None:
        self._region, self._stream, self._lock = region, stream, lock
        with lock:
            _backend(region).ensure_log_group(GROUP)
            _backend(region).ensure_log_stream(GROUP, stream)

    def write(self, lines: list[str]) -> None:
        """Write lines as they came; CloudWatch knows no empty messages, so empty lines are left out."""
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line[:_LONGEST_MESSAGE]} for line in lines if line.strip()]
        if events:
            # moto's streams number their events without a lock.
            with self._lock:
                _backend(self._region).put_log_events(GROUP, self._stream, events)


def narrowed_search(call: Call, environ: dict[str, Any]) -> Answer | None:
    """Let FilterLogEvents respect ``logStreamNamePrefix``, which moto ignores; an answer when moto need not be asked.

    Raises:
        Refused: the search names both streams and a prefix.
    """
    asked = dict(call.parameters)
    prefix = asked.pop("logStreamNamePrefix", None)
    # Interleaving is what CloudWatch always does today; the parameter is without effect there.
    asked["interleaved"] = True
    if prefix is not None:
        if asked.get("logStreamNames"):
            message = "logStreamNamePrefix and logStreamNames cannot be specified together"
            raise Refused("InvalidParameterException", message)
        group = _backend(call.region).groups.get(str(asked.get("logGroupName")))
        if group is not None:
            asked["logStreamNames"] = [name for name in list(group.streams) if name.startswith(prefix)]
            if not asked["logStreamNames"]:
                return json_answer({"events": [], "searchedLogStreams": []})
    body = json.dumps(asked).encode()
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
    return None


def _backend(region: str) -> Any:
    from moto.logs.models import logs_backends

    return logs_backends[ACCOUNT][region]
