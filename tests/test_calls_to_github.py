"""A job takes few calls to GitHub, and the operations page lists them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.calls_of_a_job import GOAL, calls_of_a_job, counted, named

README = Path(__file__).parent.parent / "README.md"


async def test_a_job_makes_the_calls_that_the_operations_page_lists(tmp_path: Path, app_key: str) -> None:
    calls = await calls_of_a_job(tmp_path, app_key)

    rows = re.findall(r"^\| `([A-Z]+ \S+)` \| (\d+) \|", README.read_text(), re.MULTILINE)
    assert Counter(map(named, calls)) == Counter({call: int(times) for call, times in rows})
    assert len(counted(calls)) <= GOAL
