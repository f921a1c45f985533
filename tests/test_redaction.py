"""No secret in a log, an error or a comment: every form that GitHub's tokens have, keys, passwords, own values."""

from __future__ import annotations

import io
import json
import traceback
from functools import partial
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from gamma_bot.github.errors import Forbidden
from gamma_bot.jobs.engine import Values
from gamma_bot.jobs.patience import careful
from gamma_bot.redaction import REDACTED, RedactLines, redacted
from gamma_bot.settings import Settings
from gamma_bot.store.database import Database
from gamma_bot.store.inbox import Delivery, Inbox
from gamma_bot.tracking.runs import TrackingError

BODY = "16C7e42F292c6912E7710c838347Ae178B4a"
JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MzI0MDAwMDAsImlzcyI6IjEyMyJ9.c2lnbmF0dXJl-_YQ"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq83vEjRWeJq\n-----END RSA PRIVATE KEY-----"

SECRETS = {
    **{f"a gh{kind}_ token": f"gh{kind}_{BODY}" for kind in "pousr"},
    "a stateless installation token": f"ghs_123456_{JWT}",
    "a fine-grained token": f"github_pat_11ABCDEFG0{BODY}_{BODY}",
    "an installation token of old": "v1.1f699f1069f60xxx".replace("xxx", "a" * 27),
    "an App's JWT": JWT,
    "a JWT that was cut off": JWT[:80],
    "a private key": PEM,
    "a private key in one line": PEM.replace("\n", "\\n"),
    "a private key of another kind": PEM.replace("RSA ", ""),
    "a private key that was cut off": PEM[:60],
    "a key of Anthropic": f"sk-ant-api03-{BODY}-{BODY}",
    "an AWS key": "AKIA16C7MIIEQ2GZ5K7L",
    "a temporary AWS key": "ASIAMIIEQ2GZ5K7LTUVW",
    "a token of Slack": f"xoxb-123456789012-{BODY}",
    "a webhook of Slack": f"https://hooks.slack.com/services/T01/B02/{BODY}",
    "a token of Hugging Face": f"hf_{BODY}",
    "a value that is called a secret": f"AWS_SECRET_ACCESS_KEY={BODY}",
    "a value in YAML": f"api_key: '{BODY}'",
    "a value in JSON": json.dumps({"db_password": BODY}),
    "a value in JSON in JSON": json.dumps(json.dumps({"clientSecret": BODY})),
}
# A line, the part of it that must go, and the line that is left.
LINES = [
    ("Authorization: token 0123456789abcdef", "Authorization: token [redacted]"),
    ("authorization: Bearer abc.def", "authorization: Bearer [redacted]"),
    ("AUTHORIZATION=Basic eC1hY2Nlc3M=", "AUTHORIZATION=Basic [redacted]"),
    ("{'Authorization': 'token 0123456789abcdef', 'a': 1}", "{'Authorization': 'token [redacted]', 'a': 1}"),
    (r'"{\"Authorization\": \"Bearer abc\"}"', r'"{\"Authorization\": \"Bearer [redacted]\"}"'),
    ("https://x-access-token:hunter22@github.com/ada/walker.git", "https://x-access-token:[redacted]@github.com/ada/walker.git"),
    ("postgresql://gamma:p%40ss@db:5432/gamma", "postgresql://gamma:[redacted]@db:5432/gamma"),
    ("https://codeload/x/legacy.tar.gz/main?token=ABCD&y=1", "https://codeload/x/legacy.tar.gz/main?token=[redacted]&y=1"),
    ("GET /a?access_token=abc", "GET /a?access_token=[redacted]"),
]  # fmt: skip
HARMLESS = [
    "PATCH /repos/ada/walker/check-runs/12 answered 403: Resource not accessible by integration",
    "checked out 16c7e42f292c6912e7710c838347ae178b4a0123 of ada/walker",
    "listens on http://127.0.0.1:8080, page http://127.0.0.1:8080/jobs/ab@cd",
    "token_count: 12, tokens=512, authorization failed",
    "v1.2.3 of the App; high_score ghost_ship eyJ",
    "max_tokens=4096, token = tokenizer.pad_token_id, password: str, secret_name=gamma/github-app",
    "token=bert-base-uncased-v2, cache_key=16c7e42f292c6912e7710c838347ae178b4a0123, key: train/loss_epoch_10",
    "api_key=os.environ['API_KEY'], pwd: /home/ada2/projects/walker-2024/train, tokens: 1500000",
    "sk-learn-1.5, risk-adjusted-return-of-the-policy, hf_hub_download, AKIA, ASIAN",
]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("line", ["{}", "Bad credentials: {}", "('{}',)", 'said "{}" to https://api.github.com'])
def test_every_form_of_a_secret_goes(secret: str, line: str) -> None:
    found = redacted(line.format(secret))

    assert REDACTED in found
    assert not any(part in found for part in (BODY, JWT[:40], "MIIE", "1f699f")), found
    assert found.startswith(line.partition("{}")[0]), "and nothing that stands before it"


@pytest.mark.parametrize(("line", "left"), LINES)
def test_where_a_secret_stands_in_something_the_rest_stays(line: str, left: str) -> None:
    assert redacted(line) == left
    assert redacted(left) == left, "twice is as good as once"


@pytest.mark.parametrize("line", HARMLESS)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert redacted(line, ("hunter22", "gamma")) == line


def test_what_is_configured_goes_wherever_it_stands_unless_it_is_a_word() -> None:
    secrets = ("correct horse battery", "gamma")

    assert redacted("signed with correct horse battery by gamma", secrets) == f"signed with {REDACTED} by gamma"


def test_an_error_of_github_is_made_without_secrets() -> None:
    error = Forbidden(403, f"proxy refused Authorization: token ghs_{BODY}", f"GET /x?token=ghs_{BODY}")

    assert BODY not in str(error) + repr(error) + "".join(traceback.format_exception(error))


def test_every_secret_that_can_be_configured_is_known() -> None:
    settings = Settings(
        _env_file=None,
        database_url="postgresql://gamma:secret-of-db@db/gamma",
        mlflow_tracking_uri="https://me:secret-of-mlflow@mlflow",
        github_webhook_secret=SecretStr("secret-of-hook, the-next-one"),
        github_client_secret=SecretStr("secret-of-client"),
        anthropic_api_key=SecretStr("secret-of-claude"),
    )
    told = redacted(" ".join(str(value) for value in settings.secrets), settings.secrets)

    assert told == " ".join([REDACTED] * 6)


async def test_neither_the_store_nor_a_report_keeps_what_an_error_gives_away(tmp_path: Path) -> None:
    redact = partial(redacted, secrets=["hunter22-hunter22"])
    database = Database(f"sqlite:///{tmp_path / 'gamma.db'}")
    database.create_tables()
    inbox = Inbox(database, redact=redact)
    await inbox.offer(Delivery("guid", "push", b"{}", 0.0))
    (stored,) = await inbox.waiting()
    await inbox.failed(stored.seq, f"ValueError: hunter22-hunter22 and ghs_{BODY}", again_in_seconds=None)
    kept = await inbox.find("guid")
    inbox.close()
    database.close()

    async def look() -> Values:
        raise TrackingError(f"https://me:hunter22-hunter22@mlflow answered: no hunter22-hunter22 here, nor {JWT}")

    shown = await careful(look, 0.0, redact)()

    assert kept is not None
    assert kept.result == f"ValueError: {REDACTED} and {REDACTED}"
    assert shown["failed"] == f"https://me:{REDACTED}@mlflow answered: no {REDACTED} here, nor {REDACTED}."


@pytest.mark.parametrize("renderer", [structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)])
def test_no_log_line_has_a_secret_not_even_in_a_traceback(renderer: structlog.typing.Processor) -> None:
    stream = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.processors.format_exc_info, renderer, RedactLines(["hunter22-hunter22"])],
    )
    try:
        raise ValueError(f"refused: {PEM}")
    except ValueError:
        log.exception("failed", headers={"Authorization": f"token ghs_{BODY}"}, secret="hunter22-hunter22")
    written = stream.getvalue()

    assert "failed" in written
    assert "ValueError" in written
    assert not any(secret in written for secret in (BODY, "MIIE", "hunter22"))
    if isinstance(renderer, structlog.processors.JSONRenderer):
        assert json.loads(written)["headers"] == {"Authorization": f"token {REDACTED}"}
