"""The write-up that needs no model: what changed in which files, and which metrics moved how.

It says only what the diff and the numbers show. It never says that one caused the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import yaml

from gamma_bot.reporting.facts import ChangedFile, JobFacts, Judgement, MetricLine
from gamma_bot.reporting.markdown import Markdown, code, link
from gamma_bot.reporting.numbers import count, format_percent, format_value
from gamma_bot.reporting.sections import blob_url, short
from gamma_bot.reporting.titles import ran_to_its_end, shown_metrics

_SETTING = re.compile(r"^[+-](\s+)([\w./-]{1,100}):\s+([^\s#].{0,300}?)\s*(?:\s#.*)?$")
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)")
_MAX_SENTENCES = 5
_MAX_SUSPECTS = 3


def write_up(facts: JobFacts, files: int = 30) -> Markdown:
    """Sentences about the files and the metrics; empty if nothing is known of either."""
    parts = [_changes(facts, files), _settings(facts), _suspects(facts), _metrics(facts)]
    return Markdown("\n\n".join(part for part in parts if part))


def changed_settings(patch: str) -> dict[str, tuple[str, str]]:
    """Values in ``gamma.yml`` that were replaced by others, by key: (before, after).

    Only what a patch shows beyond doubt: one removed and one added line with the same key at the same depth, or
    two such flow mappings. A key that was replaced more than once is left out.
    """
    removed, added = _setting_lines(patch, "-"), _setting_lines(patch, "+")
    found: dict[str, tuple[str, str]] = {}
    for place in removed:
        if place not in added or len(removed[place]) != 1 or len(added[place]) != 1:
            continue
        _, key = place
        before, after = removed[place][0], added[place][0]
        old, new = _flow_mapping(before), _flow_mapping(after)
        pairs = {key: (before, after)}
        if old is not None and new is not None:
            pairs = {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}
        for name, pair in pairs.items():
            if name in found:
                return {}  # two sections with the same key: the patch does not say which is which
            found[name] = pair
    return found


def _changes(facts: JobFacts, limit: int) -> str:
    if not facts.changed_files:
        return ""
    since = f" since {short(facts.compared_with)}" if facts.compared_with else ""
    number = len(facts.changed_files)
    added = sum(file.additions for file in facts.changed_files)
    deleted = sum(file.deletions for file in facts.changed_files)
    total = _plus_minus(added, deleted) if number > 1 else ""
    heading = f"{count(number, 'file')} changed{since}{total}:"
    groups: dict[str, list[ChangedFile]] = {}
    for file in facts.changed_files:
        folder, slash, _ = file.path.partition("/")
        groups.setdefault(folder + "/" if slash else "", []).append(file)
    items = []
    shown = 0
    for folder, members in sorted(groups.items()):
        if number > 8 and folder and len(members) > 3:
            sums = sum(file.additions for file in members), sum(file.deletions for file in members)
            items.append(f"- {code(folder)} {count(len(members), 'file')}{_plus_minus(*sums)}")
            shown += len(members)
            continue
        for file in members:
            if len(items) >= limit:
                break
            items.append(f"- {_file(file, facts)}")
            shown += 1
    if shown < number:
        items.append(f"- and {count(number - shown, 'more file')}")
    return "\n".join([heading, "", *items])


def _file(file: ChangedFile, facts: JobFacts) -> str:
    name = code(file.path)
    shown = name if file.status == "removed" else link(name, blob_url(facts, file.path))
    status = f", {file.status}" if file.status in ("added", "removed", "renamed") else ""
    return f"{shown}{_plus_minus(file.additions, file.deletions)}{status}"


def _settings(facts: JobFacts) -> str:
    patch = next((file.patch for file in facts.changed_files if file.path in ("gamma.yml", "gamma.yaml")), None)
    changes = changed_settings(patch) if patch else {}
    if not changes:
        return ""
    said = [f"{code(name)} went from {code(old, 60)} to {code(new, 60)}" for name, (old, new) in changes.items()]
    rest = len(said) - 8
    return f"In gamma.yml, {_enumerate([*said[:8], *([f'{rest} more values changed'] if rest > 0 else [])])}."


def _suspects(facts: JobFacts) -> str:
    """Which of the lines where it broke are new: they are looked at first."""
    patches = {file.path: file.patch for file in facts.changed_files if file.patch}
    since = f" since {short(facts.compared_with)}" if facts.compared_with else ""
    sentences = []
    for broken in facts.broken_lines[:_MAX_SUSPECTS]:
        line = _added_lines(patches.get(broken.path, "")).get(broken.line, "").strip()
        if line:
            place = link(code(f"{broken.path}:{broken.line}"), blob_url(facts, broken.path, broken.line))
            sentences.append(f"The line where it broke is new{since}: {place}, {code(line)}.")
    return " ".join(sentences)


def _added_lines(patch: str) -> dict[int, str]:
    """The lines that a patch adds, by their numbers in the new file."""
    found: dict[int, str] = {}
    number = 0
    for line in patch.splitlines():
        hunk = _HUNK.match(line)
        if hunk:
            number = int(hunk[1])
        elif not line.startswith(("-", "\\")):
            if line.startswith("+"):
                found[number] = line[1:]
            number += 1
    return found


def _metrics(facts: JobFacts) -> str:
    lines = shown_metrics(facts)
    if not lines or not ran_to_its_end(facts):
        return ""
    moved = [line for line in lines if line.judgement is not Judgement.SAME or line.primary]
    same = [line for line in lines if line not in moved]
    sentences = [sentence for line in moved[:_MAX_SENTENCES] if (sentence := _sentence(line))]
    if len(moved) > _MAX_SENTENCES:
        sentences.append(f"The table has {count(len(moved) - _MAX_SENTENCES, 'more metric')}.")
    if same:
        names = _enumerate([str(code(line.name)) for line in same[:4]])
        named = names if len(same) <= 4 else count(len(same), "other metric")
        unmoved = all(line.change == 0 for line in same)
        be = "is" if len(same) == 1 else "are"
        ending = f"{be} as in the baseline" if unmoved else "stayed within tolerance of the baseline"
        sentences.append(f"{named} {ending}.")
    return " ".join(sentences)


def _sentence(line: MetricLine) -> str:
    name = code(line.name)
    last = format_value(line.last)
    if line.judgement is Judgement.NOT_FINITE:
        return f"{name} ended as {last} at step {line.step:,}."
    if line.judgement is Judgement.NO_BASELINE or line.baseline is None or line.change is None:
        return _own_course(line)
    if line.change == 0:
        return f"{name} is {last}, as in the baseline."
    verb = "rose" if line.change > 0 else "fell"
    share = f" ({format_percent(line.relative)})" if line.relative is not None else ""
    moved = f"{name} {verb} from {format_value(line.baseline)} to {last}{share}"
    match line.judgement:
        case Judgement.BETTER:
            return f"{moved}, which is better."
        case Judgement.WORSE:
            return f"{moved}, which is worse."
        case Judgement.SAME:
            return f"{moved}, within its tolerance of {format_value(line.tolerance)}."
        case _:
            return f"{moved}."


def _own_course(line: MetricLine) -> str:
    """Without a baseline only the run itself can be told, and only for the metric that matters most."""
    if not line.primary or len(line.history) < 2 or line.history[0][1] == line.last:
        return ""
    step, first = line.history[0]
    verb = "rose" if line.last > first else "fell"
    values = f"from {format_value(first)} at step {step:,} to {format_value(line.last)}"
    return f"During the run {code(line.name)} {verb} {values}."


def _setting_lines(patch: str, sign: str) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for line in patch.splitlines()[:2000]:
        match = _SETTING.match(line) if line.startswith(sign) else None
        if match:
            found.setdefault((match[1], match[2]), []).append(match[3])
    return found


def _flow_mapping(value: str) -> Mapping[str, str] | None:
    """``{lr: 0.01, epochs: 20}`` as text by key; ``None`` for anything else. No anchors: they can grow without end."""
    if not value.startswith("{") or "&" in value or "*" in value:
        return None
    try:
        parsed = yaml.load(value, Loader=yaml.BaseLoader)  # noqa: S506 - makes only strings, lists and dicts
    except yaml.YAMLError:
        return None
    if not isinstance(parsed, dict) or not all(isinstance(item, str) for pair in parsed.items() for item in pair):
        return None
    return parsed


def _plus_minus(additions: int, deletions: int) -> str:
    return f" (+{additions:,} -{deletions:,})"


def _enumerate(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
