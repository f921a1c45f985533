"""Takes secrets out of text: tokens of GitHub and of other services, private keys, passwords, configured values.

It lies below everything, so that logs, stored errors and words for people share one list. A token of 40 hexadecimal
digits, as GitHub made them before 2021, can't be told from a commit and is found by its ``Authorization:`` only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, MutableMapping
from typing import Any

REDACTED = "[redacted]"

# Shorter values would take ordinary words out of every line ("gamma", "postgres").
SHORTEST_SECRET = 8

# An ordinary line has none of these, and is spared the patterns.
_SIGNS = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "v1.", "eyJ", "://", "-----BEGIN"),
    *("uthorization", "UTHORIZATION", "token=", "secret="),
    *("sk-", "AKIA", "ASIA", "xox", "xapp-", "hooks.slack.com", "hf_", "AIza", "glpat-"),
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
    # What training code talks to: Anthropic and others, AWS, Slack, Hugging Face, Google, GitLab.
    (re.compile(r"\bsk-(?:[a-z]+[0-9]*-){0,3}[A-Za-z0-9_-]{20,}"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (re.compile(r"\b(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}"), REDACTED),
    (re.compile(r"(hooks\.slack\.com/[a-z]+/)[A-Za-z0-9/_-]+"), rf"\g<1>{REDACTED}"),
    (re.compile(r"\b(?:hf_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{35}|glpat-[A-Za-z0-9_-]{20,})"), REDACTED),
)

# What is called a secret, and looks like one: "AWS_SECRET_ACCESS_KEY=x", "api_key: 'x'", '"password": "x"'. A plain
# "key" is none: caches, metrics and files have keys too.
_CALLED_SECRET = re.compile(
    r"((?:token|secret|passw(?:or)?d|passwd|pwd|credential"
    r"|(?:api|access|secret|private|account|auth|signing|encryption|master|client|shared)[_. -]?key)s?"
    r"[\"'\\]{0,3}\s{0,3}[=:]\s{0,3}[\"'\\]{0,3})([A-Za-z0-9_+/=.~!@#$%^&*-]{12,})",
    re.IGNORECASE,
)
_PIECE = re.compile("[A-Za-z0-9]{12,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RANDOM_BITS = 2.9  # per character; sixteen hexadecimal digits have about 3.3, words and counters less


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """The text without secrets.

    Args:
        secrets: values that are configured here; those of fewer than ``SHORTEST_SECRET`` characters are left.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET and secret in text:
            text = text.replace(secret, REDACTED)
    if any(sign in text for sign in _SIGNS):
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
    return _CALLED_SECRET.sub(lambda match: match[1] + REDACTED if _is_random(match[2]) else match[0], text)


def _is_random(value: str) -> bool:
    """Whether some unbroken piece of the value has letters and digits in no order: names of models and files do not."""
    for piece in _PIECE.findall(value):
        counts = Counter(piece).values()
        bits = -sum(count / len(piece) * math.log2(count / len(piece)) for count in counts)
        if bits >= _RANDOM_BITS and re.search("[A-Za-z]", piece) and re.search("[0-9]", piece):
            return True
    return False


class RedactLines:
    """structlog's last processor: takes secrets out of the finished line, whatever brought them there."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._secrets = tuple(secrets)

    def __call__(self, _logger: Any, _method: str, line: str | MutableMapping[str, Any]) -> str:
        return redacted(str(line), self._secrets)
