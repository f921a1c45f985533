"""People and organizations: who there is in a sandbox."""

from __future__ import annotations

import secrets
from typing import Literal

from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account


class AccountPeople:
    """Makes accounts and finds them."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge

    def create_user(self, login: str, *, name: str | None = None) -> Account:
        return self._create_account(login, "User", name)

    def create_organization(self, login: str, *, name: str | None = None) -> Account:
        return self._create_account(login, "Organization", name)

    def _create_account(self, login: str, kind: Literal["User", "Organization"], name: str | None) -> Account:
        state = self.forge.state
        if state.account(login):
            raise ValueError(f"the login {login!r} is taken")
        account = Account(state.next_id(), login, kind, name or login, "", state.now())
        account.email = f"{account.id}+{login}@users.noreply.github.example"
        account.token = f"ghp_{secrets.token_hex(18)}"
        state.accounts[login.lower()] = account
        state.changed()
        return account

    def _account(self, who: Account | str) -> Account:
        if isinstance(who, Account):
            return who
        return self.forge.state.account(who) or self.create_user(who)
