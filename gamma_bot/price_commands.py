"""``gamma prices``: what Gamma takes an hour of training for, and how to bring that up to date."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click
from pydantic import ValidationError

from gamma_bot.settings import Settings


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(epilog=_examples("gamma prices show --region us-east-1", "gamma prices refresh --region us-east-1"))
def prices() -> None:
    """What training on SageMaker costs per hour, as far as Gamma knows. All costs it tells are estimates by this."""


@prices.command("show")
@click.option("--region", metavar="REGION", help="Only this one, such as eu-west-1.  [default: all that are known]")
def show(region: str | None) -> None:
    """The prices that estimates are made with: per instance and hour, in US dollars, with the date of their table."""
    from gamma_bot.training.prices import PricesUnusable, load_prices

    try:
        known = load_prices(_settings().data_dir)
    except PricesUnusable as error:
        raise click.ClickException(str(error)) from None
    if region is not None and region not in known.regions:
        raise click.ClickException(
            f"no price of {region} is known (known: {', '.join(known.regions)}); "
            f"`gamma prices refresh --region {region}` asks AWS"
        )
    for name in known.regions if region is None else [region]:
        click.echo(name)
        for instance_type, price in known.in_region(name).items():
            click.echo(f"  {instance_type:<20} {price.usd_per_hour:>10.4f} USD   {price.as_of}")
    click.echo("What is not listed is unknown: no cost is told for it, and a budget holds it back.", err=True)


@prices.command("refresh")
@click.option(
    "--region",
    "regions",
    metavar="REGION",
    multiple=True,
    help="Where you train; can be given several times.  [default: AWS_REGION]",
)
def refresh(regions: tuple[str, ...]) -> None:
    """Ask AWS's price list, which needs credentials with pricing:GetProducts. A running Gamma takes it at once."""
    from gamma_bot.training.price_list import PriceListUnreachable, ask
    from gamma_bot.training.prices import PricesUnusable, write_refreshed

    wanted = regions or _own_region()
    today = datetime.now(UTC).date().isoformat()
    tables = []
    for region in wanted:
        try:
            found = ask(region, today)
        except PriceListUnreachable as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"{region}: {len(found.table.usd_per_hour)} instance types have one clear price.")
        for each in found.ignored:
            click.echo(f"  left out {each.instance_type}: {each.why}", err=True)
        if found.table.usd_per_hour:
            tables.append(found.table)
        else:
            click.echo(f"  Is {region} the name of a region? What is known of it stays as it is.", err=True)
    if not tables:
        sys.exit(1)
    try:
        path = write_refreshed(_settings().data_dir, tables)
    except PricesUnusable as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Written to {path}; they count from today's date, {today}.")
    if len(tables) < len(wanted):
        sys.exit(1)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise click.UsageError(f"the environment or .env can't be used: {error}") from None


def _own_region() -> tuple[str, ...]:
    import boto3

    region = _settings().aws_region or boto3.Session().region_name  # which knows the profile's, and no AWS_REGION
    if region is None:
        raise click.UsageError("which region? Say --region us-east-1, or set AWS_REGION")
    return (region,)
