"""Measures how often each gate of meta-optimisation accepts a mutant that is no better, and one that truly is.

    python -m bench.acceptance_gates [--comparisons 2000] [--spread 1.5] [--alpha 0.3]

Every document has its own pass rate (logits spread by --spread around the mean; 0: all have the same), and parent and
mutant are tried on the same documents. The paper's strict gate compares once on 25 documents; the paired one looks
after 8, 25, 50, 75 and 100 pairs. `pairs` is the average cost of a comparison.
"""

import argparse

import numpy
from scipy import optimize, special

from autodata.meta.gate import Decision, Pair, decide_paired, decide_strict
from autodata.recipes.meta import Acceptance
from autodata.stats.writing import write_table

DOCUMENTS, DRAWS, FIRST = 25, 4, 8


def draw_rates(mean: float, spread: float, chance: numpy.random.Generator) -> numpy.ndarray:
    """Draw the true pass rate of each document, so that the average over all documents is `mean`."""
    noise = numpy.random.default_rng(0).normal(0.0, spread, 20_000)
    centre = optimize.brentq(lambda logit: special.expit(logit + noise).mean() - mean, -12, 12)
    return special.expit(centre + chance.normal(0.0, spread, DOCUMENTS))


def draw_pairs(rates: tuple[float, float], spread: float, seed: int) -> list[Pair]:
    """Draw four rounds over the documents. A document that is easy for one side is easy for both."""
    parent, child = (draw_rates(mean, spread, numpy.random.default_rng(seed)) for mean in rates)
    chance = numpy.random.default_rng([seed, 1])
    passed = [chance.random((DRAWS, DOCUMENTS)) < side for side in (parent, child)]
    return [Pair(bool(p), bool(c)) for p, c in zip(passed[0].ravel(), passed[1].ravel(), strict=True)]


def compare_paired(pairs: list[Pair], alpha: float) -> tuple[bool, int]:
    """Return True if the mutant was accepted, and after how many pairs that was decided."""
    for seen in (FIRST, *range(DOCUMENTS, len(pairs) + 1, DOCUMENTS)):
        decision = decide_paired(pairs[:seen], DOCUMENTS, len(pairs), alpha)
        if decision is not Decision.MORE:
            return decision is Decision.ACCEPT, seen
    raise AssertionError("the last look always decides")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=2_000, help="simulated comparisons per pair of rates")
    parser.add_argument("--spread", type=float, default=1.5, help="standard deviation of the documents' logits")
    parser.add_argument("--alpha", type=float, default=Acceptance().alpha, help="level of the paired gate")
    options = parser.parse_args()
    rows = [["parent", "mutant", "strict accepts", "paired accepts", "strict pairs", "paired pairs"]]
    for parent, child in ((0.62, 0.62), (0.30, 0.30), (0.62, 0.55), (0.62, 0.70), (0.62, 0.80), (0.30, 0.50)):
        drawn = [draw_pairs((parent, child), options.spread, seed) for seed in range(options.comparisons)]
        strict = [decide_strict(pairs[:DOCUMENTS]) is Decision.ACCEPT for pairs in drawn]
        paired = [compare_paired(pairs, options.alpha) for pairs in drawn]
        accepted, used = (numpy.mean([one[i] for one in paired]) for i in (0, 1))
        rates = [f"{parent:.2f}", f"{child:.2f}", f"{numpy.mean(strict):.3f}", f"{accepted:.3f}"]
        rows.append([*rates, str(DOCUMENTS), f"{used:.1f}"])
    print(write_table(rows))


if __name__ == "__main__":
    main()
