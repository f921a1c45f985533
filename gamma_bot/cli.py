"""The ``gamma`` command: what a person types in a terminal.

Exit codes: 0 all is well, 1 something is wrong (it says what), 2 the command line itself is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from gamma_bot import __version__
from gamma_bot.lean_logging import structlog
from gamma_bot.price_commands import prices
from gamma_bot.redaction import RedactLines
from gamma_bot.settings import Settings, WrongSettings, with_stored_app

if TYPE_CHECKING:
    from gamma_bot.demo_stage import Executor
    from gamma_bot.store.inbox import DeliveryRecord, Inbox


def main() -> None:
    """Entry point of the ``gamma`` command."""
    gamma(prog_name="gamma")


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="gamma %(version)s")
def gamma() -> None:
    """Gamma: a push to a `models` branch trains, and GitHub shows how it went."""


@gamma.command(epilog=_examples("gamma demo", "gamma demo --exit", "gamma demo --executor sagemaker"))
@click.option("--exit", "leave", is_flag=True, help="End after the story: 0 if every step came out as expected.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port of the sandbox GitHub."
)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep everything here instead of a temporary folder.")
@click.option(
    "--executor",
    type=click.Choice(["local", "sagemaker", "actions"]),
    default="local",
    show_default=True,
    help="Where the jobs train; SageMaker and GitHub Actions are stand-ins on this machine.",
)
def demo(leave: bool, port: int, folder: Path | None, executor: Executor) -> None:
    """Play the whole story on this machine: a sandbox GitHub, the bot, MLflow, and a MuJoCo task.

    Needs no account, no key and no network. Afterwards it stays up for you to click and to push to.
    """
    from gamma_bot.demo import play

    _log_to_stderr(logging.ERROR)
    try:
        sys.exit(asyncio.run(play(leave=leave, port=port, folder=folder, executor=executor)))
    except KeyboardInterrupt:
        sys.exit(130 if leave else 0)


@gamma.command(
    epilog=_examples(
        "gamma serve",
        "GAMMA_PORT=9000 GAMMA_DATA_DIR=/var/lib/gamma gamma serve",
        "gamma serve --tunnel https://smee.example.com/a1b2c3",
    )
)
@click.option("--tunnel", metavar="URL", help="Take webhooks from this channel too: for a laptop without an address.")
def serve(tunnel: str | None) -> None:
    """Take webhooks and train. Everything is configured by GAMMA_… variables or a .env file."""
    settings = _settings_with_app()
    _log_to_stderr(logging.INFO, settings.secrets)
    if tunnel:
        settings = settings.model_copy(update={"tunnel_url": _web_address(tunnel, "--tunnel")})
    if settings.tunnel_url and not settings.webhook_secrets:
        raise click.ClickException("a tunnel needs GAMMA_GITHUB_WEBHOOK_SECRET: anybody can write into a channel")
    sys.exit(asyncio.run(_serve(settings)))


@gamma.command(
    epilog=_examples(
        "gamma setup --public-url https://gamma.example.com",
        "gamma setup --organization my-team --tunnel https://smee.example.com/a1b2c3",
        "gamma setup --github https://github.example.com --public-url https://gamma.example.com --print",
    )
)
@click.option("--organization", metavar="NAME", help="Create the App for this organisation instead of yourself.")
@click.option("--github", metavar="URL", help="GitHub's address; needed for Enterprise Server only.")
@click.option("--public-url", metavar="URL", help="Where GitHub reaches Gamma.  [default: GAMMA_PUBLIC_URL]")
@click.option("--tunnel", metavar="URL", help="Or the channel that `gamma serve --tunnel` will listen to.")
@click.option("--print", "show", is_flag=True, help="Print GAMMA_… lines for a secret store; store nothing here.")
@click.option("--force", is_flag=True, help="Replace the App that is stored in the data directory.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page on this machine.")
def setup(
    organization: str | None,
    github: str | None,
    public_url: str | None,
    tunnel: str | None,
    show: bool,
    force: bool,
    port: int,
) -> None:
    """Create Gamma's GitHub App: serves a page on this machine whose button does it on GitHub."""
    from gamma_bot.github.manifest import api_url_of, registration_url, web_url_of
    from gamma_bot.stored_app import StoredAppError, check_place

    settings = _settings()
    try:
        api_url = api_url_of(github) if github else settings.github_api_url
        registration_url(web_url_of(api_url), organization, "")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    home = _web_address(public_url, "--public-url") if public_url else settings.public_url
    channel = _web_address(tunnel, "--tunnel") if tunnel else (None if public_url else settings.tunnel_url)
    if not (home or channel):
        raise click.UsageError(
            "GitHub must know where to deliver webhooks: say --public-url https://gamma.example.com, "
            "or --tunnel URL with a channel's address."
        )
    try:
        if not show:
            check_place(settings.data_dir, force=force)
        asyncio.run(_setup(settings, api_url, organization, home, channel, show=show, force=force, port=port))
    except (StoredAppError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("ended before GitHub created the App") from None


@gamma.command(epilog=_examples("gamma validate", "gamma validate path/to/repository", "gamma validate gamma.yml"))
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=".")
def validate(path: Path) -> None:
    """Check a gamma.yml: every mistake with its line, and what to write instead."""
    from gamma_bot.validate import render_conclusion, render_problems, validate_tree

    checked = validate_tree(path)
    if checked.problems:
        click.echo(render_problems(checked))
    if checked.errors:
        count = len(checked.errors)
        click.echo(f"\n{count} problem{'s' if count > 1 else ''} found.", err=True)
        sys.exit(1)
    click.echo(render_conclusion(checked))


@gamma.command(epilog=_examples("gamma schema > gamma.schema.json"))
def schema() -> None:
    """Print the JSON Schema of gamma.yml, for editors that check and complete it."""
    from gamma_bot.config.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@gamma.command(epilog=_examples("gamma doctor"))
def doctor() -> None:
    """Look at everything Gamma needs, and say what is wrong and how to mend it."""
    from gamma_bot.doctor import Finding, examine

    def show(finding: Finding) -> None:
        mark = click.style("ok ", fg="green") if finding.well else click.style("BAD", fg="red")
        click.echo(f"  {mark}  {finding.name:<15} {finding.detail}")
        if not finding.well and finding.fix:
            click.echo(f"       {'':<15} → {finding.fix}")

    settings = _settings_with_app()
    _log_to_stderr(logging.ERROR, settings.secrets)
    well = asyncio.run(examine(settings, show))
    click.echo("All is well." if well else "Gamma can't do its work until this is mended.")
    sys.exit(0 if well else 1)


@gamma.command(epilog=_examples("gamma init", "gamma init ../my-model", "gamma init --config-only --executor actions"))
@click.argument("path", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--force", is_flag=True, help="Replace files that exist already.")
@click.option("--config-only", is_flag=True, help="Write nothing but a gamma.yml, for a script of your own.")
@click.option(
    "--executor",
    type=click.Choice(["local", "sagemaker", "actions"]),
    default="local",
    help="Where it is to train. actions: in the repository's own GitHub Actions; writes the workflow, too.",
)
def init(path: Path, force: bool, config_only: bool, executor: str) -> None:
    """Write a starter into a repository: a small MuJoCo task, its gamma.yml, and how to go on."""
    from gamma_bot.starter import StarterError, write_starter

    try:
        written = write_starter(path, force=force, config_only=config_only, executor=executor)
    except StarterError as error:
        raise click.ClickException(str(error)) from None
    for item in written:
        click.echo(f"  kept {item.path}" if item.kept else f"  wrote {item.path} ({item.size:,} bytes)")
    if config_only:
        click.echo("Next: name your script in gamma.yml and check it with `gamma validate`.")
    if not any((folder / ".git").exists() for folder in (path.resolve(), *path.resolve().parents)):
        click.echo("This folder is no Git repository yet: git init && git remote add origin URL")
    if executor == "actions":
        if not any(item.path == "gamma.yml" for item in written):
            click.echo("Your gamma.yml stays as it is: it needs `executor: actions` below `train:`.")
        click.echo("Next: commit this to the default branch: executor and workflow count as they are there.")
    if executor == "sagemaker":
        click.echo("Next: commit this to the default branch: executor, instances and image count as they are there.")
    click.echo("Next: git add -A && git commit -m 'Train with Gamma' && git push origin HEAD:models/main")


gamma.add_command(prices)


@gamma.group(
    epilog=_examples(
        "gamma deliveries list --state parked", "gamma deliveries show 2f6b", "gamma deliveries replay 2f6b"
    )
)
def deliveries() -> None:
    """The webhooks that were received, and what became of them."""


@deliveries.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--state", type=click.Choice(["stored", "done", "parked"]), help="Only deliveries in this state.")
def list_deliveries(limit: int, state: str | None) -> None:
    """The newest deliveries."""

    async def run() -> None:
        async with _inbox() as inbox:
            rows = await inbox.newest(limit, state=state)
        if not rows:
            click.echo("No deliveries." if state is None else f"No deliveries are {state}.")
        for row in rows:
            became = " ".join(filter(None, (_tries(row), row.result))).replace("\n", " ")
            click.echo(f"{_moment(row.received_at)}  {row.guid}  {row.event:<22} {row.state:<7} {became}")

    asyncio.run(run())


@deliveries.command("show")
@click.argument("guid")
def show_delivery(guid: str) -> None:
    """One delivery with its payload. The beginning of a GUID is enough."""

    async def run() -> None:
        async with _inbox() as inbox:
            row = await inbox.find(guid)
        if row is None:
            raise click.ClickException(_no_delivery(guid))
        click.echo(f"delivery  {row.guid}\nevent     {row.event}\nstate     {row.state} {_tries(row)}".rstrip(" :"))
        click.echo(
            f"result    {row.result or '–'}\nreceived  {_moment(row.received_at)}\nsize      {row.size:,} bytes\n"
        )
        try:
            click.echo(json.dumps(json.loads(row.body), indent=2, ensure_ascii=False))
        except ValueError:
            click.echo(row.body.decode("utf-8", "replace"))

    asyncio.run(run())


@deliveries.command("replay")
@click.argument("guid")
def replay_delivery(guid: str) -> None:
    """Handle a delivery once more. A push that has its job already starts no second one."""

    async def run() -> None:
        async with _inbox() as inbox:
            row = await inbox.find(guid)
            if row is None or not await inbox.replay(row.guid):
                raise click.ClickException(_no_delivery(guid))
        click.echo(f"{row.guid} waits to be handled again; a running `gamma serve` takes it within a few seconds.")

    asyncio.run(run())


async def _serve(settings: Settings) -> int:
    # Thousands of objects are made while modules load, and none goes away: looking for garbage in between is a tenth
    # of the time until Gamma is ready.
    gc.disable()
    from gamma_bot.app import Gamma
    from gamma_bot.github.keys import UnusableKey
    from gamma_bot.serving import until_told
    from gamma_bot.startup import parts_of, render
    from gamma_bot.store.database import StoreUnavailable

    service = None
    try:
        service = Gamma(settings)
        await service.start()
        report = render(parts_of(settings, service.url, await service.other_hosts()))
    except (StoreUnavailable, UnusableKey, WrongSettings, OSError) as error:
        if service is not None:
            await service.stop()
        click.echo(f"gamma: can't start: {error}", err=True)
        return 1
    click.echo(f"Gamma {__version__} listens on {service.url}\n{report}", err=True)
    gc.freeze()
    # Nearly nothing here needs the collector. With Python's own thresholds it takes a tenth of the time in which many
    # jobs end, and more the more jobs there are in memory.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    return await until_told(service)


async def _setup(
    settings: Settings,
    api_url: str,
    organization: str | None,
    home: str | None,
    channel: str | None,
    *,
    show: bool,
    force: bool,
    port: int,
) -> None:
    from gamma_bot.github.manifest import web_url_of
    from gamma_bot.setup import Setup, environment_lines
    from gamma_bot.stored_app import StoredApp, write_stored_app

    def keep(app: StoredApp) -> str:
        return "in the terminal" if show else f"in {write_stored_app(settings.data_dir, app, force=force)}"

    pages = Setup(
        web_url=web_url_of(api_url),
        api_url=api_url,
        organization=organization,
        webhook_url=channel or f"{home}/webhook",
        home_url=home,
        keep=keep,
    )
    try:
        click.echo(f"Open {await pages.start(port)} in a browser on this machine. Ctrl-C ends.", err=True)
        app = await pages.created()
    finally:
        await pages.stop()
    if show:
        click.echo(environment_lines(app))
    click.echo(
        f"The App {app.slug} is created; its key and secrets are {'above' if show else f'in {settings.data_dir}'}.\n"
        f"Next: install it on your repositories at {app.install_url}\n"
        f"Then: gamma serve{f' --tunnel {channel}' if channel else ''}",
        err=True,
    )


@contextlib.asynccontextmanager
async def _inbox() -> AsyncIterator[Inbox]:
    from gamma_bot.store.database import Database, StoreUnavailable
    from gamma_bot.store.inbox import Inbox

    settings = _settings()
    try:
        with contextlib.closing(Database(settings.store_url)) as database, contextlib.closing(Inbox(database)) as inbox:
            await asyncio.to_thread(database.create_tables)
            yield inbox
    except (StoreUnavailable, OSError) as error:
        raise click.ClickException(f"the store can't be read: {error}") from None


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"GAMMA_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors()]
        raise click.UsageError("\n".join(["the environment or .env can't be used:", *lines])) from None


def _settings_with_app() -> Settings:
    from gamma_bot.stored_app import StoredAppError

    try:
        return with_stored_app(_settings())
    except StoredAppError as error:
        raise click.ClickException(str(error)) from None


def _web_address(given: str, option: str) -> str:
    if not given.startswith(("https://", "http://")):
        raise click.UsageError(f"{option} needs a web address, such as https://gamma.example.com; got {given!r}")
    return given.rstrip("/")


def _tries(row: DeliveryRecord) -> str:
    """How often handling a delivery has failed, and when it is tried again; empty for one that never failed."""
    if not row.tries:
        return ""
    count = f"after {row.tries} failed {'try' if row.tries == 1 else 'tries'}"
    return f"{count}, next at {_moment(row.due_at)}:" if row.state == "stored" else f"{count}:"


def _moment(unix_seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))


def _no_delivery(guid: str) -> str:
    return f"no single delivery has a GUID that begins with {guid!r}; `gamma deliveries list` shows them"


def _log_to_stderr(level: int, secrets: tuple[str, ...] = ()) -> None:
    readable = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if readable else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if readable
            else structlog.processors.JSONRenderer(),
            RedactLines(secrets),  # after the renderer: it sees tracebacks and nested values, too
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
