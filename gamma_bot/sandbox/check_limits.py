"""What GitHub refuses in a check run: too long, too many, or of the wrong kind."""

from __future__ import annotations

from typing import Any

from gamma_bot.sandbox.call import invalid, invalid_request
from gamma_bot.sandbox.ids import moment_of

MAXIMUM_TEXT = 65_535
MAXIMUM_ANNOTATIONS = 50
MAXIMUM_ACTIONS = 3
ACTION_LIMITS = {"label": 20, "description": 40, "identifier": 20}
ANNOTATION_LIMITS = {"message": 65_536, "title": 255, "raw_details": 65_536}
LEVELS = ("notice", "warning", "failure")
STATUSES = ("queued", "in_progress", "completed")
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out")


def check_limits(body: dict[str, Any]) -> None:
    """Refuse what GitHub refuses, before anything changes.

    Raises:
        ApiError: 422.
    """
    status, conclusion = body.get("status"), body.get("conclusion")
    if status is not None and status not in STATUSES:
        raise invalid_request(f"For 'properties/status', {status!r} is not a member of {list(STATUSES)}.")
    if conclusion is not None and conclusion not in CONCLUSIONS:
        raise invalid_request(f"For 'properties/conclusion', {conclusion!r} is not a member of {list(CONCLUSIONS)}.")
    if conclusion is None and (status == "completed" or body.get("completed_at")):
        raise invalid_request('Missing required keys "conclusion" for a completed check run.')
    for key in ("started_at", "completed_at"):
        if body.get(key) is not None and moment_of(body[key]) is None:
            raise invalid_request(f"For 'properties/{key}', {body[key]!r} is not a valid date-time.")
    output = body.get("output")
    if output is not None:
        _check_output(output)
    actions = body.get("actions") or []
    if len(actions) > MAXIMUM_ACTIONS:
        raise invalid_request(f"No more than {MAXIMUM_ACTIONS} items are allowed; {len(actions)} were supplied.")
    for action in actions:
        for key, limit in ACTION_LIMITS.items():
            _check_length(f"actions/{key}", action.get(key), limit)


def _check_output(output: dict[str, Any]) -> None:
    for key in ("title", "summary"):
        if not isinstance(output.get(key), str):
            raise invalid_request(f'Missing required keys "{key}" in object for "output".')
    for key in ("summary", "text"):
        if output.get(key) is not None:
            _check_length(f"output/{key}", output[key], MAXIMUM_TEXT)
    annotations = output.get("annotations") or []
    if len(annotations) > MAXIMUM_ANNOTATIONS:
        message = f"No more than {MAXIMUM_ANNOTATIONS} items are allowed; {len(annotations)} were supplied."
        raise invalid_request(message)
    for note in annotations:
        _check_annotation(note)


def _check_annotation(note: dict[str, Any]) -> None:
    missing = [key for key in ("path", "start_line", "end_line", "annotation_level", "message") if key not in note]
    if missing:
        raise invalid_request(f'Missing required keys "{missing[0]}" in object for "annotations".')
    for key in ("start_line", "end_line", "start_column", "end_column"):
        value = note.get(key)
        # JSON's true is Python's 1.
        if (value is not None or key.endswith("line")) and (isinstance(value, bool) or not isinstance(value, int)):
            raise invalid_request(f"For 'properties/{key}', {value!r} is not an integer.")
    if note["annotation_level"] not in LEVELS:
        raise invalid_request(f"For 'properties/annotation_level', {note['annotation_level']!r} is not a member.")
    for key, limit in ANNOTATION_LIMITS.items():
        if note.get(key) is not None or key == "message":
            _check_length(f"annotations/{key}", note[key], limit)
    if note.get("start_column") is not None and note["start_line"] != note["end_line"]:
        raise invalid("CheckAnnotation", "start_column", "invalid", "only annotations of one line have columns")


def _check_length(where: str, value: object, limit: int) -> None:
    if not isinstance(value, str):
        raise invalid_request(f"For 'properties/{where}', {value!r} is not a string.")
    if len(value) > limit:
        raise invalid_request(f"For '{where}', only {limit} characters are allowed; {len(value)} were supplied.")
