"""Asks the SageMaker SDK for a framework's image: ``python -m gamma_bot.training.sagemaker.framework_image``.

It is a program of its own because the SDK takes three seconds and some 130 MB to load, prints as it likes, and loads
every plugin it finds. The answer is one line of JSON on standard output.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any


def main() -> None:
    """Read the question (framework, version, region, instances) and print the answer."""
    question = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w")  # what the SDK prints goes nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        answer = _answer(question)
    except ImportError as error:
        # The SDK has many parts: only if it is not there at all is it missing.
        answer = {"missing": str(error)}
    except Exception as error:  # the SDK raises plain ValueErrors with lists of versions
        answer = {"wrong": " ".join(str(error).split())[:300]}
    print(json.dumps(answer), file=answers, flush=True)


def newest_match(wanted: str, versions: list[str]) -> str | None:
    """The newest of the versions that ``2.x``, ``2.5`` or ``2.5.1`` means."""
    parts = wanted.removesuffix(".x").split(".")
    fitting = [version for version in versions if version.split(".")[: len(parts)] == parts]
    return max(fitting, key=_by_number, default=None)


def _answer(question: Mapping[str, Any]) -> dict[str, Any]:
    from sagemaker.core import image_uris  # type: ignore[import-untyped, unused-ignore]

    framework = question["framework"]
    config = image_uris.config_for_framework(framework)
    config = config.get("training", config)
    if "versions" not in config:
        return {"wrong": f"{framework} has no image for training"}
    versions = list(config["versions"])
    version = newest_match(question["version"], versions)
    if version is None:
        newest = ", ".join(sorted(versions, key=_by_number)[-4:])
        return {"wrong": f"there is no {framework} {question['version']}; the newest are {newest}"}
    pythons = config["versions"][version].get("py_versions") or [None]
    images = [
        image_uris.retrieve(
            framework,
            region=question["region"],
            version=version,
            py_version=max(pythons, key=lambda name: _by_number(str(name).removeprefix("py3"))),
            instance_type=instance,
            image_scope="training",
        )
        for instance in question["instances"]
    ]
    return {"images": images, "version": version}


def _by_number(version: str) -> tuple[int, ...]:
    return tuple(int("".join(filter(str.isdigit, part)) or -1) for part in version.replace("-", ".").split("."))


if __name__ == "__main__":
    main()
