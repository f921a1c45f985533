"""What an hour of a SageMaker training instance costs: dated tables, and what is not in one of them is unknown.

The package brings tables; ``gamma prices refresh`` writes newer ones beside Gamma's data. For each region and type the
newest date wins.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

FILE_NAME = "prices.json"


class PricesUnusable(Exception):
    """A table can't be read or written; the text says which one and what to do."""


@dataclass(frozen=True)
class Price:
    """An hour of one instance, in US dollars, and the date of the table that says so (``2026-09-24``)."""

    usd_per_hour: float
    as_of: str


@dataclass(frozen=True)
class PriceTable:
    """Prices of one region at one date.

    Attributes:
        source: where the figures come from, in words.
        usd_per_hour: by instance type (``ml.g5.xlarge``).
    """

    region: str
    as_of: str
    source: str
    usd_per_hour: Mapping[str, float]


class Prices:
    """All tables as one."""

    def __init__(self, tables: Iterable[PriceTable]) -> None:
        self._by_region: dict[str, dict[str, Price]] = {}
        for table in sorted(tables, key=lambda each: each.as_of):  # ISO dates sort as text
            region = self._by_region.setdefault(table.region, {})
            region |= {name: Price(usd, table.as_of) for name, usd in table.usd_per_hour.items()}

    def of(self, region: str, instance_type: str) -> Price | None:
        """The newest price of a type in a region; ``None`` if it is unknown."""
        return self._by_region.get(region, {}).get(instance_type)

    @property
    def regions(self) -> Sequence[str]:
        """The regions of which any price is known."""
        return sorted(self._by_region)

    def in_region(self, region: str) -> Mapping[str, Price]:
        """The newest price of each type of a region, by family and price."""
        found = self._by_region.get(region, {})
        return dict(sorted(found.items(), key=lambda item: (item[0].rpartition(".")[0], item[1].usd_per_hour, item[0])))


def load_prices(data_dir: Path) -> Prices:
    """The package's tables and those that were refreshed.

    Raises:
        PricesUnusable: a file is damaged.
    """
    return Prices([*packaged_tables(), *refreshed_tables(data_dir)])


def packaged_tables() -> Sequence[PriceTable]:
    """What this version of Gamma knows by itself."""
    resource = files("gamma_bot.training") / FILE_NAME
    return _tables(resource.read_text(encoding="utf-8"), "the price table of the package")


def refreshed_tables(data_dir: Path) -> Sequence[PriceTable]:
    """What ``gamma prices refresh`` has written.

    Raises:
        PricesUnusable: the file can't be read or is damaged.
    """
    path = data_dir / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise PricesUnusable(f"{path} can't be read ({error}); `gamma prices refresh` writes it anew") from None
    return _tables(text, str(path))


def write_refreshed(data_dir: Path, tables: Sequence[PriceTable]) -> Path:
    """Keep tables, complete or not at all; those of other regions stay.

    Raises:
        PricesUnusable: the file can't be written.
    """
    path = data_dir / FILE_NAME
    partial = data_dir / f".{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        kept = [each for each in refreshed_tables(data_dir) if each.region not in {table.region for table in tables}]
    except PricesUnusable:
        kept = []  # damaged: it is what this one replaces
    document = {"currency": "USD", "tables": [_plain(each) for each in (*kept, *tables)]}
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with partial.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        descriptor = os.open(data_dir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PricesUnusable(f"{path} can't be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _plain(table: PriceTable) -> Mapping[str, Any]:
    return {
        "region": table.region,
        "as_of": table.as_of,
        "source": table.source,
        "usd_per_hour": dict(table.usd_per_hour),
    }


def _tables(text: str, name: str) -> Sequence[PriceTable]:
    try:
        document = json.loads(text)
        if document["currency"] != "USD":
            raise ValueError("the currency must be USD")
        return [_table(each) for each in document["tables"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PricesUnusable(f"{name} is damaged ({error}); `gamma prices refresh` writes prices anew") from None


def _table(values: Mapping[str, Any]) -> PriceTable:
    as_of = date.fromisoformat(values["as_of"]).isoformat()
    usd = {str(name): float(price) for name, price in values["usd_per_hour"].items()}
    if not all(math.isfinite(price) and price > 0 for price in usd.values()):
        raise ValueError("a price is no positive number")
    return PriceTable(str(values["region"]), as_of, str(values["source"]), usd)
