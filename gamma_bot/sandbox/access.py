"""Whether an actor may make a call: kind of credentials, sight of the repository, permission or role."""

from __future__ import annotations

from gamma_bot.sandbox.call import (
    Access,
    Anonymous,
    ApiError,
    AppActor,
    Call,
    InstallationActor,
    UserActor,
    forbidden,
    moved,
    not_found,
)
from gamma_bot.sandbox.model import Repository


def admit(call: Call) -> None:
    """Let the call through, with its repository found.

    Raises:
        ApiError: 401, 403 or 404, as GitHub answers.
    """
    match call.route.access:
        case Access.ANYONE:
            return
        case Access.APP:
            if not isinstance(call.actor, AppActor):
                raise ApiError(401, "A JSON web token could not be decoded")
        case Access.INSTALLATION:
            if not isinstance(call.actor, InstallationActor):
                raise forbidden("You must authenticate with an installation access token.")
        case Access.REPOSITORY:
            repository = _repository(call)
            _admit_to(call, repository)
            call.found = repository


def _repository(call: Call) -> Repository:
    """The repository that the address names; an old name leads on, for those who may see where."""
    state = call.forge.state
    if "repository_id" in call.params:
        found = state.repository_by_id(call.number("repository_id"))
    else:
        name = f"{call.params['owner']}/{call.params['repo']}"
        found = state.repository(name)
        elsewhere = state.moved(name)
        if elsewhere is not None:
            _admit_to(call, elsewhere)
            raise moved(call.address_by_id(elsewhere), permanently=call.route.method == "GET")
    if found is None:
        raise not_found()
    return found


def _admit_to(call: Call, repository: Repository) -> None:
    route, writes = call.route, call.route.method != "GET"
    match call.actor:
        case AppActor():
            # The App's own JWT opens the endpoints about the App only.
            raise ApiError(401, "Bad credentials")
        case Anonymous():
            if repository.private:
                raise not_found()
            if writes or route.role != "read":
                raise ApiError(401, "Requires authentication")
        case UserActor(account):
            if repository.role_of(account.login) is None:
                raise not_found()
            if route.apps_only:
                raise forbidden("You must authenticate via a GitHub App.")
            if not repository.may(account.login, route.role):
                raise forbidden("Must have push access to view or change this.")
        case InstallationActor():
            if not call.actor.reaches(repository):
                raise not_found()
            if route.needs:
                call.require(*route.needs)
    if writes and repository.archived:
        raise ApiError(403, "Repository was archived so is read-only.")
