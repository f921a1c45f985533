"""The nine tools at work: what the model asks for is checked, read, cleaned, cut to size, and answered as data.

Whatever goes wrong, the model hears one of our own sentences, never the words of an error.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from gamma_bot.agent import tool_arguments as read
from gamma_bot.agent.accounting import tokens_of
from gamma_bot.agent.cited import Cited
from gamma_bot.agent.diff import fitting_diff
from gamma_bot.agent.facts import FileChange
from gamma_bot.agent.reading import CannotRead, ProjectReader, RunView
from gamma_bot.agent.run_data import compared, course, listed, rounded, whole
from gamma_bot.agent.text_search import Wildcards
from gamma_bot.agent.tool_arguments import Unfit
from gamma_bot.agent.tool_results import Found, ToolResult, clip, failed, fitting, text_of, without_keys
from gamma_bot.agent.tool_schemas import (
    MOST_ARTIFACT_BYTES,
    MOST_COMMITS,
    MOST_LINES,
    MOST_MATCHES,
    MOST_POINTS,
    MOST_RUNS,
    STATES,
)

RESULT_TOKENS = 4_000
ALL_RESULTS_TOKENS = 20_000
CALL_SECONDS = 10.0

NO_RUN = "This project has no such run. list_runs names those that it has."
NO_METRIC = "This run has no such metric. get_run lists its metrics."
NO_COMMIT = "This project has no such commit. list_commits names those that it has."
NO_FILE = "There is no such file."
NO_TOOL = "There is no such tool."
OUT_OF_REACH = "This can't be read now. Answer with what you have, and say what is missing."
TOO_SLOW = f"This took longer than {CALL_SECONDS:g} seconds and was given up."
USED_UP = "The budget for reading is used up. Answer now with what you have."

_LONGEST_LINE = 300
_LONGEST_FILE_LINE = 500

log = structlog.get_logger()


class Toolbox:
    """The tools for one question.

    Args:
        clean: takes secrets and hidden characters out of text (``cleaning.clean``).
        cited: is told of everything that a result contains and an answer may cite.
    """

    def __init__(self, reader: ProjectReader, clean: Callable[[str], str], cited: Cited) -> None:
        self._reader = reader
        self._clean = clean
        self._cited = cited
        self._left = ALL_RESULTS_TOKENS
        self._tools: Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Found]]] = {
            "list_runs": self._list_runs,
            "get_run": self._get_run,
            "compare_runs": self._compare_runs,
            "metric_history": self._metric_history,
            "search_logs": self._search_logs,
            "list_commits": self._list_commits,
            "get_diff": self._get_diff,
            "read_file": self._read_file,
            "read_artifact": self._read_artifact,
        }

    async def run(self, name: str, arguments: Any) -> ToolResult:
        """Call one tool. It never raises."""
        began = time.monotonic()
        content, ok = await self._answer(name, arguments if isinstance(arguments, Mapping) else {})
        self._left -= tokens_of(content)
        return ToolResult(content, ok, time.monotonic() - began)

    async def _answer(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        tool = self._tools.get(name)
        if tool is None:
            return failed(NO_TOOL)
        if self._left < RESULT_TOKENS // 8:
            return failed(USED_UP)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = await tool(arguments)
        except Unfit as unfit:
            return failed(str(unfit))
        except TimeoutError:
            return failed(TOO_SLOW)
        except CannotRead as error:
            log.warning("agent.tool_cannot_read", tool=name, error=str(error))
            return failed(OUT_OF_REACH)
        except Exception:
            log.exception("agent.tool_failed", tool=name)
            return failed(OUT_OF_REACH)
        # What is shown counts, not what was read: only that may be cited and quoted.
        content = fitting(found, self._cleaned(found.data), min(RESULT_TOKENS, self._left))
        self._cited.shown(json.loads(content)["data"])
        return content, True

    async def _list_runs(self, arguments: Mapping[str, Any]) -> Found:
        state = read.one_of(arguments, "status", ("", *STATES))
        runs = await self._reader.runs(read.whole_number(arguments, "limit", 1, MOST_RUNS), state)
        for run in runs:
            self._cited.run(run)
        return Found("runs", {"runs": [listed(run) for run in runs]}, "runs")

    async def _get_run(self, arguments: Mapping[str, Any]) -> Found:
        run = await self._run(arguments, "run_id")
        return Found(f"run {run.id}", whole(run), "artifacts")

    async def _compare_runs(self, arguments: Mapping[str, Any]) -> Found:
        first, second = await self._run(arguments, "run_a"), await self._run(arguments, "run_b")
        return Found(f"runs {first.id} and {second.id}", compared(first, second), "metrics")

    async def _metric_history(self, arguments: Mapping[str, Any]) -> Found:
        run = await self._run(arguments, "run_id")
        metric = read.text(arguments, "metric", 250)
        points = read.whole_number(arguments, "points", 2, MOST_POINTS)
        history = await self._reader.history(run, metric)
        if history is None:
            raise Unfit(NO_METRIC)
        return Found(f"metric of run {run.id}", {"run": run.id, "metric": metric, **course(history, points)})

    async def _search_logs(self, arguments: Mapping[str, Any]) -> Found:
        run = await self._run(arguments, "run_id")
        wanted = Wildcards(read.text(arguments, "pattern", 200, may_be_empty=True))
        most = read.whole_number(arguments, "max_matches", 1, MOST_MATCHES)
        lines = without_keys("\n".join(await self._reader.log(run))).split("\n")
        matches = await asyncio.to_thread(
            lambda: [(number, line) for number, line in enumerate(lines, 1) if wanted.match(line)]
        )
        shown = [{"line": number, "text": clip(line, _LONGEST_LINE)} for number, line in matches[-most:]]
        data = {"run": run.id, "lines_searched": len(lines), "matches": len(matches), "lines": shown}
        left_out = len(matches) - len(shown)
        return Found(f"log of run {run.id}", data, "lines", newest_last=True, left_out=left_out)

    async def _list_commits(self, arguments: Mapping[str, Any]) -> Found:
        path = read.path(arguments, "path", may_be_empty=True)
        limit = read.whole_number(arguments, "limit", 1, MOST_COMMITS)
        commits = await self._reader.commits(path, limit)
        for commit in commits:
            self._cited.commit(commit.sha)
        rows = [
            {"sha": one.sha[:12], "message": clip(one.message, 300), "author": one.author, "at": one.at}
            for one in commits
        ]
        return Found("commits", {"commits": rows}, "commits")

    async def _get_diff(self, arguments: Mapping[str, Any]) -> Found:
        from_sha, to_sha = read.sha(arguments, "from_sha"), read.sha(arguments, "to_sha") or self._reader.head
        path = read.path(arguments, "path", may_be_empty=True)
        diff = await self._reader.diff(from_sha, to_sha)
        if diff is None:
            raise Unfit(NO_COMMIT)
        below = f"{path.rstrip('/')}/"
        files = [_shown(file) for file in diff.files if not path or file.path == path or file.path.startswith(below)]
        for sha in (diff.from_sha, diff.to_sha):
            self._cited.commit(sha)
        room = min(RESULT_TOKENS, self._left) * 4 // 5  # the rest is for what JSON adds
        entries, left_out = fitting_diff(files, room, room)
        shown = [FileChange(each["path"], each["status"], 0, 0, each.get("patch")) for each in entries]
        self._cited.diff(diff.to_sha, shown)
        data = {"from": diff.from_sha[:12], "to": diff.to_sha[:12], "files": entries, "left_out": left_out}
        return Found("diff", data, "files", left_out=len(files) - len(entries))

    async def _read_file(self, arguments: Mapping[str, Any]) -> Found:
        sha = read.sha(arguments, "sha") or self._reader.head
        path = read.path(arguments, "path")
        start = read.whole_number(arguments, "start", 1, 10_000_000)
        most = read.whole_number(arguments, "lines", 1, MOST_LINES)
        if read.is_denied(path):
            raise Unfit(NO_FILE)
        file = await self._reader.file(sha, path)
        if file is None:
            raise Unfit(NO_FILE)
        lines = without_keys(text_of(file.content)).splitlines()
        chosen = lines[start - 1 : start - 1 + most]
        # Cut here, so that the numbers of the lines that may be cited are those that are shown.
        room = min(RESULT_TOKENS, self._left) * 3 // 4
        kept: list[str] = []
        for number, line in enumerate(chosen, start):
            numbered = f"{number}: {clip(self._clean(line), _LONGEST_FILE_LINE)}"
            room -= tokens_of(json.dumps(numbered, ensure_ascii=False)) + 1
            if room < 0:
                break
            kept.append(numbered)
        self._cited.commit(file.sha)
        self._cited.file(path, file.sha, start, start + len(kept) - 1)
        data = {"path": path, "sha": file.sha[:12], "lines_in_file": len(lines), "lines": kept}
        return Found(f"file {path}", data, left_out=max(0, len(lines) - start + 1 - len(kept)))

    async def _read_artifact(self, arguments: Mapping[str, Any]) -> Found:
        run = await self._run(arguments, "run_id")
        path = read.path(arguments, "path", may_be_empty=True)
        most = read.whole_number(arguments, "max_bytes", 1, MOST_ARTIFACT_BYTES)
        if not path:
            files = [{"path": name, "bytes": size} for name, size in run.artifacts]
            return Found(f"artifacts of run {run.id}", {"run": run.id, "artifacts": files}, "artifacts")
        if read.is_denied(path):
            raise Unfit(NO_FILE)
        content = await self._reader.artifact(run, path, most)
        if content is None:
            raise Unfit(NO_FILE)
        size = dict(run.artifacts).get(path, len(content))
        lines = text_of(content[:most], is_cut=len(content) > most).splitlines()
        data = {"run": run.id, "path": path, "bytes": size, "lines": lines}
        return Found(f"artifact of run {run.id}", data, "lines", left_out=int(len(content) > most))

    async def _run(self, arguments: Mapping[str, Any], name: str) -> RunView:
        run = await self._reader.run(read.run_id(arguments, name, NO_RUN))
        if run is None:
            raise Unfit(NO_RUN)
        self._cited.run(run)
        return run

    def _cleaned(self, value: Any) -> Any:
        match value:
            case str():
                return self._clean(value)
            case float():
                return rounded(value)
            case dict():
                # A value is judged with its name: "api_key" says what no pattern would see in the value alone.
                return {self._clean(str(key)): self._named(str(key), item) for key, item in value.items()}
            case list() | tuple():
                return [self._cleaned(item) for item in value]
            case _:
                return value

    def _named(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and "\n" not in value and "=" not in name:
            return self._clean(f"{name}={value}").partition("=")[2]
        return self._cleaned(value)


def _shown(file: FileChange) -> FileChange:
    """A file of a diff; of one that may not be read, only that it changed."""
    if not read.is_denied(file.path):
        return file
    return FileChange(file.path, file.status, file.additions, file.deletions, None)
