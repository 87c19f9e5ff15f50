"""Seconds for the attribution of two models' answers and for every interval of their scores, under both pairings.

python -m bench.attribution [--prompts 2000] [--samples 8]
"""

import argparse
import time

import numpy

from autodata.types import Outcome
from eval.attribution import attribute
from eval.sampled_answers import SampledAnswer, group_by_example
from eval.statistics import Answers, best_at_k, compare, mean_at_k, pass_at_k
from eval.truncation import measure


def draw(prompts: int, samples: int, right: float, cut_off: float, seed: int) -> list[SampledAnswer]:
    """Answers by chance: so many right, so many of the wrong ones cut off."""
    chance, made = numpy.random.default_rng(seed), []
    for prompt in range(prompts):
        for epoch in range(1, samples + 1):
            is_right = chance.random() < right
            is_cut = not is_right and chance.random() < cut_off
            made.append(SampledAnswer("t", str(prompt), str(prompt // 2), epoch, float(is_right),
                                   Outcome.CUT_OFF if is_cut else Outcome.ANSWERED, not is_cut, 100))  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=2_000)
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    shares = ((0.5, 0.5), (0.6, 0.1))  # right, and cut off of the wrong
    models = [draw(options.prompts, options.samples, *of, seed) for seed, of in enumerate(shares)]
    start = time.perf_counter()
    for all_pairs in (False, True):
        attribute(*models, all_pairs=all_pairs)
    answers = [{id: Answers(of[0].document, tuple(g.score for g in of)) for id, of in group_by_example(model).items()}
               for model in models]  # fmt: skip
    for model, of in zip(models, answers, strict=True):
        measure(model)
        for estimate in (mean_at_k, best_at_k, lambda a: pass_at_k(a, options.samples)):
            estimate(list(of.values()))
    compare(*answers)
    print(f"{options.prompts} prompts, {options.samples} answers, two models: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
