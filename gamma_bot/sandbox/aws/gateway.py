"""The door: every request is read, counted, hit by the faults that were planned for it, and then answered."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from gamma_bot.sandbox.aws.calls import ACCOUNT, Call, read_call
from gamma_bot.sandbox.aws.control import Control
from gamma_bot.sandbox.aws.errors import Answer, Refused, json_answer, refusal
from gamma_bot.sandbox.aws.faults import Fault
from gamma_bot.sandbox.aws.logs import narrowed_search
from gamma_bot.sandbox.aws.training_api import TrainingApi
from gamma_bot.sandbox.aws.world import World

StartResponse = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_EXPIRED = "The security token included in the request is expired"
# What moto does not know and answers with HTTP 500, which clients would try again and again.
_WITHOUT_PERMISSION = frozenset({"pricing", "servicequotas"})


class Gateway:
    """The WSGI application in front of moto's."""

    def __init__(self, world: World, moto: Wsgi) -> None:
        self._world, self._moto = world, moto
        self._training, self._control = TrainingApi(world), Control(world)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/_gamma/"):
            return _sent(self._control.answer(environ, path.removeprefix("/_gamma/")), start_response)
        call = read_call(environ)
        if call is None:
            return self._moto(environ, start_response)
        entry = self._world.calls.add(call)
        faults = self._world.faults.for_call(call.action, call.resource)
        faults += self._hit_by_what_it_implies(call)
        try:
            _refuse_or_wait(faults, call)
            answer = _planned_answer(faults) or self._own_answer(call, environ)
        except Refused as refused:
            entry["refused"] = refused.code
            answer = refusal(refused, call.protocol)
        body = self._moto(environ, start_response) if answer is None else None
        _after_the_effect(faults, environ)
        return _sent(answer, start_response) if answer is not None else body or []

    def _hit_by_what_it_implies(self, call: Call) -> list[Fault]:
        """A denied iam:PassRole refuses the call that passes the role."""
        implied = [self._world.faults.for_call(action, resource) for action, resource in call.implied]
        return [fault for faults in implied for fault in faults if fault.kind == "denied" and fault.action != "*"]

    def _own_answer(self, call: Call, environ: dict[str, Any]) -> Answer | None:
        """The stand-in's own answer; ``None`` when moto shall answer.

        Raises:
            Refused: as AWS refuses.
        """
        if call.service in _WITHOUT_PERMISSION:
            raise _denied(call, call.action, "*")
        if call.service == "sagemaker" and self._training.knows(call.operation, call.parameters):
            body = self._training.answer(call.operation, call.region, call.parameters)
            return json_answer(body) if body is not None else json_answer({})
        if call.service == "logs" and call.operation == "FilterLogEvents":
            return narrowed_search(call, environ)
        return None


def _planned_answer(faults: list[Fault]) -> Answer | None:
    return next((json_answer(fault.options["body"]) for fault in faults if fault.kind == "answer"), None)


def _refuse_or_wait(faults: list[Fault], call: Call) -> None:
    for fault in faults:
        match fault.kind:
            case "delay" if fault.options.get("when", "before") == "before":
                time.sleep(float(fault.options.get("seconds", 1)))
            case "throttle":
                raise Refused("ThrottlingException", "Rate exceeded")
            case "expired":
                raise Refused("ExpiredTokenException", _EXPIRED)
            case "internal":
                raise Refused("InternalFailure", "The request processing has failed because of an internal error.", 500)
            case "denied":
                implied = next(((a, r) for a, r in call.implied if a == fault.action), None)
                raise _denied(call, *(implied or (call.action, call.resource)))
            case _:
                pass


def _after_the_effect(faults: list[Fault], environ: dict[str, Any]) -> None:
    for fault in faults:
        if fault.kind == "delay" and fault.options.get("when") == "after":
            time.sleep(float(fault.options.get("seconds", 1)))
        if fault.kind == "lost":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError("the answer is lost, as planned")


def _denied(call: Call, action: str, resource: str) -> Refused:
    message = (
        f"User: arn:aws:iam::{ACCOUNT}:user/gamma is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )
    return Refused("AccessDeniedException", message)


def _sent(answer: Answer, start_response: StartResponse) -> list[bytes]:
    headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
    start_response(f"{answer.status} {'OK' if answer.status < 400 else 'Refused'}", headers)
    return [answer.body]
