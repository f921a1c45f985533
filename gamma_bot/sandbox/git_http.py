"""``git clone``, ``git fetch`` and ``git push`` over HTTP: Git's own ``http-backend`` behind GitHub's rules."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from gamma_bot.sandbox.auth import actor_of
from gamma_bot.sandbox.call import ApiError, InstallationActor, UserActor
from gamma_bot.sandbox.forge import Forge
from gamma_bot.sandbox.model import Account, Repository
from gamma_bot.sandbox.pushes import follow_push

_CHUNK_BYTES = 64 * 1024


def add_git(application: web.Application, forge: Forge) -> None:
    """Serve Git at ``/{owner}/{repo}.git`` (and without ``.git``, as GitHub does)."""
    endpoint = _GitEndpoint(forge)
    for method, rest in (("GET", "info/refs"), ("POST", "git-upload-pack"), ("POST", "git-receive-pack")):
        application.router.add_route(method, f"/{{owner}}/{{repo}}/{{service:{rest}}}", endpoint.serve)


class _GitEndpoint:
    def __init__(self, forge: Forge) -> None:
        self._forge = forge

    async def serve(self, request: web.Request) -> web.StreamResponse:
        owner, name = request.match_info["owner"], request.match_info["repo"].removesuffix(".git")
        repository = self._forge.state.repository(f"{owner}/{name}")
        elsewhere = self._forge.state.moved(f"{owner}/{name}")
        if elsewhere is not None and (not elsewhere.private or "Authorization" in request.headers):
            service, query = request.match_info["service"], request.query_string
            return _moved(f"{self._forge.urls.clone(elsewhere)}/{service}" + (f"?{query}" if query else ""))
        service = request.query.get("service", request.match_info["service"])
        role = "write" if service == "git-receive-pack" else "read"
        account, by_token = self._account(request, repository, role)
        if repository is None or not (by_token or _may(repository, account, "read")):
            # As on GitHub: whether a private repository exists is told to those only who may see it.
            return _ask_for_credentials() if account is None else web.Response(status=404, text="Repository not found.")
        if service != "git-receive-pack":
            return await self._backend(request, repository, account)
        if account is None:
            return _ask_for_credentials()
        if not (by_token or _may(repository, account, "write")):
            text = f"Permission to {repository.full_name}.git denied to {account.login}."
            return web.Response(status=403, text=text)
        if request.method == "GET":
            return await self._backend(request, repository, account)
        async with self._forge.pushing(repository.git_dir):
            # The answer leaves after the webhooks have been queued: who has pushed may wait for their effect.
            before = await self._forge.git.refs(repository.git_dir)
            response = await self._backend(request, repository, account)
            after = await self._forge.git.refs(repository.git_dir)
            await follow_push(self._forge, repository, before, after, account)
        return response

    def _account(self, request: web.Request, repository: Repository | None, role: str) -> tuple[Account | None, bool]:
        """Who comes, and whether an App's token lets them in.

        A token counts wherever it stands; without one the user name is believed, with any password.
        """
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None, False
        try:
            name, _, password = base64.b64decode(credentials).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, False
        for secret in (password, name):
            if secret.startswith(("ghs_", "ghp_")):
                try:
                    actor = actor_of(self._forge.state, secret)
                except ApiError:
                    return None, False
                if isinstance(actor, InstallationActor):
                    reached = repository is not None and actor.reaches(repository)
                    return actor.installation.app.bot, reached and actor.holds(f"contents:{role}")
                return (actor.account if isinstance(actor, UserActor) else None), False
        account = self._forge.state.account(name)
        return (account if account and account.type == "User" else None), False

    async def _backend(
        self, request: web.Request, repository: Repository, account: Account | None
    ) -> web.StreamResponse:
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", cwd=repository.git_dir, env=self._environment(request, repository, account),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        async with AsyncExitStack() as stack:
            feeding = asyncio.create_task(_feed(process.stdin, request.content.iter_chunked(_CHUNK_BYTES)))
            stack.push_async_callback(_settle, feeding, process)
            output = await process.stdout.read()
        head, _, body = output.partition(b"\r\n\r\n")
        response = web.Response(body=body)
        for line in head.decode().splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "status":
                response.set_status(int(value.split()[0]))
            elif name.lower() != "content-length":
                response.headers[name] = value.strip()
        return response

    def _environment(self, request: web.Request, repository: Repository, account: Account | None) -> dict[str, str]:
        folder: Path = repository.git_dir.relative_to(self._forge.repositories_dir)
        return {
            **self._forge.git.environment,
            "GIT_PROJECT_ROOT": str(self._forge.repositories_dir),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_HTTP_MAX_REQUEST_BUFFER": "100M",
            "PATH_INFO": f"/{folder.as_posix()}/{request.match_info['service']}",
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": account.login if account else "",
            "REMOTE_ADDR": request.remote or "",
            # Neither CONTENT_LENGTH nor HTTP_CONTENT_ENCODING: aiohttp has already unzipped the body and joined its
            # chunks, so Git reads until the end of its input.
        }


async def _feed(stdin: asyncio.StreamWriter, body: AsyncIterator[bytes]) -> None:
    try:
        async for chunk in body:
            stdin.write(chunk)
            await stdin.drain()
    except (ConnectionError, BrokenPipeError):
        # Git has read what it wanted.
        pass
    finally:
        stdin.close()


async def _settle(feeding: asyncio.Task[None], process: asyncio.subprocess.Process) -> None:
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    await process.wait()


def _may(repository: Repository, account: Account | None, role: str) -> bool:
    if account is None:
        return role == "read" and not repository.private
    return repository.may(account.login, role)


def _moved(address: str) -> web.Response:
    """Git follows this and stays at the new address."""
    return web.Response(status=301, headers={"Location": address})


def _ask_for_credentials() -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="GitHub"'}
    return web.Response(status=401, headers=headers, text="Your name as the user, anything as the password.")
