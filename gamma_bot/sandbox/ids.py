"""Ids and times in the form that GitHub writes them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

NO_COMMIT = "0" * 40
"""What a push carries as ``before`` of a new branch and as ``after`` of a deleted one."""


def iso_time(seconds: float) -> str:
    """The time as GitHub's API writes it: UTC, whole seconds, ``Z``."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(prefix: str, number: int) -> str:
    """An opaque global id in the look of GitHub's new ones, such as ``CR_kwDOABCD``."""
    return f"{prefix}_{base64.urlsafe_b64encode(b'kDO' + number.to_bytes(8, 'big')).decode().rstrip('=')}"
