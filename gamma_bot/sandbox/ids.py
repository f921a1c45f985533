"""Ids and times in the form that GitHub writes them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})")

NO_COMMIT = "0" * 40
"""What a push carries as ``before`` of a new branch and as ``after`` of a deleted one."""


def iso_time(seconds: float) -> str:
    """The time as GitHub's API writes it: UTC, whole seconds, ``Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(written: object) -> str | None:
    """A date and time with its zone (RFC 3339) as GitHub writes it; None if it is not one."""
    if not isinstance(written, str) or not _RFC_3339.fullmatch(written):
        return None
    try:
        return iso_time(datetime.fromisoformat(written.upper()).timestamp())
    except ValueError:  # the 31st of February
        return None


def node_id(prefix: str, number: int) -> str:
    """An opaque global id in the look of GitHub's new ones, such as ``CR_kwDOABCD``."""
    return f"{prefix}_{base64.urlsafe_b64encode(b'kDO' + number.to_bytes(8, 'big')).decode().rstrip('=')}"
