"""AWS's price list, asked for what SageMaker training costs in a region. It speaks of prices only where it is clear.

The API documents neither the attributes of SageMaker's products nor their values, and public code reads different ones.
So an answer counts only if everything about it agrees: it is the product of a training instance by its component and
its usage type, in this region, and it names exactly one positive price in US dollars per hour. All else is left out and
told.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gamma_bot.training.prices import PriceTable

ENDPOINT_REGION = "us-east-1"  # the API of all regions' prices is in a few of them, and this is one
_SERVICE = "AmazonSageMaker"
# `USE1-Train:ml.g5.xlarge` is on demand; `TrSpt:` and warm pools have usage types of their own.
_USAGE = re.compile(r"(?:[A-Z0-9]+-)?Train:(ml\.[a-z0-9-]+\.[a-z0-9-]+)")


class PriceListUnreachable(Exception):
    """The price list could not be asked; the text says why and what to do."""


@dataclass(frozen=True)
class Ignored:
    """An instance type whose price is not clear, and why."""

    instance_type: str
    why: str


@dataclass(frozen=True)
class Found:
    """What the price list clearly says, and what it says unclearly."""

    table: PriceTable
    ignored: Sequence[Ignored]


def ask(region: str, as_of: str) -> Found:
    """Ask AWS's price list. Takes some seconds.

    Raises:
        PriceListUnreachable
    """
    return read(_products(region), region, as_of)


def read(products: Iterable[str], region: str, as_of: str) -> Found:
    """The prices of training in what the API answers: products as JSON texts."""
    offers: dict[str, set[float]] = defaultdict(set)
    unclear: dict[str, str] = {}
    for text in products:
        product = json.loads(text)
        name = _training_instance(product, region)
        if name is None:
            continue
        prices = _hourly_prices(product)
        if prices:
            offers[name] |= prices
        else:
            unclear[name] = "it has no price per hour in US dollars"
    for name, prices in offers.items():
        if len(prices) > 1:
            told = " and ".join(f"{each:g}" for each in sorted(prices))
            unclear[name] = f"it has several prices: {told} USD"
    clear = {name: min(prices) for name, prices in sorted(offers.items()) if name not in unclear}
    table = PriceTable(region, as_of, "AWS's price list API, component Training", clear)
    return Found(table, [Ignored(name, why) for name, why in sorted(unclear.items())])


def _training_instance(product: Mapping[str, Any], region: str) -> str | None:
    """The instance type, if this is the product of training on demand and all that it says of itself agrees."""
    attributes = product.get("product", {}).get("attributes", {})
    usage = _USAGE.fullmatch(attributes.get("usagetype", ""))
    if usage is None or attributes.get("regionCode", region) != region:
        return None
    if not attributes.get("component", "Training").startswith("Training"):
        return None
    named = attributes.get("instanceName", usage[1])
    return usage[1] if named == usage[1] else None


def _hourly_prices(product: Mapping[str, Any]) -> set[float]:
    found = set()
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            if not str(dimension.get("unit", "")).lower().startswith(("hr", "hour")):
                continue
            try:
                price = float(dimension["pricePerUnit"]["USD"])
            except (KeyError, TypeError, ValueError):
                continue
            if math.isfinite(price) and price > 0:
                found.add(price)
    return found


def _products(region: str) -> Iterator[str]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    in_region = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}
    training = {"Type": "TERM_MATCH", "Field": "component", "Value": "Training"}
    try:
        timing = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
        client = boto3.client("pricing", region_name=ENDPOINT_REGION, config=timing)
        pages = client.get_paginator("get_products")
        # Should the component be called otherwise some day, all products of the region are looked through.
        for filters in ([in_region, training], [in_region]):
            number = 0
            for page in pages.paginate(ServiceCode=_SERVICE, Filters=filters):
                number += len(page.get("PriceList", []))
                yield from page.get("PriceList", [])
            if number:
                return
    except ClientError as error:
        raise PriceListUnreachable(_refusal(error.response.get("Error", {}))) from None
    except BotoCoreError as error:
        raise PriceListUnreachable(_failure(error)) from None


def _refusal(error: Mapping[str, Any]) -> str:
    code, message = str(error.get("Code", "")), str(error.get("Message", "")).strip()
    if "AccessDenied" in code or code == "UnauthorizedOperation":
        return (
            "these AWS credentials may not read the price list; allow the action `pricing:GetProducts`, "
            "or run this where it is allowed"
        )
    if code in ("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"):
        return f"AWS does not take these credentials ({message or code}); renew them and try again"
    return f"AWS's price list answered {code}: {message}"


def _failure(error: Exception) -> str:
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return "there are no AWS credentials here; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return f"AWS's price list can't be reached ({error}); the prices that are known stay as they are"
