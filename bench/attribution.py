"""Measures how long it takes to attribute two models' answers and to compute every interval of their scores.

python -m bench.attribution [--prompts 2000] [--samples 8]

Attribution runs under both pairings.
"""

import argparse
import time

import numpy

from autodata.eval.attribution import attribute
from autodata.eval.sampled_answers import SampledAnswer, group_by
from autodata.eval.statistics import Answers, best_at_k, compare, mean_at_k, pass_at_k
from autodata.eval.truncation import measure
from autodata.types import Outcome


def draw(prompts: int, samples: int, right: float, cut_off: float, seed: int) -> list[SampledAnswer]:
    """Draw answers by chance: the share `right` is right, and `cut_off` of the wrong ones are cut off."""
    chance, answers = numpy.random.default_rng(seed), []
    for prompt in range(prompts):
        for epoch in range(1, samples + 1):
            is_right = chance.random() < right
            is_cut = not is_right and chance.random() < cut_off
            outcome = Outcome.CUT_OFF if is_cut else Outcome.ANSWERED
            example, document = str(prompt), str(prompt // 2)
            answers.append(SampledAnswer("t", example, document, epoch, float(is_right), outcome, not is_cut, 100))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2_000, help="prompts per model")
    parser.add_argument("--samples", type=int, default=8, help="answers per prompt")
    options = parser.parse_args()
    shares = ((0.5, 0.5), (0.6, 0.1))  # the share of right answers, and the share of the wrong ones that are cut off
    models = [draw(options.prompts, options.samples, *pair, seed) for seed, pair in enumerate(shares)]
    start = time.perf_counter()
    for all_pairs in (False, True):
        attribute(*models, all_pairs=all_pairs)
    grouped = [group_by(model, "example") for model in models]
    answers = [
        {id: Answers(group[0].document, tuple(a.score for a in group)) for id, group in groups.items()}
        for groups in grouped
    ]
    for model, by_example in zip(models, answers, strict=True):
        measure(model)
        for estimate in (mean_at_k, best_at_k, lambda a: pass_at_k(a, options.samples)):
            estimate(list(by_example.values()))
    compare(*answers)
    seconds = time.perf_counter() - start
    print(f"{options.prompts:,} prompts, {options.samples} answers per prompt, two models: {seconds:.2f} s")


if __name__ == "__main__":
    main()
