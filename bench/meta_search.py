"""Simulates whole searches at equal budget, with the paper's gate, the paired gate, and without any lineage.

    python -m bench.meta_search [--searches 200] [--budget 6000] [--harm 0.3] [--alpha 0.3]

The population, its choice of parents and the gates are those of autodata.meta. A trial is a coin flip whose chance
follows from the edits in a member's prompts: three help (one is a positive-only rubric), one harms, and eight do
nothing or, with --harm, cost that much (in log odds) each. The budget counts documents tried; every document shifts
the chance of all members alike.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy import special

from autodata.meta.evaluate import Trial
from autodata.meta.gate import Decision, Pair, decide_paired, decide_strict
from autodata.meta.genome import Genome
from autodata.meta.population import Member, Population
from autodata.recipes.meta import Acceptance, MetaRecipe
from autodata.stats.writing import write_row, write_table

EFFECTS = {
    "positive-only rubric": 0.5,
    "what only this paper shows": 0.4,
    "two numbers compared": 0.3,
    "any will do": -0.6,
}
NULL = 8  # kinds of edits without a good effect
VARIANTS = (
    ("strict", "boltzmann"),
    ("paired", "boltzmann"),
    ("paired", "uniform"),
    ("paired", "baseline"),
    ("strict", "baseline"),
)  # gate and choice of parents
BASE, SPREAD, DOCUMENTS, DRAWS, FIRST, MINIBATCH = 0.5, 1.0, 25, 4, 8, 8  # BASE: log odds of 62 %


@dataclass
class SearchWorld:
    """The documents and the editor of one search; a line without a good effect costs `harm`."""

    chance: numpy.random.Generator
    harm: float

    def __post_init__(self) -> None:
        self.documents = self.chance.normal(0.0, SPREAD, DOCUMENTS)
        self.all_documents = self.chance.normal(0.0, SPREAD, 5_000)

    def edit(self, parent: Member) -> Member:
        """Return the parent with one more line, drawn by chance."""
        kinds = [*EFFECTS, *(f"nothing {n}" for n in range(NULL))]
        name = kinds[self.chance.integers(len(kinds))]
        return Member(0, parent.id, Genome({**parent.genome.prompts, name: ""}), name)

    def logit(self, member: Member) -> float:
        return BASE + sum(EFFECTS.get(name, -self.harm) for name in member.genome.prompts)

    def try_all(self, member: Member) -> numpy.ndarray:
        """Try a member on every validation document once."""
        return self.chance.random(DOCUMENTS) < special.expit(self.logit(member) + self.documents)

    def true_rate(self, member: Member) -> float:
        return float(special.expit(self.logit(member) + self.all_documents).mean())


def search(rule: str, parents: str, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Run one search until its budget is spent."""
    world = SearchWorld(numpy.random.default_rng(seed), options.harm)
    recipe = MetaRecipe(parents=parents, prior_weight=0.0 if rule == "strict" else 10.0)
    population, spent, accepted, nulls = Population(recipe, {0: Member(0, None, Genome({}))}), 0, 0, 0
    for _ in range(DRAWS):
        spent += count(population, 0, world.try_all(population.members[0]))
    for iteration in range(1, 10**6):
        if spent >= options.budget:
            break
        parent = population.members[population.draw(seed * 10**6 + iteration)]
        child = world.edit(parent)
        child.id = iteration
        is_better, trials, pairs = compare(rule, options.alpha, world, parent, child)
        spent += MINIBATCH + trials
        if is_better:
            population.members[iteration] = child
            accepted, nulls = accepted + 1, nulls + child.hypothesis.startswith("nothing")
        count(population, parent.id, [pair.parent for pair in pairs])
        count(population, iteration, [pair.child for pair in pairs])
    best = population.best()
    return {
        "iterations": iteration - 1,
        "accepted": accepted,
        "idle edits accepted": nulls,
        "helpful edits in the best, of 3": sum(EFFECTS.get(name, 0) > 0 for name in best.genome.prompts),
        "baseline": world.true_rate(population.members[0]),
        "best, true": world.true_rate(best),
        "best, as it looks": best.rate or 0.0,
    }


def count(population: Population, member: int, passed: Sequence[bool]) -> int:
    """Add trials to a member's average; return how many there are."""
    population.count([Trial(member, "", 0, bool(has_passed), (), 0) for has_passed in passed])
    return len(passed)


def compare(
    rule: str, alpha: float, world: SearchWorld, parent: Member, child: Member
) -> tuple[bool, int, list[Pair]]:
    """Return True if the child is accepted, the trials that took, and the pairs."""
    pairs: list[Pair] = []
    for _ in range(1 if rule == "strict" else DRAWS):
        drawn = zip(world.try_all(parent), world.try_all(child), strict=True)
        fresh = [Pair(bool(before), bool(after)) for before, after in drawn]
        for part in [fresh] if rule == "strict" or pairs else [fresh[:FIRST], fresh[FIRST:]]:
            pairs += part
            if rule == "strict":
                decision = decide_strict(pairs)
            else:
                decision = decide_paired(pairs, DOCUMENTS, DRAWS * DOCUMENTS, alpha)
            if decision is not Decision.MORE:
                return decision is Decision.ACCEPT, 2 * len(pairs), pairs
    raise AssertionError("the last look always decides")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200, help="searches per gate and choice of parents")
    parser.add_argument("--budget", type=int, default=6_000, help="documents that a search may try")
    parser.add_argument("--harm", type=float, default=0.0, help="cost of an idle edit in log odds")
    parser.add_argument("--alpha", type=float, default=Acceptance().alpha, help="level of the paired gate")
    options = parser.parse_args()
    names = None
    for rule, parents in VARIANTS:
        results = [search(rule, parents, options, seed) for seed in range(options.searches)]
        if names is None:
            names = list(results[0])
            print(write_table([["gate", "parents", *names]]))
        cells = [f"{numpy.mean([result[name] for result in results]):.3g}" for name in names]
        print(write_row([rule, parents, *cells]), flush=True)


if __name__ == "__main__":
    main()
