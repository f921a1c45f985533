"""The proof that a webhook comes from GitHub."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

_PREFIX = "sha256="


def is_signed_by(body: bytes, header: str, secrets: Sequence[bytes]) -> bool:
    """Whether ``X-Hub-Signature-256`` is the HMAC-SHA256 of the body under one of the secrets.

    Two secrets are valid while one is being rotated out. The comparison takes the same time wherever the first
    difference is, and every secret is tried.

    Source: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    """
    if not header.startswith(_PREFIX):
        return False
    # compare_digest refuses non-ASCII text with a TypeError; bytes it always compares.
    given = header[len(_PREFIX) :].encode("utf-8", "surrogateescape")
    valid = False
    for secret in secrets:
        expected = hmac.digest(secret, body, "sha256").hex().encode()
        valid |= hmac.compare_digest(expected, given)
    return valid
