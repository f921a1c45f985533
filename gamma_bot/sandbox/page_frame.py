"""What every page stands in: the person who looks, the templates and their filters, the answer's headers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from aiohttp import web
from markupsafe import Markup

from gamma_bot.sandbox import markdown
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.git import GitCommit
from gamma_bot.sandbox.model import Account, Annotation, CheckRun, PullRequest, Repository
from gamma_bot.sandbox.page_checks import (
    Look,
    ago_words,
    by_urgency,
    latest_runs,
    look_of,
    roll_up,
    run_words,
    suites_of,
)
from gamma_bot.sandbox.page_references import RepositoryReferences

PERSON_COOKIE = "sandbox_person"


class PageError(Exception):
    """A page that can't be shown; the words are for the reader."""

    def __init__(self, status: int, heading: str, explanation: str) -> None:
        super().__init__(heading)
        self.status = status
        self.heading = heading
        self.explanation = explanation


def not_found(what: str) -> PageError:
    return PageError(404, "Not found", f"The sandbox has no {what}. Names are part of the address: check the spelling.")


class Frame:
    """Renders the pages of one sandbox."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.stylesheet = (_templates() / "sandbox.css").read_bytes()
        self._stylesheet_version = hashlib.sha256(self.stylesheet).hexdigest()[:12]

    def repository(self, request: web.Request) -> Repository:
        """The repository that the address names."""
        name = f"{request.match_info['owner']}/{request.match_info['repo']}"
        found = self.forge.state.repository(name)
        moved = self.forge.state.moved(name)
        if moved is not None:
            rest = request.rel_url.raw_path.split("/", 3)[3:]
            raise web.HTTPMovedPermanently("/".join(["", moved.full_name, *rest]))
        if found is None:
            raise not_found(f"repository {name}")
        return found

    def pull(self, request: web.Request) -> tuple[Repository, PullRequest]:
        """The pull request that the address names, and its repository."""
        repository = self.repository(request)
        pull = repository.issues.get(int(request.match_info["number"]))
        if not isinstance(pull, PullRequest):
            raise not_found(f"pull request #{request.match_info['number']} in {repository.full_name}")
        return repository, pull

    def people(self) -> list[Account]:
        """Everyone one can act as, those with a repository first."""
        state = self.forge.state
        owners = {repository.owner.login for repository in state.repositories.values()}
        people = [account for account in state.accounts.values() if account.type == "User"]
        return sorted(people, key=lambda account: account.login not in owners)

    def person(self, request: web.Request, repository: Repository | None = None) -> Account | None:
        """Who acts on this page: whom the reader chose, or someone who may write here."""
        people = self.people()
        chosen = self.forge.state.account(request.cookies.get(PERSON_COOKIE, ""))
        if chosen in people:
            return chosen
        writers = [person for person in people if repository is None or repository.may(person.login, "write")]
        return next(iter(writers or people), None)

    async def page(
        self, request: web.Request, template: str, repository: Repository | None = None, *, status: int = 200,
        **values: Any,
    ) -> web.Response:  # fmt: skip
        """Render a template; ``repository`` adds its tabs and lets its commits and pull requests be linked."""
        person = self.person(request, repository)
        commits: Sequence[str] = ()
        if repository is not None:
            listed = await self.forge.git.run(repository.git_dir, "rev-list", "--all", "--max-count=20000")
            commits = listed.decode().split()
        nonce = secrets.token_urlsafe(16)
        text = (
            _environment()
            .get_template(template)
            .render(
                stylesheet_version=self._stylesheet_version,
                revision=self.forge.state.revision,
                nonce=nonce,
                request_path=request.rel_url.raw_path + (f"?{request.query_string}" if request.query_string else ""),
                now=self.forge.state.now(),
                people=self.people(),
                person=person,
                repository=repository,
                references=RepositoryReferences(self.forge, repository, commits),
                disabled=_disabled(person, repository),
                **values,
            )
        )
        return web.Response(text=text, content_type="text/html", status=status, headers=_headers(nonce))

    async def error(self, request: web.Request, error: PageError) -> web.Response:
        return await self.page(
            request, "sandbox_error.html", status=error.status, heading=error.heading, explanation=error.explanation
        )


def _templates() -> Path:
    """The pages' templates: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = [package / "templates" / "pages", package.parent / "templates" / "pages"]
    return next((place for place in places if place.is_dir()), places[-1])


def _headers(nonce: str) -> Mapping[str, str]:
    policy = (
        "default-src 'none'; style-src 'self'; img-src http: https: data:; connect-src 'self'; form-action 'self'; "
        f"script-src 'nonce-{nonce}'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        # Not no-referrer: with that a browser sends "Origin: null" with the forms.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _disabled(person: Account | None, repository: Repository | None) -> Markup:
    """What a button gets that the person may not press: GitHub wants write access for Re-run and for actions."""
    if person is not None and repository is not None and repository.may(person.login, "write"):
        return Markup("")
    login = person.login if person else "Nobody"
    return Markup(' disabled title="{}"').format(f"{login} has no write access here.")


@cache
def _environment() -> jinja2.Environment:
    """The compiled templates, the same for every sandbox of a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def commit_look(repository: Repository, sha: str) -> Look | None:
        return roll_up(latest_runs(suites_of(repository, sha)))

    filters: dict[str, Callable[..., Any]] = {
        "ago": _ago,
        "annotation_count": annotation_count,
        "comment_markdown": _comment_markdown,
        "markdown": _markdown,
        "size": size_words,
        "subject": subject,
        "web_link": web_link,
    }
    environment.filters.update(filters)
    environment.globals.update(
        look_of=look_of,
        commit_look=commit_look,
        by_urgency=by_urgency,
        check_href=check_href,
        run_words=_run_words,
    )
    return environment


@jinja2.pass_context
def _ago(context: jinja2.runtime.Context, moment: str) -> str:
    return ago_words(moment, context["now"])


@jinja2.pass_context
def _run_words(context: jinja2.runtime.Context, run: CheckRun) -> str:
    return run_words(run, context["now"])


@jinja2.pass_context
def _markdown(context: jinja2.runtime.Context, text: str | None) -> Markup:
    return markdown.render(text, context["references"])


@jinja2.pass_context
def _comment_markdown(context: jinja2.runtime.Context, text: str | None) -> Markup:
    return markdown.render(text, context["references"], hard_breaks=True)


def check_href(repository: Repository, run: CheckRun, pull: PullRequest | None = None) -> str:
    """Where a check's own page is: within the pull request's Checks tab, or alone."""
    if pull is not None:
        return f"/{repository.full_name}/pull/{pull.number}/checks?check_run_id={run.id}"
    return f"/{repository.full_name}/runs/{run.id}"


def web_link(address: str | None) -> str | None:
    """The address if it is one that a browser may open: an App could send ``javascript:…``."""
    return address if address and urlsplit(address.strip()).scheme in ("http", "https") else None


def subject(commit: GitCommit) -> str:
    return commit.message.split("\n", 1)[0].strip() or "(no message)"


def size_words(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1000:.1f} KB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def annotation_count(annotations: Sequence[Annotation]) -> str:
    """``1 error, 2 warnings and 1 notice``, as GitHub counts them above the list."""
    words = {"failure": "error", "warning": "warning", "notice": "notice"}
    parts = []
    for level, word in words.items():
        count = sum(annotation.annotation_level == level for annotation in annotations)
        if count:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
