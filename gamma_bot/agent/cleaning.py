"""Makes text fit to be shown to a model: without secrets, and without characters that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

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

_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
# A line of base64, whatever a logger wrote before it, a header of an old key, or nothing.
_KEY_BODY = re.compile(
    r"^\s*(?:[A-Za-z0-9+/=]+\s*)?$|(?<![A-Za-z0-9+/=])[A-Za-z0-9+/=]{30,}\s*$|\b(?:Proc-Type|DEK-Info):"
)


def clean(text: str, secrets: Collection[str] = ()) -> str:
    """The text as a reader would see it, without secrets.

    Args:
        secrets: values that are configured here.
    """
    # What is not seen goes first: a zero-width space inside a token would hide it from the patterns.
    seen = _NOT_SEEN.sub("", _HTML_COMMENT.sub("", _ANSI.sub("", text)))
    seen = redacted(unicodedata.normalize("NFC", seen), secrets)
    return _CALLED_SECRET.sub(_secret_value, seen)


def clean_lines(lines: Iterable[str], secrets: Collection[str] = ()) -> list[str]:
    """Lines of a log, each as ``clean`` makes it; a private key that was printed goes over many of them.

    An HTML comment that is not closed hides the rest of its line only: a log must not end where somebody likes.
    """
    found: list[str] = []
    in_key = False
    for line in lines:
        begins, ends = "-----BEGIN " in line and "PRIVATE KEY-----" in line, _KEY_ENDS.search(line)
        if in_key and not begins and (ends or _KEY_BODY.search(line)):
            in_key = not ends
            continue
        in_key = begins and not ends
        if ends and not begins:  # its beginning is further up than the log goes
            while found and _KEY_BODY.search(found[-1]):
                found.pop()
            continue
        found.append(clean(line, secrets))
    return found


def _secret_value(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    harmless = _NO_PASSWORD if re.search("(?i)passw|secret", name) else _NO_KEY
    return match[0] if harmless.fullmatch(value) else f"{name}{REDACTED}"
