"""The web pages of the sandbox: a repository, its pull requests and checks, looking and reading as on GitHub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from gamma_bot.sandbox.call import ApiError
from gamma_bot.sandbox.page_actions import PageActions, check_origin, refusal
from gamma_bot.sandbox.page_deliveries import DeliveryPages
from gamma_bot.sandbox.page_frame import Frame, PageError
from gamma_bot.sandbox.page_manifest import ManifestPages
from gamma_bot.sandbox.page_pull import PullPages
from gamma_bot.sandbox.page_repository import RepositoryPages
from gamma_bot.sandbox.page_runs import RunPages
from gamma_bot.sandbox.page_workflows import WorkflowPages

if TYPE_CHECKING:
    from gamma_bot.sandbox.server import SandboxGitHub

Handler = Callable[[web.Request], Awaitable[web.Response]]


def add_pages(app: web.Application, github: SandboxGitHub) -> None:
    """Add the pages' routes; call it last: ``/{owner}/{repo}`` takes what other routes leave."""
    frame = Frame(github.forge)
    files = RepositoryPages(frame)
    runs = RunPages(frame, files)
    pulls = PullPages(frame, runs)
    deliveries = DeliveryPages(frame)
    actions = PageActions(frame, runs)
    manifests = ManifestPages(frame)
    workflows = WorkflowPages(frame)

    async def stylesheet(_: web.Request) -> web.Response:
        return web.Response(body=frame.stylesheet, content_type="text/css", headers={"Cache-Control": "max-age=86400"})

    async def revision(_: web.Request) -> web.Response:
        return web.Response(text=str(github.forge.state.revision), headers={"Cache-Control": "no-store"})

    async def app_page(_: web.Request) -> web.Response:
        """An App has no page of its own here: the list of installed Apps says what there is to say."""
        raise web.HTTPFound("/")

    repository = "/{owner}/{repo}"
    pull = f"{repository}/pull/{{number:[0-9]{{1,9}}}}"
    run = f"{repository}/runs/{{run:[0-9]{{1,18}}}}"
    workflow_run = f"{repository}/actions/runs/{{workflow_run:[0-9]{{1,18}}}}"
    delivery = f"{repository}/settings/deliveries/{{delivery:[0-9]{{1,18}}}}"
    shown: dict[str, Handler] = {
        "/": files.home,
        "/_sandbox/sandbox.css": stylesheet,
        "/_sandbox/revision": revision,
        "/apps/{slug}": app_page,
        "/{owner}": files.owner,
        repository: files.repository,
        f"{repository}/tree/{{rest:.+}}": files.tree,
        f"{repository}/blob/{{rest:.+}}": files.blob,
        f"{repository}/commit/{{sha:[0-9a-f]{{7,40}}}}": files.commit,
        f"{repository}/pulls": pulls.pulls,
        f"{repository}/issues/{{number:[0-9]{{1,9}}}}": pulls.issue,
        pull: pulls.conversation,
        f"{pull}/commits": pulls.commits,
        f"{pull}/checks": pulls.checks,
        f"{pull}/files": pulls.files,
        run: runs.run,
        f"{repository}/actions": workflows.runs,
        workflow_run: workflows.run,
        f"{workflow_run}/job/{{job:[0-9]{{1,18}}}}": workflows.run,
        f"{repository}/settings/deliveries": deliveries.deliveries,
        delivery: deliveries.delivery,
    }
    sent: dict[str, Handler] = {
        "/_sandbox/person": actions.choose_person,
        "/settings/apps/new/confirmed": manifests.create,
        "/organizations/{organization}/settings/apps/new/confirmed": manifests.create,
        f"{pull}/comments": actions.comment,
        f"{pull}/state": actions.change_state,
        f"{run}/action": actions.press,
        f"{run}/rerequest": actions.rerun,
        f"{repository}/commit/{{sha:[0-9a-f]{{40}}}}/rerequest": actions.rerun_all,
        f"{delivery}/redeliver": deliveries.redeliver,
    }
    own_host = urlsplit(github.forge.urls.web).hostname or ""
    for path, handler in shown.items():
        app.router.add_get(path, _page(frame, handler))
    # The manifest comes from the page of whoever wants an App, so these two take forms from anywhere.
    for path in ("/settings/apps/new", "/organizations/{organization}/settings/apps/new"):
        app.router.add_post(path, _page(frame, manifests.show))
    for path, handler in sent.items():
        app.router.add_post(path, _page(frame, handler, own_host))


def _page(frame: Frame, handler: Handler, own_host: str | None = None) -> Handler:
    """The handler with words for what can go wrong; with ``own_host``, it takes forms from there only."""

    async def answer(request: web.Request) -> web.Response:
        try:
            if own_host is not None:
                check_origin(request, own_host)
            return await handler(request)
        except PageError as error:
            return await frame.error(request, error)
        except ApiError as error:
            return await frame.error(request, refusal(error))

    return answer
