"""What MLflow's refusals mean, in plain words without SQL and without secrets."""

from __future__ import annotations

import json
import re

from gamma_bot.tracking.runs import TrackingError

_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_DRIVER = re.compile(r"\s*(?:Error: )?\(\w+(?:\.\w+)+\)\s*")
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
_LONGEST = 300


class NotFound(TrackingError):
    """MLflow has no such run or experiment: it was deleted for good, or belongs to another store."""


class NameTaken(TrackingError):
    """What was to be created is there already: somebody else was faster."""


def refusal(status: int, body: str, where: str, host: str) -> TrackingError:
    """The answer of an MLflow server that is not a success.

    Args:
        where: the server's address without credentials.
        host: the Host header that was sent.
    """
    code, message = _error_in(body)
    if code:
        return by_code(code, message, where)
    if "Invalid Host header" in body:
        # The commonest mis-setup: MLflow accepts only localhost and private addresses until it is told its name.
        return TrackingError(
            f'MLflow at {where} answered 403 "Invalid Host header": it does not accept the name {host}. '
            f"Start it with --allowed-hosts {host} or set MLFLOW_SERVER_ALLOWED_HOSTS={host} there."
        )
    match status:
        case 401 | 403:
            advice = "Put name and password into GAMMA_MLFLOW_TRACKING_URI (https://name:password@host), or check them."
        case 404 | 405:
            advice = "Check the path in GAMMA_MLFLOW_TRACKING_URI; the API is expected below it at /api/2.0/mlflow."
        case _ if 300 <= status < 400:
            advice = "Write the address it redirects to into GAMMA_MLFLOW_TRACKING_URI, or let Gamma past the login."
        case _ if status >= 500:
            advice = "See the server's log; Gamma tries again."
        case _:
            advice = "Check GAMMA_MLFLOW_TRACKING_URI and what stands in front of the server."
    said = "" if body.lstrip().startswith("<") else plain(body)
    return TrackingError(f"MLflow at {where} answered {status}{f' ({said})' if said else ''}. {advice}")


def by_code(code: str, message: str, where: str) -> TrackingError:
    """A refusal that MLflow itself named, over the network or in this process."""
    if code == "RESOURCE_ALREADY_EXISTS":
        return NameTaken(f"MLflow at {where} has this name already.")  # the message holds the SQL statement
    said = plain(message)
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound(f"MLflow at {where} does not have it: {said}.")
    if "unsupported URI" in said:
        advice = (
            'Install it with pip install "gamma-bot[sagemaker]".'
            if where.startswith("arn:")
            else "Use sqlite:, postgresql: or http(s):."
        )
        return TrackingError(f"MLflow can't use the tracking URI {where}. {advice}")
    if "out-of-date database schema" in said:
        return TrackingError(
            f"MLflow's database at {where} was made by an older MLflow. Back it up, then run: mlflow db upgrade {where}"
        )
    if "Can't locate revision" in message:
        return TrackingError(
            f"MLflow's database at {where} was made by a newer MLflow. Install that version, or name another database."
        )
    if "database is locked" in message:
        return TrackingError(f"MLflow's database at {where} is held by another process. Gamma tries again.")
    return TrackingError(f"MLflow at {where} refused: {said or code}.")


def plain(text: str) -> str:
    """One short line of a message: no SQL statement, no parameters, no class names, no credentials."""
    text = text.partition("[SQL")[0].partition("(Background on")[0].strip()
    before, *after = _DRIVER.split(text, maxsplit=1)
    line = next(iter((before or " ".join(after)).strip().splitlines()), "")
    line = _ERRNO.sub("", _USERINFO.sub("", " ".join(line.split()))).rstrip(". ")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _error_in(body: str) -> tuple[str, str]:
    try:
        answer = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(answer, dict) or not isinstance(answer.get("error_code"), str):
        return "", ""
    return answer["error_code"], str(answer.get("message", ""))
