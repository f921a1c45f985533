"""A refusal of AWS, and how it looks on the wire in each of the protocols that AWS speaks."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from xml.sax.saxutils import escape


class Refused(Exception):
    """AWS says no: an error code, a message and the HTTP status that goes with them."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def invalid(message: str) -> Refused:
    return Refused("ValidationException", message)


def json_answer(body: object, status: int = 200, *, content_type: str = "application/x-amz-json-1.1") -> Answer:
    headers = (("Content-Type", content_type), ("x-amzn-RequestId", str(uuid.uuid4())))
    return Answer(status, json.dumps(body).encode(), headers)


# The same refusal has another name in services with an older protocol.
_QUERY_CODES = {"AccessDeniedException": "AccessDenied", "ThrottlingException": "Throttling"}
_QUERY_CODES |= {"ExpiredTokenException": "ExpiredToken"}
_S3_CODES = _QUERY_CODES | {"ThrottlingException": "SlowDown"}
_S3_MESSAGES = {
    "AccessDenied": "Access Denied",
    "SlowDown": "Please reduce your request rate.",
    "ExpiredToken": "The provided token has expired.",
}
_S3_STATUS = {"AccessDenied": 403, "SlowDown": 503}


def refusal(error: Refused, protocol: str) -> Answer:
    """The answer that a client of this protocol (``json``, ``query`` or ``rest-xml``) understands as ``error``."""
    request_id = str(uuid.uuid4())
    if protocol == "rest-xml":
        code = _S3_CODES.get(error.code, error.code)
        message = _S3_MESSAGES.get(code, error.message)
        text = (
            f"<Error><Code>{code}</Code><Message>{escape(message)}</Message><RequestId>{request_id}</RequestId></Error>"
        )
        return Answer(_S3_STATUS.get(code, error.status), text.encode(), (("Content-Type", "application/xml"),))
    if protocol == "query":
        code = _QUERY_CODES.get(error.code, error.code)
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(error.message)}</Message>"
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        status = 403 if code == "AccessDenied" else error.status
        return Answer(status, text.encode(), (("Content-Type", "text/xml"),))
    return json_answer({"__type": error.code, "message": error.message, "Message": error.message}, error.status)
