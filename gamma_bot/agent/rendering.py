"""From a checked write-up to its Markdown; everything in it passes the sanitiser."""

from __future__ import annotations

from urllib.parse import quote

from gamma_bot.agent.checks import runnable
from gamma_bot.agent.diff import line_of
from gamma_bot.agent.facts import Commit, Judged
from gamma_bot.agent.grader import Grader
from gamma_bot.agent.placeholders import resolve
from gamma_bot.agent.sanitiser import AllowedLinks, sanitise, sanitise_line
from gamma_bot.agent.schema import Written

_LONGEST_FIELD = 700
_ARROWS = {"up": "should rise", "down": "should fall"}


def render(written: Written, commit: Commit, links: AllowedLinks) -> str:
    """The write-up as Markdown, with the numbers that its placeholders stand for."""
    return sanitise("\n".join(_Page(commit).lines(written)), links)


def headline(written: Written, commit: Commit) -> str:
    """The headline in plain words: later write-ups of the project are shown it."""
    return resolve(written.headline, Grader(commit).metrics)


class _Page:
    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._metrics = {metric.name: metric for metric in commit.metrics}
        self._files = {file.path: file for file in commit.files}

    def lines(self, written: Written) -> list[str]:
        lines = [f"**{self._prose(written.headline)}**", ""]
        lines += [f"- {self._file(each.path)}: {self._prose(each.summary)}" for each in written.what_changed]
        lines.append("")
        if written.metric_notes:
            # With a title: below the files they would be read as one list with them.
            lines += ["**About the metrics**", ""]
            lines += [f"- {_code(each.metric)}: {self._prose(each.text)}" for each in written.metric_notes]
            lines.append("")
        lines += self._cause(written)
        if written.suspects:
            lines += ["**Where it may have broken**", ""]
            lines += [
                f"- {self._file(each.path, each.quote)}: {_code(each.quote)} – {self._prose(each.why)}"
                for each in written.suspects
            ]
            lines.append("")
        if written.next_experiments:
            lines += ["**First thing to try**" if self._commit.failed else "**What to try next**", ""]
            lines += [f"{at}. {text}" for at, text in enumerate(self._experiments(written), 1)]
            lines.append("")
        if written.caveats:
            lines += ["**Keep in mind**", "", *(f"- {self._prose(each)}" for each in written.caveats)]
        return lines

    def _cause(self, written: Written) -> list[str]:
        cause = written.likely_cause
        if not cause.text or (not cause.evidence and not self._calls_for_a_cause()):
            return []
        shown = [self._file(each.ref) if each.kind == "diff" else _code(each.ref) for each in cause.evidence]
        evidence = f" Seen in {', '.join(shown)}." if shown else ""
        return [f"**Likely cause** ({cause.confidence} confidence): {self._prose(cause.text)}{evidence}", ""]

    def _calls_for_a_cause(self) -> bool:
        """Whether there is anything to explain: that nothing moved, or that there is no baseline, was said already."""
        quiet = (Judged.SAME, Judged.NO_BASELINE)
        return self._commit.failed or any(metric.judged not in quiet for metric in self._commit.metrics)

    def _experiments(self, written: Written) -> list[str]:
        params = {param.name for param in self._commit.params}
        found = []
        for each in written.next_experiments:
            parts = [self._prose(each.change), self._prose(each.why)]
            if each.expected_metric and each.expected_direction in _ARROWS:
                parts.append(f"{_code(each.expected_metric)} {_ARROWS[each.expected_direction]}.")
            if command := runnable(each.change, params):
                parts.append(f"Run it with {_code(command)}.")
            found.append(" ".join(parts))
        return found

    def _prose(self, text: str) -> str:
        return sanitise_line(resolve(text, self._metrics), AllowedLinks(), _LONGEST_FIELD)

    def _file(self, path: str, quoted: str = "") -> str:
        file = self._files.get(path)
        if file is None or file.status == "removed" or not self._commit.url:
            return _code(path)
        line = line_of(file, quoted) if quoted else None
        label, anchor = (f"{path}:{line}", f"#L{line}") if line else (path, "")
        return f"[{_code(label)}]({self._commit.url}/blob/{self._commit.sha}/{quote(path)}{anchor})"


def _code(text: str) -> str:
    shown = " ".join(text.split())[:200]
    if "`" in shown:
        longest = max(len(run) for run in "".join(c if c == "`" else " " for c in shown).split())
        ticks = "`" * (longest + 1)
        return f"{ticks} {shown} {ticks}"
    return f"`{shown}`"
