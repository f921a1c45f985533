"""The Jinja2 templates of ``templates/``, and how a report is made to fit into what GitHub takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jinja2

from gamma_bot.reporting import sections
from gamma_bot.reporting.facts import JobFacts, State
from gamma_bot.reporting.markdown import code, fit, prose, sentence, text
from gamma_bot.reporting.money import cost_line
from gamma_bot.reporting.numbers import count
from gamma_bot.reporting.sections import PORTIONS
from gamma_bot.reporting.titles import mark, ran_to_its_end, says_why, title
from gamma_bot.reporting.write_up import write_up


def render(template: str, **values: object) -> str:
    """A template's text, without blank lines around it."""
    return _environment().get_template(template).render(values).strip()


def render_fitting(
    template: str, facts: JobFacts, limit: int, *, head: str = "", foot: str = "", **more: object
) -> str:
    """A template with as much of the facts as fits: less of what matters least, and at the very last a plain cut."""
    room = limit - len(head) - len(foot)
    body = ""
    for portions in PORTIONS:
        body = render(template, facts=facts, portions=portions, **more)
        if len(body) <= room:
            break
    return f"{head}{fit(body, room)}{foot}"


def template_environment(folder: Path) -> jinja2.Environment:
    """The environment in which a plain string is always escaped, and ``Markdown`` never is."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=False,  # noqa: S701 - that would escape for HTML; `finalize` escapes for Markdown
        finalize=lambda value: text(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., object]] = {
        "code": code,
        "text": text,
        "prose": prose,
        "sentence": sentence,
        "short": sections.short,
        "count": count,
        "mark": mark,
        "title": title,
    }
    parts: dict[str, Callable[..., object]] = {
        function.__name__: function
        for function in (
            sections.metrics_table,
            sections.compared_with,
            sections.champion_line,
            sections.reused_line,
            sections.chart,
            sections.links,
            sections.run_line,
            says_why,
            ran_to_its_end,
            sections.commit_line,
            cost_line,
            sections.commit_link,
            sections.broken_places,
            sections.log_block,
            sections.log_note,
            sections.artifacts_table,
            sections.artifacts_heading,
            sections.params_table,
            write_up,
        )
    }
    environment.filters.update(filters)
    environment.filters.update(parts)
    environment.globals["State"] = State
    return environment


def template_folder() -> Path:
    """Where the templates are: beside the package in an installed wheel, in the root of a source tree."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent / "templates"):
        if (folder / "checks").is_dir():
            return folder
    raise FileNotFoundError(f"The templates are missing beside {package}: install Gamma again.")


@cache
def _environment() -> jinja2.Environment:
    # Read when the first report is made, not when Gamma starts.
    return template_environment(template_folder())
