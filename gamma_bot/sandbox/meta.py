"""The endpoints about GitHub itself and about accounts."""

from __future__ import annotations

from gamma_bot.sandbox.call import Access, Answer, ApiError, Call, Route, UserActor, not_found
from gamma_bot.sandbox.shapes import profile_json


async def get_rate_limit(call: Call) -> Answer:
    """Looking at the limit costs nothing."""
    core = call.forge.limits.summary(call.actor)
    graphql = call.forge.limits.summary(call.actor, "graphql")
    resources = {"core": core, "graphql": graphql, "search": {**core, "limit": 30, "remaining": 30, "used": 0}}
    return Answer(200, {"resources": resources, "rate": core})


async def get_meta(call: Call) -> Answer:
    addresses = ["127.0.0.1/32"]
    body = {"verifiable_password_authentication": False, "hooks": addresses, "web": addresses, "api": addresses}
    return Answer(200, {**body, "git": addresses})


async def get_user(call: Call) -> Answer:
    account = call.forge.state.account(call.params["username"])
    if account is None:
        raise not_found()
    public = sum(
        repository.owner is account and not repository.private for repository in call.forge.state.repositories.values()
    )
    return Answer(200, profile_json(call.forge.urls, account, public))


async def get_myself(call: Call) -> Answer:
    match call.actor:
        case UserActor(account):
            public = sum(repository.owner is account for repository in call.forge.state.repositories.values())
            return Answer(200, profile_json(call.forge.urls, account, public))
        case _:
            raise ApiError(403, "Resource not accessible by integration")


ROUTES = (
    Route("GET", "/rate_limit", get_rate_limit, Access.ANYONE),
    Route("GET", "/meta", get_meta, Access.ANYONE),
    Route("GET", "/users/{username}", get_user, Access.ANYONE),
    Route("GET", "/user", get_myself, Access.ANYONE),
)
