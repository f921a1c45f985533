"""Holds requests to the sandbox, and its answers, against GitHub's published OpenAPI description.

The description comes from npm (``make contract-data``); it is read once, at the first check. Besides what the
schemas say, a query parameter or a body key that the description does not know is a problem: GitHub would ignore it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, validators
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing import Registry, Resource, Specification

from gamma_bot.sandbox.model import RequestRecord

DATA = Path(__file__).parent / "contract" / "node_modules" / "@octokit"
OPENAPI = DATA / "openapi" / "generated" / "api.github.com.json"
EXAMPLES = DATA / "webhooks-examples" / "api.github.com" / "index.json"
WHY_MISSING = "GitHub's contract is not here: run `make contract-data` (it needs npm)"

# Any endpoint may answer these, though the description lists them for a few only.
GENERIC_ERRORS = {301, 307, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504}
GRAPHQL = "/graphql"
BASIC_ERROR = "#/components/schemas/basic-error"


# Where the description contradicts itself: here an account would have to be a user and an enterprise at once.
ERRATA = (("/app/installations", "account"),)


def available() -> bool:
    return OPENAPI.exists()


def assert_contract(records: Iterable[RequestRecord]) -> None:
    """Fail with one line per problem. Does nothing where the description has not been fetched."""
    if available():
        problems = contract_problems(records)
        assert not problems, "outside GitHub's published contract:\n" + "\n".join(problems)


def contract_problems(records: Iterable[RequestRecord]) -> list[str]:
    contract = published_contract()
    found = [f"{record.method} {record.path}: {problem}" for record in records for problem in contract.problems(record)]
    return list(dict.fromkeys(found))


@cache
def published_contract() -> Contract:
    return Contract(json.loads(OPENAPI.read_bytes()))


class Contract:
    """The operations of one OpenAPI 3.0 document; a validator is built when its operation is first met."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        # Opaque on purpose: a property that happens to be named "id" must not change where references point.
        resource = Resource(contents=document, specification=Specification.OPAQUE)
        self._registry: Registry[Any] = Registry().with_resource("urn:contract", resource)
        self._validators: dict[str, Validator] = {}

    def problems(self, record: RequestRecord) -> list[str]:
        if record.route == GRAPHQL:
            return _query_problems(record)
        operation = self._document["paths"].get(record.route, {}).get(record.method.lower())
        if operation is None:
            return ["the sandbox has no such endpoint (does GitHub?)"]
        pointer = f"#/paths/{_escape(record.route)}/{record.method.lower()}"
        request = [*self._query_problems(operation, record), *self._body_problems(operation, pointer, record)]
        return request + self._answer_problems(operation, pointer, record)

    def _query_problems(self, operation: Mapping[str, Any], record: RequestRecord) -> list[str]:
        parameters = [self._resolved(parameter) for parameter in operation.get("parameters", [])]
        known = {parameter["name"]: parameter for parameter in parameters if parameter["in"] == "query"}
        problems = [f"unknown query parameter {name!r}" for name in record.query if name not in known]
        for name, parameter in known.items():
            if name not in record.query:
                if parameter.get("required"):
                    problems.append(f"query parameter {name!r} is missing")
                continue
            schema = self._resolved(parameter.get("schema", {}))
            value: Any = record.query[name]
            if schema.get("type") == "integer":
                if not value.isdecimal():
                    problems.append(f"query parameter {name!r} must be a number, not {value!r}")
                elif name == "per_page" and int(value) > 100:
                    problems.append("per_page is above 100: GitHub answers 100 all the same")
            elif "enum" in schema and value not in schema["enum"]:
                problems.append(f"query parameter {name!r} must be one of {schema['enum']}, not {value!r}")
        return problems

    def _body_problems(self, operation: Mapping[str, Any], pointer: str, record: RequestRecord) -> list[str]:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None or 400 <= record.status < 500 or (record.fault is not None and record.request_json is None):
            # What the sandbox refuses may well be wrong: tests of its limits send such things on purpose.
            return []
        if record.request_json is None:
            return ["the body is missing"] if operation["requestBody"].get("required") else []
        where = f"{pointer}/requestBody/content/application~1json/schema"
        problems = [f"request {problem}" for problem in self._check(where, record.request_json)]
        known = content["schema"].get("properties")
        if known and isinstance(record.request_json, dict):
            problems += [f"request has an unknown key {key!r}" for key in record.request_json if key not in known]
        return problems

    def _answer_problems(self, operation: Mapping[str, Any], pointer: str, record: RequestRecord) -> list[str]:
        if record.status == 0 or record.fault is not None:
            return []
        documented = operation["responses"].get(str(record.status))
        if documented is None:
            if record.status == 304:
                return []
            if record.status not in GENERIC_ERRORS:
                return [f"status {record.status} is not documented"]
            return [f"answer {problem}" for problem in self._check(BASIC_ERROR, record.response_json)]
        if record.response_json is None:
            return []
        if "$ref" in documented:
            pointer_to_answer = documented["$ref"]
            documented = self._resolved(documented)
        else:
            pointer_to_answer = f"{pointer}/responses/{record.status}"
        if "application/json" not in documented.get("content", {}):
            return [f"status {record.status} has no JSON body"] if record.response_json not in (None, {}) else []
        where = f"{pointer_to_answer}/content/application~1json/schema"
        found = self._check(where, record.response_json)
        known = [f"/{name}: " for route, name in ERRATA if route == record.route]
        return [f"answer {record.status} {one}" for one in found if not any(error in one for error in known)]

    def _check(self, pointer: str, value: Any) -> Sequence[str]:
        validator = self._validators.get(pointer)
        if validator is None:
            reference = {"$ref": f"urn:contract{pointer}"}
            validator = _validator_class()(reference, registry=self._registry, format_checker=oas30_format_checker)
            self._validators[pointer] = validator
        errors = list(validator.iter_errors(value))
        return [f"at {'/'.join(map(str, error.absolute_path)) or 'the top'}: {error.message[:200]}" for error in errors]

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        found: Any = self._document
        for segment in part["$ref"].removeprefix("#/").split("/"):
            found = found[segment.replace("~1", "/").replace("~0", "~")]
        return self._resolved(found)


def _query_problems(record: RequestRecord) -> list[str]:
    """What GraphQL says of a query that does not fit the schema; refusals of the world have a type."""
    answer = record.response_json if isinstance(record.response_json, dict) else {}
    return [f"query: {error['message']}" for error in answer.get("errors", ()) if "type" not in error]


def _escape(path: str) -> str:
    return path.replace("~", "~0").replace("/", "~1")


@cache
def _validator_class() -> Any:
    # GitHub's discriminators don't work as such: the one for contents has an array among its alternatives. The plain
    # meaning of the three keywords is enough, and stricter.
    plain = {name: Draft4Validator.VALIDATORS[name] for name in ("oneOf", "anyOf", "allOf")}
    return validators.extend(OAS30Validator, {"enum": _enum_or_null, "$ref": _each_value_once(), **plain})


def _each_value_once() -> Callable[..., Iterator[ValidationError]]:
    """A ``$ref`` that asks once for each value: the same owner, App or repository is in nearly every answer."""
    follow, fine = OAS30Validator.VALIDATORS["$ref"], set()

    def check(validator: Validator, reference: str, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        # All references point into the one document, so they mean the same wherever they stand.
        known = (reference, json.dumps(value))
        if known not in fine:
            errors = list(follow(validator, reference, value, schema))
            if not errors:
                fine.add(known)
            yield from errors

    return check


def _enum_or_null(_: Any, allowed: Sequence[Any], value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    # GitHub marks fields such as a check run's conclusion as nullable without listing null among their values.
    if value not in allowed and not (value is None and schema.get("nullable")):
        yield ValidationError(f"{value!r} is not one of {allowed!r}")
