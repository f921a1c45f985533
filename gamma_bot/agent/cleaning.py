"""Makes text fit to be shown to a model: without secrets, and without characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from gamma_bot.redaction import REDACTED, redacted

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Control characters but tab and line feed; marks that join, hide or reverse; fillers; tags; variation selectors.
_NOT_SEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)

# Beside what is redacted everywhere, which is random: whatever is called a secret. A prompt can do without a word more
# than a log can.
_CALLED_SECRET = re.compile(
    r"((?:secret|token|passw(?:or)?d|api_?key|access_?key|private_?key|credential)[\w.-]{0,60}[\"'\\]*\s*[:=]\s*[\"'\\]*)"
    r"([^\s\"'\\,;)}\][]{8,})",
    re.IGNORECASE,
)
# `max_tokens: 4096`, `token = tokenizer.pad` and `key=os.environ[...]` are no secrets, and are what a diff is about.
_CODE = r"\w+[.(].*|\$.*|<.*|true|false|none|null"
_NO_PASSWORD = re.compile(_CODE, re.IGNORECASE)
_NO_KEY = re.compile(rf"{_CODE}|[a-z_]+|[\d.]+", re.IGNORECASE)


def clean(text: str, secrets: Collection[str] = ()) -> str:
    """The text as a reader would see it, without secrets.

    Args:
        secrets: values that are configured here.
    """
    # What is not seen goes first: a zero-width space inside a token would hide it from the patterns.
    seen = _NOT_SEEN.sub("", _HTML_COMMENT.sub("", _ANSI.sub("", text)))
    seen = redacted(unicodedata.normalize("NFC", seen), secrets)
    return _CALLED_SECRET.sub(_secret_value, seen)


def _secret_value(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    harmless = _NO_PASSWORD if re.search("(?i)passw|secret", name) else _NO_KEY
    return match[0] if harmless.fullmatch(value) else f"{name}{REDACTED}"
