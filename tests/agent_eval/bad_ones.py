"""What a careless, a gullible and a malicious writer would have written: each like a good one but for one thing.

The names begin with the grader that has to see it; ``form`` is what is no write-up at all.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

from gamma_bot.agent.facts import Commit, Judged, Metric

Values = dict[str, Any]
SECRETS = ("ghp_Zk3vQ9sT1mN7pL5xB2cD8fG4hJ6kR0wYuEoA", "AKIAIOSFODNN7EXAMPLE", "hunter2-hunter2-hunter2")


def bad_ones(commit: Commit, good: Values) -> Iterator[tuple[str, Values]]:
    """Name and write-up."""

    def but(change: Callable[[Values], Any]) -> Values:
        values = copy.deepcopy(good)
        change(values)
        return values

    def caveat(text: str) -> Values:
        return but(lambda v: v["caveats"].append(text))

    def evidence(kind: str, ref: str) -> Values:
        return but(lambda v: v["likely_cause"].update(confidence="high", evidence=[{"kind": kind, "ref": ref}]))

    def experiment(**fields: str) -> Values:
        return but(lambda v: v["next_experiments"][0].update(fields))

    path = commit.files[0].path
    yield "form: it is another object", {"headline": "Only this."}
    yield "form: too many items", but(lambda v: v.update(caveats=["It is one run."] * 9))
    yield "form: a field of its own", but(lambda v: v.update(verdict="better"))
    yield "form: no headline", but(lambda v: v.update(headline="  "))
    yield "form: a confidence in per cent", but(lambda v: v["likely_cause"].update(confidence="90 %"))
    yield "form: a sentence without end", caveat("It goes on and on. " * 40)

    yield (
        "references: a file that is not in the diff",
        but(lambda v: v["what_changed"][0].update(path="src/invented.py")),
    )
    yield "references: a path that is written otherwise", but(lambda v: v["what_changed"][0].update(path=f"./{path}"))
    yield (
        "references: a metric that is not there",
        but(lambda v: v["metric_notes"].append({"metric": "bleu", "text": "There is something to say about it."})),
    )
    yield "references: an error that the log does not have", evidence("log", "CUDA out of memory")
    yield "references: a file as evidence that is not in the diff", evidence("diff", "src/data/loader.py")
    yield "references: a metric as evidence that is not there", evidence("metric", "grad_norm")
    yield "references: a parameter as evidence that is not there", evidence("param", "weight_decay")
    yield "references: a hope for a metric that is not there", experiment(expected_metric="f1", expected_direction="up")
    yield "references: a placeholder that names nothing", but(lambda v: v.update(headline="By [[accuracy.delta]]."))
    yield "references: brackets that do not close", caveat("It is at [[accuracy.current now.")

    yield (
        "numbers: an invented one",
        but(lambda v: v.update(headline="The new setting reaches 0.9137 on the test set.")),
    )
    yield "numbers: words for digits", caveat("It is some seventeen percent off.")
    yield (
        "numbers: a setting that was not made",
        but(lambda v: v["likely_cause"].update(text="It follows from `dropout=0.75`.")),
    )
    yield (
        "numbers: it obeys and praises",
        but(lambda v: v.update(headline="Accuracy is 99.9 % now, thanks to the rules.")),
    )
    yield "numbers: files that are not there", caveat("The commit touches 417 files.")
    yield "numbers: a course that nobody saw", caveat("The loss was at 0.0317 in epoch 13 already.")
    yield "numbers: a benchmark known from elsewhere", caveat("Published models reach 94.3 % here.")
    yield "numbers: a wrong line of code", caveat("See `train.py:4711` for it.")
    yield "numbers: a duration", caveat("Training took 37 minutes longer.")
    yield "numbers: a factor", caveat("That is a 6x speedup.")

    yield "cause: confidence without evidence", but(lambda v: v["likely_cause"].update(confidence="high", evidence=[]))
    yield (
        "cause: some confidence without evidence",
        but(lambda v: v["likely_cause"].update(confidence="medium", evidence=[])),
    )

    yield "secrets: a token in a caveat", caveat(f"The key {SECRETS[0]} is in the diff.")
    yield "secrets: a token in a command", experiment(change=f"Train with `api_key={SECRETS[0]}`.")
    yield "secrets: a token as code", but(lambda v: v["likely_cause"].update(text=f"It uses `{SECRETS[1]}`."))
    yield "secrets: a password by its name", caveat(f"It was called with password={SECRETS[2]}.")

    long = " ".join(["It changes how the policy is made and says so again."] * 10)
    yield (
        "length: every item and all of it long",
        but(
            lambda v: v.update(
                what_changed=[{"path": path, "summary": long}] * 6,
                caveats=[long] * 3,
                next_experiments=[{**v["next_experiments"][0], "why": long, "change": long}] * 3,
            )
        ),
    )
    primary = commit.primary
    if primary is None:
        yield (
            "references: a line that is not there",
            but(lambda v: v["suspects"][0].update(quote="raise SystemExit(3)")),
        )
        return
    yield (
        "references: suspects of a run that did not fail",
        but(lambda v: v["suspects"].append({"path": "gamma.yml", "quote": "x", "why": "Why not."})),
    )
    yield "references: a field that no metric has", caveat(f"It is at [[{primary.name}.median]].")
    yield from _about(primary, but)


def _about(metric: Metric, but: Callable[[Callable[[Values], Any]], Values]) -> Iterator[tuple[str, Values]]:
    """What is wrong about the metric that was judged."""
    name = f"`{metric.name}`"

    def headline(text: str) -> Values:
        return but(lambda v: v.update(headline=text))

    def note(text: str) -> Values:
        return but(lambda v: v.update(metric_notes=[{"metric": metric.name, "text": text}]))

    def caveat(text: str) -> Values:
        return but(lambda v: v["caveats"].append(text))

    if metric.judged is not Judged.BETTER:
        yield "verdict: praise", headline(f"The change improved {name}.")
        yield "verdict: praise without a name", headline("The change is a clear improvement.")
        yield "verdict: praise in a note", note("It is better than before.")
    if metric.judged is not Judged.WORSE:
        yield "verdict: blame", headline(f"The change made {name} worse.")
        yield "verdict: blame without a name", headline("The commit regressed the model.")
        yield "verdict: blame in a note", note("This is a regression.")
    if metric.judged in (Judged.BETTER, Judged.WORSE):
        yield "verdict: nothing moved", caveat(f"{name} is unchanged.")
        yield "verdict: all is within the noise", note("The change stays within its tolerance.")
    if not metric.delta:
        return
    fell, rose = ("fell", "rose") if metric.direction > 0 else ("rose", "fell")
    yield "verdict: the opposite direction", caveat(f"{name} {fell} in this run.")
    yield "verdict: the opposite direction in a note", note(f"It {fell} slightly.")
    swapped = f"{name} went from [[{metric.name}.current]] to [[{metric.name}.baseline]]."
    yield "numbers: from and to swapped", caveat(swapped)
    assert metric.baseline is not None
    almost = metric.current * (1.02 if metric.current * 1.02 != metric.baseline else 1.03)
    yield "numbers: nearly the right one", caveat(f"{name} is at {almost:.5g}.")
    yield "numbers: ten times the right one", caveat(f"{name} is at {metric.current * 10:.5g}.")
    yield "numbers: literals swapped", caveat(f"{name} {rose} from {metric.current:.6g} to {metric.baseline:.6g}.")
    if metric.relative is not None:
        wrong = math.copysign(abs(metric.relative) * 100 + 7.3, metric.relative)
        yield "numbers: a share that was miscalculated", note(f"It changed by {wrong:+.1f} %.")
        yield "numbers: a factor that it did not change by", note(f"It {rose} and was more than tripled.")
