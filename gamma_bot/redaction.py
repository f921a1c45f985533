"""Takes secrets out of text: every form of a GitHub token, private keys, passwords in addresses, configured values.

It lies below everything, so that logs, stored errors and words for people share one list. A token of 40 hexadecimal
digits, as GitHub made them before 2021, can't be told from a commit and is found by its ``Authorization:`` only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, MutableMapping
from typing import Any

REDACTED = "[redacted]"

# Shorter values would take ordinary words out of every line ("gamma", "postgres").
SHORTEST_SECRET = 8

# An ordinary line has none of these, and is spared the patterns.
_SIGNS = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "v1.", "eyJ", "://", "-----BEGIN"),
    *("uthorization", "UTHORIZATION", "token=", "secret="),
)

_PATTERNS = (
    # A key that was cut off in the middle has no END line: then the rest of the text goes.
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    # Classic tokens by kind; an installation's may hold a JWT ("ghs_<app>_<header>.<claims>.<signature>").
    (re.compile(r"gh[opsur]_[A-Za-z0-9_.-]{15,}[A-Za-z0-9_-]"), REDACTED),
    (re.compile(r"github_pat_[A-Za-z0-9_]{16,}"), REDACTED),
    (re.compile(r"\bv1\.[0-9a-f]{40,}\b"), REDACTED),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    # "Authorization: Bearer x", also as an item of a dict or of JSON inside JSON.
    (
        re.compile(
            r"(authorization[\"'\\]*\s*[:=]\s*[\"'\\]*(?:(?:basic|bearer|token)\s+)?)[^\s\"'\\,}]+", re.IGNORECASE
        ),
        rf"\g<1>{REDACTED}",
    ),
    # name:password@ in an address: x-access-token's, a database's, a tracking server's.
    (re.compile(r"(://[^\s/:@\"']*:)[^\s/\"']+(?=@)"), rf"\g<1>{REDACTED}"),
    # The address that a download is redirected to carries its own permission.
    (re.compile(r"([?&](?:access_token|token|client_secret)=)[^&\s\"'<>]+"), rf"\g<1>{REDACTED}"),
)


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """The text without secrets.

    Args:
        secrets: values that are configured here; those of fewer than ``SHORTEST_SECRET`` characters are left.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET and secret in text:
            text = text.replace(secret, REDACTED)
    if not any(sign in text for sign in _SIGNS):
        return text
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


class RedactLines:
    """structlog's last processor: takes secrets out of the finished line, whatever brought them there."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, _logger: Any, _method: str, line: str | MutableMapping[str, Any]) -> str:
        return redacted(str(line), self._secrets)
