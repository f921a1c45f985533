"""What a write-up costs: every case of the evaluation set, twice in a row, on the fake's tokens and the price table.

The second one of each is a later push of the same project: its prefix comes from the cache.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gamma_bot.agent.sanitiser import AllowedLinks
from tests.agent_eval.cases import REPOSITORY, cases
from tests.agent_stage import agent_stage
from tests.anthropic_fake import Say

MOST_USD = 0.07
# The fake writes short answers. With this much thinking each comes to about 3,000 tokens, as the design expects.
THINKING = "so " * 2_500


async def main() -> None:
    links = AllowedLinks(repository=REPOSITORY)
    firsts, seconds, shares = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        async with agent_stage(Path(folder)) as stage:
            for case in cases():
                said = Say(json.dumps(case.good), thinking=THINKING)
                stage.fake.script = [said, said]
                first = await stage.writer.write(case.commit, links)
                second = await stage.writer.write(replace(case.commit, sha=case.commit.sha[::-1]), links)
                stage.fake.now += 7_200  # the next case is another project, another day
                firsts.append(first.usd)
                seconds.append(second.usd)
                shares.append(second.cached_share)
    median = statistics.median([*firsts, *seconds])
    print(f"{len(firsts)} cases, twice each, claude-sonnet-5-5")
    print(f"  the first of a project:  median ${statistics.median(firsts):.4f}, most ${max(firsts):.4f}")
    print(f"  a later one:             median ${statistics.median(seconds):.4f}, most ${max(seconds):.4f}")
    print(f"  cached share of a later one: median {statistics.median(shares):.0%}, least {min(shares):.0%}")
    print(f"  all: median ${median:.4f} (at most ${MOST_USD} wanted)")
    sys.exit(median > MOST_USD)


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
asyncio.run(main())
