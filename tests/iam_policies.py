"""What IAM policies allow, worked out from their documents.

moto's own enforcement knows no resources and no conditions, so tests ask this instead. It knows the parts of the policy
language that our policies are written in and refuses all others, so that it never judges what it did not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_PARTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
_OPERATOR = re.compile(r"(?:(ForAnyValue|ForAllValues):)?(String|Arn)?(Not)?(Equals|Like|Bool)(IfExists)?")


def allowed(
    policy_documents: Iterable[Mapping[str, Any]],
    action: str,
    resource: str,
    context: Mapping[str, str | Sequence[str]],
    principal: str | None = None,
) -> bool:
    """Whether the policies together let somebody do this: one must allow it, and none may deny it.

    ``principal`` is who asks, for policies that stand at a resource, such as ``events.amazonaws.com``.
    """
    effects = {
        statement["Effect"]
        for statement in _statements(policy_documents)
        if _applies(statement, action, resource, context, principal)
    }
    return effects == {"Allow"}


def allowed_actions(policy_documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every action that some statement allows, for comparing with what is used."""
    return {
        action
        for statement in _statements(policy_documents)
        if statement["Effect"] == "Allow"
        for action in _list(statement["Action"])
    }


def _statements(policy_documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for document in policy_documents:
        for statement in _list(document["Statement"]):
            unknown = set(statement) - _PARTS
            assert not unknown, f"these parts of a policy are not understood here: {unknown}"
            assert statement["Effect"] in {"Allow", "Deny"}
            yield statement


def _applies(
    statement: Mapping[str, Any],
    action: str,
    resource: str,
    context: Mapping[str, str | Sequence[str]],
    principal: str | None,
) -> bool:
    return (
        any(_matches(pattern.lower(), action.lower()) for pattern in _list(statement["Action"]))
        # A trust policy names no resource: it stands at the role that it is about.
        and any(_matches(pattern, resource) for pattern in _list(statement.get("Resource", "*")))
        and _is_meant(statement.get("Principal"), principal)
        and all(
            _holds(operator, [str(value) for value in _list(values)], context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_meant(written: Any, principal: str | None) -> bool:
    if written is None:
        return True
    named = ["*"] if written == "*" else [name for names in written.values() for name in _list(names)]
    return "*" in named or principal in named


def _holds(operator: str, wanted: Sequence[str], given: str | Sequence[str] | None) -> bool:
    parts = _OPERATOR.fullmatch(operator)
    assert parts, f"this condition is not understood here: {operator}"
    quantity, kind, negated, comparison, if_exists = parts.groups()
    if given is None:
        # A key that the request doesn't have: nothing equals it, and no value of it is forbidden.
        return bool(if_exists) or quantity == "ForAllValues" or (bool(negated) and quantity != "ForAnyValue")

    def fits(value: str) -> bool:
        if comparison == "Like" or kind == "Arn":
            found = any(_matches(pattern, value) for pattern in wanted)
        elif comparison == "Bool":
            found = value.lower() in {each.lower() for each in wanted}
        else:
            found = value in wanted
        return found != bool(negated)

    values = _list(given)
    assert quantity or len(values) == 1, f"{operator} compares one value, the request has {values}"
    return any(map(fits, values)) if quantity == "ForAnyValue" else all(map(fits, values))


def _matches(pattern: str, text: str) -> bool:
    assert "${" not in pattern, f"variables in a policy are not understood here: {pattern}"
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, text, re.DOTALL) is not None


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, (str, bool, Mapping)) else list(value)
