"""What the pages of jobs are made of, without a job."""

from __future__ import annotations

from dataclasses import replace

from gamma_bot.reporting.facts import Judgement, MetricLine
from gamma_bot.web.charts import chart_parts
from gamma_bot.web.pages import prose


def test_backticks_become_code_and_nothing_else_becomes_html() -> None:
    assert prose("Write `<b>`. **Now** <i>") == "Write <code>&lt;b&gt;</code>. Now &lt;i&gt;"


def test_a_chart_has_its_range_and_its_steps_at_the_axes() -> None:
    line = MetricLine("loss", 1.0, 40, Judgement.NO_BASELINE, history=[(0, 3.0), (20, 2.0), (40, 1.0)])

    chart = chart_parts(line)

    assert chart is not None
    assert [mark.label for mark in chart.marks] == ["1", "2", "3", "step 0", "20", "40"]
    assert chart_parts(replace(line, history=[(0, 1.0)])) is None
    flat = chart_parts(replace(line, history=[(5, 1.0), (6, 1.0)]))
    assert flat is not None
    assert [mark.label for mark in flat.marks] == ["1", "step 5", "6"]
