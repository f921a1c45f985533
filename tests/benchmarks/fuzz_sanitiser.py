"""Builds documents out of pieces of attacks, and looks for one that the sanitiser does not disarm.

    python tests/benchmarks/fuzz_sanitiser.py --examples 100000 --seed 1

Each document goes through once, twice, cut in half, as one line and as plain text. A leak is printed with
the fewest pieces that it needs, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from gamma_bot.agent.markdown_reader import disarm, parse
from gamma_bot.agent.markdown_writer import shortened, written
from gamma_bot.agent.sanitiser import plain_text, sanitise, sanitise_line
from tests.sanitiser_attacks import ATTACKS, FRAGMENTS, SLEEPING
from tests.sanitiser_grader import LINKS, leaks, line_leaks

_CASES = [case for cases in ATTACKS.values() for case in cases] + SLEEPING
_MOST_PIECES = 30


def pieces(chance: random.Random) -> list[str]:
    """The pieces of one document: mostly fragments, some whole attacks, and characters from all over Unicode."""
    kinds = chance.choices(("fragment", "case", "character"), (85, 10, 5), k=chance.randint(1, _MOST_PIECES))
    return [
        chance.choice(FRAGMENTS)
        if kind == "fragment"
        else chance.choice(_CASES)
        if kind == "case"
        else chr(chance.choice((chance.randrange(0x100), chance.randrange(0x3100), chance.randrange(0x110000))))
        for kind in kinds
    ]


def found_in(document: str) -> list[str]:
    """What is left of an attack in one of the forms in which the document can be shown."""
    once = sanitise(document, LINKS)
    found = leaks(once)
    twice = sanitise(once, LINKS)
    if twice != once:
        found += leaks(twice)
    cut = shortened(parse(document, LINKS), 0.5)
    disarm(cut, LINKS)
    found += leaks(written(cut))
    half = len(document) // 2 + 1
    return found + line_leaks(sanitise_line(document, LINKS, 2000)) + line_leaks(plain_text(document, half))


def shrunk(document: Sequence[str]) -> list[str]:
    """As few of the pieces as still leak."""
    left = list(document)
    place = 0
    while place < len(left):
        fewer = left[:place] + left[place + 1 :]
        if found_in("".join(fewer)):
            left = fewer
        else:
            place += 1
    return left


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    started, leaking, unstable = time.process_time(), 0, 0
    for _ in range(given.examples):
        document = pieces(chance)
        if found_in("".join(document)):
            leaking += 1
            if leaking <= 20:
                least = "".join(shrunk(document))
                print(f"{least!r}: {', '.join(found_in(least))}")
                print(f"  {sanitise(least, LINKS)!r}")
        once = sanitise("".join(document), LINKS)
        unstable += sanitise(once, LINKS) != once
    seconds = time.process_time() - started
    print(f"{given.examples:,} documents (seed {given.seed}): {leaking} leak, {unstable} change the second time")
    print(f"{seconds:.0f} s of CPU, {seconds / given.examples * 1000:.1f} ms each")
    sys.exit(bool(leaking))


if __name__ == "__main__":
    main()
