"""Where things are: the addresses that answers and webhooks carry."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from gamma_bot.sandbox.model import Account, CheckRun, Issue, PullRequest, Repository


@dataclass(frozen=True)
class Urls:
    """The addresses of one running sandbox. As on an Enterprise Server, the API is under ``/api/v3``."""

    web: str

    @property
    def api(self) -> str:
        return f"{self.web}/api/v3"

    def user_api(self, account: Account) -> str:
        return f"{self.api}/users/{quote(account.login)}"

    def user_page(self, account: Account) -> str:
        if account.type == "Bot":
            return f"{self.web}/apps/{account.login.removesuffix('[bot]')}"
        return f"{self.web}/{account.login}"

    def avatar(self, account: Account) -> str:
        return f"{self.web}/avatars/u/{account.id}?v=4"

    def repository_api(self, repository: Repository) -> str:
        return f"{self.api}/repos/{repository.full_name}"

    def repository_page(self, repository: Repository) -> str:
        return f"{self.web}/{repository.full_name}"

    def clone(self, repository: Repository) -> str:
        return f"{self.web}/{repository.full_name}.git"

    def commit_page(self, repository: Repository, sha: str) -> str:
        return f"{self.repository_page(repository)}/commit/{sha}"

    def run_page(self, run: CheckRun) -> str:
        return f"{self.repository_page(run.suite.repository)}/runs/{run.id}"

    def issue_page(self, issue: Issue) -> str:
        kind = "pull" if isinstance(issue, PullRequest) else "issues"
        return f"{self.repository_page(issue.repository)}/{kind}/{issue.number}"

    def issue_api(self, issue: Issue) -> str:
        return f"{self.repository_api(issue.repository)}/issues/{issue.number}"

    def pull_api(self, pull: PullRequest) -> str:
        return f"{self.repository_api(pull.repository)}/pulls/{pull.number}"
