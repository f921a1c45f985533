"""The download host. It is another origin than the API, and a caller must not bring its API token here."""

from __future__ import annotations

from aiohttp import web

from gamma_bot.sandbox.forge import Forge


def download_application(forge: Forge) -> web.Application:
    """The application for the second port."""

    async def download(request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            forge.violations.append(f"an Authorization header was sent to the download host: {request.path}")
            return web.Response(status=400, text="Bad Request: credentials do not belong here")
        found = forge.downloads.pop(request.query.get("token", ""), None)
        if found is None:
            return web.Response(status=404, text="404: Not Found")
        git_dir, sha, folder = found
        headers = {
            "Content-Type": "application/x-gzip",
            "Content-Disposition": f"attachment; filename={folder}.tar.gz",
        }
        return web.Response(body=await forge.git.archive(git_dir, sha, folder), headers=headers)

    async def download_file(request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            # Where GitHub keeps logs and artifacts, a second permission beside the address's own is an error.
            forge.violations.append(f"an Authorization header was sent to the download host: {request.path}")
            return web.Response(status=400, text="Bad Request: credentials do not belong here")
        found = forge.files.get(request.match_info["token"])
        if found is None:
            return web.Response(status=404, text="404: Not Found")
        return web.Response(body=found[0], headers={"Content-Type": found[1]})

    application = web.Application()
    application.router.add_get("/files/{token}", download_file)
    application.router.add_get("/{owner}/{repo}/legacy.tar.gz/{ref:.+}", download)
    return application
