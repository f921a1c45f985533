"""Prices: the table of the package, what AWS's price list says clearly, and the commands that show and refresh them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gamma_bot.price_commands import prices as command
from gamma_bot.training.price_list import read
from gamma_bot.training.prices import (
    FILE_NAME,
    Price,
    PricesUnusable,
    PriceTable,
    load_prices,
    packaged_tables,
    write_refreshed,
)

TODAY = "2026-11-24"


def product(usage: str, usd: str, *, name: str | None = None, unit: str = "Hrs", **attributes: str) -> str:
    """A product as the price list API answers it: JSON in a string."""
    instance_type = name if name is not None else usage.rpartition(":")[2]
    known = {"usagetype": usage, "regionCode": "us-east-1", "instanceName": instance_type, "component": "Training"}
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}, "description": "per hour"}
    return json.dumps(
        {
            "product": {"productFamily": "ML Instance", "attributes": {**known, **attributes}, "sku": usage},
            "terms": {"OnDemand": {"a.b": {"priceDimensions": {"a.b.c": dimension}}}},
            "serviceCode": "AmazonSageMaker",
        }
    )


def table(region: str, as_of: str, **usd: float) -> PriceTable:
    """A table of made-up types."""
    return PriceTable(region, as_of, "a test", {f"ml.{name}.xlarge": price for name, price in usd.items()})


def run(folder: Path, *arguments: str) -> Result:
    """``gamma prices …`` with this data directory, away from any AWS account."""
    environment = {"GAMMA_DATA_DIR": str(folder), "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"}
    return CliRunner(env=environment).invoke(command, arguments)


# ── the table of the package ──


def test_the_packages_tables_say_where_and_from_when_they_are() -> None:
    tables = packaged_tables()

    assert {each.region for each in tables} >= {"us-east-1", "us-west-2", "eu-west-1"}
    for each in tables:
        assert date.fromisoformat(each.as_of) <= date.fromisoformat(TODAY)
        assert len(each.source) > 20
        assert all(name.startswith("ml.") and 0.01 < usd < 200 for name, usd in each.usd_per_hour.items())


def test_what_is_in_no_table_has_no_price(tmp_path: Path) -> None:
    prices = load_prices(tmp_path)

    assert prices.of("us-east-1", "ml.m5.xlarge") == Price(0.23, "2026-09-24")
    assert prices.of("us-east-1", "ml.p6.48xlarge") is None
    assert prices.of("mars-1", "ml.m5.xlarge") is None


def test_the_newest_date_wins_for_each_type(tmp_path: Path) -> None:
    write_refreshed(tmp_path, [table("us-east-1", TODAY, m5=0.25), table("eu-north-1", TODAY, m5=0.3)])
    write_refreshed(tmp_path, [table("us-east-1", TODAY, g6=1.1)])  # of the same region: the older one is gone
    prices = load_prices(tmp_path)

    assert prices.of("us-east-1", "ml.m5.xlarge") == Price(0.23, "2026-09-24")
    assert prices.of("us-east-1", "ml.g6.xlarge") == Price(1.1, TODAY)
    assert prices.of("eu-north-1", "ml.m5.xlarge") == Price(0.3, TODAY)
    write_refreshed(tmp_path, [table("us-east-1", "2020-01-01", g6=9.9)])
    assert load_prices(tmp_path).of("us-east-1", "ml.g6.xlarge") == Price(1.127, "2026-09-24")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"currency": "EUR", "tables": []}',
        '{"currency": "USD", "tables": [{"region": "r", "as_of": "today", "source": "", "usd_per_hour": {}}]}',
        '{"currency": "USD", "tables": [{"region":"r", "as_of":"2026-11-24", "source":"", "usd_per_hour":{"a":0}}]}',
    ],
)
def test_a_damaged_table_is_refused_and_can_be_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)

    with pytest.raises(PricesUnusable, match="gamma prices refresh"):
        load_prices(tmp_path)
    assert run(tmp_path, "show").exit_code == 1
    write_refreshed(tmp_path, [table("us-east-1", TODAY, m5=0.25)])
    assert load_prices(tmp_path).of("us-east-1", "ml.m5.xlarge") == Price(0.25, TODAY)


# ── what the price list says ──


def test_only_one_clear_price_of_training_counts() -> None:
    found = read(
        [
            product("USE1-Train:ml.m5.xlarge", "0.2300000000", instanceType="ml.m5.xlarge-Training"),
            product("USE1-Train:ml.m5.xlarge", "0.23"),  # told twice, and the same
            product("USE1-Train:ml.g5.xlarge", "1.408"),
            product("USE1-Train:ml.g5.xlarge", "1.2575"),
            product("USE1-Train:ml.c5.xlarge", "0.0000000000"),
            product("USE1-Train:ml.c6i.xlarge", "0.204", unit="Quantity"),
            product("USE1-Train:ml.r5.xlarge", "0.302", name="ml.r5.2xlarge"),  # it contradicts itself
            product("USE1-Train:ml.r7i.xlarge", "0.3175", regionCode="eu-west-1"),
            product("USE1-TrSpt:ml.g4dn.xlarge", "0.736"),
            product("USE1-Host:ml.g4dn.xlarge", "0.736", component="Hosting"),
            product("USE1-Train:ml.t3.xlarge", "0.2", component="Debugger"),
            product("Train:ml.g6.xlarge", "1.127", component="Training Instance"),
            json.dumps({"product": {"attributes": {"usagetype": "USE1-Notebk:ml.t3.medium"}}, "terms": {}}),
        ],
        "us-east-1",
        TODAY,
    )

    assert found.table.usd_per_hour == {"ml.g6.xlarge": 1.127, "ml.m5.xlarge": 0.23}
    assert (found.table.region, found.table.as_of) == ("us-east-1", TODAY)
    assert [f"{each.instance_type}: {each.why}" for each in found.ignored] == [
        "ml.c5.xlarge: it has no price per hour in US dollars",
        "ml.c6i.xlarge: it has no price per hour in US dollars",
        "ml.g5.xlarge: it has several prices: 1.2575 and 1.408 USD",
    ]


# ── the commands ──


def test_prices_are_shown_with_the_date_of_their_table(tmp_path: Path) -> None:
    write_refreshed(tmp_path, [table("eu-north-1", TODAY, m5=0.3)])

    shown = run(tmp_path, "show", "--region", "eu-north-1")
    assert shown.stdout == "eu-north-1\n  ml.m5.xlarge             0.3000 USD   2026-11-24\n"
    assert "us-east-1\n" in run(tmp_path, "show").stdout
    unknown = run(tmp_path, "show", "--region", "mars-1")
    assert (unknown.exit_code, "`gamma prices refresh --region mars-1` asks AWS" in unknown.stderr) == (1, True)


@contextmanager
def price_list(answers: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A price list API that gives these answers, one after the other; its address and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = answers[len(asked) - 1]
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_refresh_asks_aws_and_keeps_what_is_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "which region?" in run(tmp_path, "refresh").stderr
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert "there are no AWS credentials here; set AWS_PROFILE" in run(tmp_path, "refresh").stderr
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    pages = [
        (200, {"FormatVersion": "aws_v1", "PriceList": [product("USE1-Train:ml.m5.xlarge", "0.24")], "NextToken": "2"}),
        (200, {"FormatVersion": "aws_v1", "PriceList": [product("USE1-Train:ml.g5.xlarge", "1.4")]}),
        (200, {"FormatVersion": "aws_v1", "PriceList": []}),  # no component of that name in the other region
        (200, {"FormatVersion": "aws_v1", "PriceList": []}),
        (400, {"__type": "AccessDeniedException", "Message": "User is not authorized to perform: pricing:GetProducts"}),
    ]
    with price_list(pages) as (address, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", address)
        refreshed = run(tmp_path, "refresh")
        nowhere = run(tmp_path, "refresh", "--region", "mars-1")
        denied = run(tmp_path, "refresh", "--region", "eu-west-1")

    assert refreshed.exit_code == 0, refreshed.output
    assert "us-east-1: 2 instance types have one clear price." in refreshed.stdout
    today = load_prices(tmp_path).of("us-east-1", "ml.m5.xlarge")
    assert today is not None
    assert (today.usd_per_hour, today.as_of in refreshed.stdout) == (0.24, True)
    assert asked[0]["ServiceCode"] == "AmazonSageMaker"
    assert [each["Value"] for each in asked[0]["Filters"]] == ["us-east-1", "Training"]
    assert (nowhere.exit_code, "Is mars-1 the name of a region?" in nowhere.stderr) == (1, True)
    assert (denied.exit_code, "allow the action `pricing:GetProducts`" in denied.stderr) == (1, True)
    assert load_prices(tmp_path).of("eu-west-1", "ml.m5.xlarge") == Price(0.257, "2023-12-31"), "as it was"
