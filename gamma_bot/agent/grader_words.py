"""The words by which the grader knows what a sentence claims."""

from __future__ import annotations

import re

from gamma_bot.agent.facts import Judged


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RISES = _words(
    "rose rises rise risen rising increase increases increased increasing grew grows grow grown growing climbed climbs "
    "climb climbing jumped jumps jumping gained gains higher raised raises raise raising up larger bigger greater "
    "longer surged soared spiked spikes rocketed"
)
_FALLS = _words(
    "fell falls fall fallen falling decrease decreases decreased decreasing dropped drops declined declines declining "
    "decline shrank shrinks shrink shrinking sank sinks lower lowered lowers lowering reduced reduces reduce reducing "
    "reduction down smaller shorter fewer lost loses plunged plummeted plummets slipped slips collapsed collapses"
)
DIRECTIONS = {**dict.fromkeys(_RISES, 1), **dict.fromkeys(_FALLS, -1)}

_BETTER = _words(
    "improved improves improve improving improvement improvements better gain outperforms outperformed beats beat "
    "boosted boosts boost enhanced enhances"
)
_WORSE = _words(
    "worse worsened worsens worsen worsening regressed regresses regress regression degraded degrades degradation hurt "
    "hurts underperforms underperformed deteriorated deteriorates deteriorating harmed harms suffered suffers"
)
_SAME = _words("unchanged same flat stable steady identical")
VERDICTS = {
    **dict.fromkeys(_BETTER, Judged.BETTER),
    **dict.fromkeys(_WORSE, Judged.WORSE),
    **dict.fromkeys(_SAME, Judged.SAME),
}

# What these say is said of what follows: "lowers the loss", "a smaller step". Only where nothing does, it is said of
# what came before: "`loss` is lower than in the baseline", "`loss` increased slightly".
SAID_OF_WHAT_FOLLOWS = _words(
    "raise raises raised raising lower lowers lowered lowering reduce reduces reduced reducing increase increases "
    "increased increasing decrease decreases decreased decreasing improve improves improved improving hurt hurts "
    "degrade degrades degraded beat beats drop drops dropped gain gains gained lose loses lost shrink shrinks "
    "higher larger bigger greater longer smaller shorter fewer better worse"
)
NOTHING_FOLLOWS = _words(
    "by from to than and or but while whereas although though because since as in at on with within for here there now "
    "again too also only most more less further so then after before over during against compared relative a it this "
    "that which who is are was were even yet"
)

# "All other settings are the same" says nothing of the metric that was spoken of before.
OF_NO_METRIC = _words(
    "setting settings parameter parameters hyperparameter hyperparameters config configuration code data dataset seed "
    "model architecture training curve optimiser optimizer else other others rest file files script command"
)

# after / before must lie between these.
FACTORS = {
    **dict.fromkeys(_words("doubled doubles doubling double twice twofold two-fold"), (1.8, 2.25)),
    **dict.fromkeys(_words("tripled triples triple threefold three-fold"), (2.7, 3.4)),
    **dict.fromkeys(_words("quadrupled quadruples fourfold four-fold"), (3.6, 4.5)),
    **dict.fromkeys(_words("fivefold five-fold quintupled"), (4.5, 5.6)),
    **dict.fromkeys(_words("halved halves halving half"), (0.45, 0.55)),
    **dict.fromkeys(_words("tenfold ten-fold"), (9.0, 11.0)),
    **dict.fromkeys(_words("hundredfold hundred-fold"), (90.0, 110.0)),
    "magnitude": (7.0, 14.0),  # "an order of magnitude"
}
# Of these, and of a magnitude, the inverse is told by the same word: "fell twofold".
BOTH_WAYS = frozenset(word for word in FACTORS if word.endswith("fold")) | {"magnitude"}

BASELINE_CUES = _words("from baseline baseline's was previously versus vs vs. against than over before")
CURRENT_CUES = _words("to now is reached reaches at ended ends current currently reaching gives scores")
CHANGE_CUES = _words(
    "by change changed changes delta difference gap improvement regression drop increase decrease gain loss"
)
TOLERANCE_CUES = _words("tolerance tolerances noise within")

NEGATIONS = _words("not no never without neither nor cannot hardly barely")

# "not only improved" denies nothing.
NO_NEGATION_BEFORE = _words("only just merely simply")

# "went up sharply" says a direction, "set up the optimiser" says none.
MOVING = _words("went goes going gone is are was were moved moves crept creeps ticked came comes trended trends way")

# What follows is supposed or wanted, and not said to have happened.
HEDGES = _words(
    "may might could would should can will if whether likely probably perhaps possibly expect expected expects tends "
    "tend usually often typically try unless until when suggests hints"
)

# Of these only what stands in the same clause makes a supposition of something that is told as past: "when `lr` grew,
# `val_loss` improved" and "`val_loss` likely improved" say that it did.
WEAK_HEDGES = _words("likely probably perhaps possibly can will when until usually often typically suggests hints")
HAPPENED = frozenset(
    word
    for word in {*DIRECTIONS, *VERDICTS}
    if word.endswith("ed") or word in _words("rose fell grew shrank sank lost")
)
CLAUSE_BEGINS = _words("and but while whereas because since as although though so where with which then")

COUNTED = _words(
    "file files line lines metric metrics parameter parameters setting settings run runs epoch epochs step steps seed "
    "seeds layer layers unit units iterations generations episodes workers gpus heads batches samples"
)

# Words with digits that are names of things and not statements about this run.
HARMLESS_WORDS = _words(
    "l1 l2 f1 r2 1d 2d 3d conv1d conv2d conv3d fp16 fp32 bf16 int8 float16 float32 float64 utf-8 utf8 python3 s3 top-1 "
    "top-5 p50 p95 p99"
)

# Phrases whose words would be misread.
IDIOMS = tuple(
    re.compile(phrase, re.IGNORECASE)
    for phrase in (
        r"\b(?:lower|higher|smaller|larger|less|more) is (?:better|worse)\b",
        r"\b(?:better|worse|higher|lower) or (?:better|worse|higher|lower)\b",
        r"\b(?:half|double|single)[- ](?:precision|float|buffer|quote|check)\w*|\b(?:second|first|other|last) half\b",
        r"\bno longer within\b|\bno longer\b|\bset(?:s|ting)? up\b|\bwarm(?:s|ing)?[ -]up\b",
        r"\b(?:grows|rises|increases|improves|falls|drops|decreases|shrinks|scales) (?:with|as|when|if)\b",
        r"\bthe same (?=seed|data|code|setting|commit|way)",
        r"\bgradient descent\b|\bearly stopping\b|\b(?:upper|lower) (?:bound|layer|level)s?\b",
    )
)
