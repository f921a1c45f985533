"""What the forms and buttons of the pages do: comment, press a check's button, re-run, merge, close."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from gamma_bot.sandbox.call import ApiError
from gamma_bot.sandbox.checks import ask_again, ask_suite_again, request_action
from gamma_bot.sandbox.comments import add_comment
from gamma_bot.sandbox.model import Account, Repository
from gamma_bot.sandbox.page_checks import suites_of
from gamma_bot.sandbox.page_frame import PERSON_COOKIE, Frame, PageError, not_found
from gamma_bot.sandbox.page_runs import RunPages
from gamma_bot.sandbox.pulls import merge_pull, reopen_pull
from gamma_bot.sandbox.pushes import close_pull


class PageActions:
    """Each acts as the person whom the reader chose, and leads back to a page."""

    def __init__(self, frame: Frame, runs: RunPages) -> None:
        self._frame = frame
        self._forge = frame.forge
        self._runs = runs

    async def choose_person(self, request: web.Request) -> web.Response:
        form = await request.post()
        account = self._person_named(str(form.get("login", "")))
        answer = _back(form.get("return_to"), "/")
        answer.set_cookie(PERSON_COOKIE, account.login, httponly=True, samesite="Strict", max_age=30 * 86_400)
        return answer

    async def comment(self, request: web.Request) -> web.Response:
        """Post a comment as the person chosen in the form, who stays chosen."""
        repository, pull = self._frame.pull(request)
        form = await request.post()
        account = self._person_named(str(form.get("login", "")))
        # A browser sends line ends as CRLF; GitHub stores them so too, but nobody relies on that.
        body = str(form.get("body", "")).replace("\r\n", "\n")
        if not body.strip():
            raise PageError(422, "The comment is empty", "Write something and send it again.")
        comment = add_comment(self._forge, pull, account, body)
        answer = _back(None, f"/{repository.full_name}/pull/{pull.number}#issuecomment-{comment.id}")
        answer.set_cookie(PERSON_COOKIE, account.login, httponly=True, samesite="Strict", max_age=30 * 86_400)
        return answer

    async def press(self, request: web.Request) -> web.Response:
        """A button that the App put on its check run."""
        repository = self._frame.repository(request)
        run = self._runs.find(repository, int(request.match_info["run"]))
        form = await request.post()
        person = self._writer(request, repository)
        request_action(self._forge, run, str(form.get("identifier", "")), person)
        return _back(form.get("return_to"), f"/{repository.full_name}/runs/{run.id}")

    async def rerun(self, request: web.Request) -> web.Response:
        """Re-run: the App is told; the run itself stays as it is."""
        repository = self._frame.repository(request)
        run = self._runs.find(repository, int(request.match_info["run"]))
        form = await request.post()
        await ask_again(self._forge, run, self._writer(request, repository))
        return _back(form.get("return_to"), f"/{repository.full_name}/runs/{run.id}")

    async def rerun_all(self, request: web.Request) -> web.Response:
        """Re-run all checks: every App with a suite on the commit is told."""
        repository, sha = self._frame.repository(request), request.match_info["sha"]
        form = await request.post()
        person = self._writer(request, repository)
        suites = suites_of(repository, sha)
        if not suites:
            raise not_found(f"check on commit {sha[:7]} in {repository.full_name}")
        for suite in suites:
            await ask_suite_again(self._forge, suite, person)
        return _back(form.get("return_to"), f"/{repository.full_name}/commit/{sha}")

    async def change_state(self, request: web.Request) -> web.Response:
        """Merge, close or reopen a pull request."""
        repository, pull = self._frame.pull(request)
        form = await request.post()
        person = self._writer(request, repository)
        match form.get("change"):
            case "merge":
                await merge_pull(self._forge, pull, person)
            case "close" if pull.state == "open":
                await close_pull(self._forge, pull, person)
            case "reopen" if pull.state == "closed":
                await reopen_pull(self._forge, pull, person)
            case _:
                raise PageError(422, "Nothing changed", f"Pull request #{pull.number} is {pull.state} already.")
        return _back(None, f"/{repository.full_name}/pull/{pull.number}")

    def _person_named(self, login: str) -> Account:
        account = self._forge.state.account(login)
        if account is None or account.type != "User":
            raise PageError(422, "Nobody to act as", f"There is no person {login!r} in the sandbox; choose one above.")
        return account

    def _writer(self, request: web.Request, repository: Repository) -> Account:
        person = self._frame.person(request, repository)
        if person is None or not repository.may(person.login, "write"):
            login = person.login if person else "Nobody"
            explanation = f"{login} has no write access to {repository.full_name}. Choose another person above."
            raise PageError(403, "Not allowed", explanation)
        return person


def check_origin(request: web.Request, own_host: str) -> None:
    """Let only the sandbox's own pages send forms.

    Any web page could make a reader's browser post to this machine. The browser names the page's origin, and it has to
    be this host; the host must be ours or an address, or a name that someone pointed at this machine would do.
    """
    origin = request.headers.get("Origin", "")
    host = request.host
    if urlsplit(origin).netloc != host or not _is_ours(urlsplit(f"//{host}").hostname or "", own_host):
        raise PageError(
            403,
            "The form came from somewhere else",
            "Only the sandbox's own pages may send forms. Open the page again and press the button there; "
            "a script should use the API under /api/v3 instead.",
        )


def refusal(error: ApiError) -> PageError:
    """What the API's refusal says, as a page."""
    words = (problem if isinstance(problem, str) else problem.get("message") for problem in error.errors)
    details = [word for word in words if word]
    return PageError(error.status, "That did not work", " ".join([error.message, *details]))


def _is_ours(host: str, own_host: str) -> bool:
    if host in (own_host, "localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _back(target: object, default: str) -> web.Response:
    """Lead back to one of our own pages, whatever the form says."""
    own = isinstance(target, str) and target.startswith("/") and not target.startswith(("//", "/\\"))
    return web.Response(status=303, headers={"Location": str(target) if own else default})
