"""Keeps the accepted prompt sets with their pass rates, and chooses which of them becomes a parent."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import exp
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autodata.config import RecipeError
from autodata.corpora.documents import group_documents, read_corpus
from autodata.meta import genome as genomes
from autodata.meta.evaluate import Trial
from autodata.meta.gate import Decision, shrink
from autodata.meta.genome import Genome
from autodata.recipes.meta import MetaRecipe
from autodata.run.folder import Run
from autodata.run.records import RunError
from autodata.types import Document

MEMBERS = "members"
_BASELINE = 0


@dataclass
class Member:
    """A prompt set, where it comes from, and its validation trials so far."""

    id: int  # the iteration that made it; 0 is the baseline
    parent: int | None
    genome: Genome
    hypothesis: str = ""  # the editor's expectation of its edit
    analysis: str = ""  # the analyser's text on the parent's failures
    edit: dict[str, Any] = field(default_factory=dict)  # the editor's record, from which ablation repeats the edit
    passed: int = 0
    tried: int = 0

    @property
    def rate(self) -> float | None:
        """The running average of its pass rate on validation documents (paper Sec. 4)."""
        return self.passed / self.tried if self.tried else None


_MEMBER = TypeAdapter(Member)


@dataclass
class Population:
    """All accepted members. Their pass rates are shrunk towards the baseline's, so that luck does not count."""

    recipe: MetaRecipe
    members: dict[int, Member] = field(default_factory=dict)

    def count(self, trials: Sequence[Trial]) -> None:
        """Add validation trials to the running averages of the members; unmeasured trials are left out."""
        for trial in trials:
            member = self.members.get(trial.member)
            if member and trial.passed is not None:
                member.tried += 1
                member.passed += trial.passed

    def score(self, member: Member) -> float:
        """Compute the shrunk pass rate of a member."""
        prior = self.members[_BASELINE].rate or 0.0
        return shrink(member.passed, member.tried, prior, self.recipe.prior_weight)

    def weigh(self) -> dict[int, float]:
        """Compute the chance of each member to be drawn as a parent: p ∝ exp(score / T) (paper Sec. 4)."""
        if self.recipe.parents == "baseline":
            return {_BASELINE: 1.0}
        if self.recipe.parents == "uniform":
            return dict.fromkeys(self.members, 1 / len(self.members))
        scores = {id: self.score(member) for id, member in self.members.items()}
        highest = max(scores.values())
        weights = {id: exp((score - highest) / self.recipe.temperature) for id, score in scores.items()}
        total = sum(weights.values())
        return {id: weight / total for id, weight in weights.items()}

    def draw(self, seed: int) -> int:
        """Draw a parent. The same population and seed give the same parent."""
        chances = self.weigh()
        return random.Random(seed).choices(list(chances), list(chances.values()))[0]

    def trace(self, id: int) -> list[Member]:
        """List a member and its ancestors, the baseline first."""
        chain = [self.members[id]]
        while (parent := chain[0].parent) is not None:
            chain.insert(0, self.members[parent])
        return chain

    def best(self) -> Member:
        """Return the member with the highest shrunk rate; among equals, the earliest."""
        return max(self.members.values(), key=lambda member: (self.score(member), -member.id))


def save(run: Run, member: Member, parent: Genome | None) -> None:
    """Write a member's folder: prompts for `domain.prompts`, the diff to its parent, and the member as JSON."""
    folder = f"{MEMBERS}/{member.id:03d}"
    genomes.write(member.genome, run.path(folder))
    run.write(f"{folder}/diff.patch", genomes.diff(parent, member.genome) + "\n" if parent else "")
    run.write(f"{folder}/member.json", json.dumps(asdict(member), indent=2) + "\n")


def read_population(folder: Path, recipe: MetaRecipe, lines: Sequence[Mapping[str, Any]]) -> Population:
    """Read the accepted members from their folder, and count the trials of all iterations. Raises RunError."""
    population = Population(recipe)
    for line in lines:
        if line["outcome"] in ("baseline", Decision.ACCEPT):
            path = folder / f"{line['iteration']:03d}" / "member.json"
            try:
                population.members[line["iteration"]] = member = _MEMBER.validate_json(path.read_bytes())
            except (ValueError, OSError) as error:
                raise RunError(f"{path}: not a member of a population ({str(error)[:100]})") from None
            member.passed = member.tried = 0
    for line in lines:
        population.count([Trial(**trial) for trial in line["trials"]])
    return population


@dataclass(frozen=True)
class Splits:
    """The documents of a run in three parts; no document is in two of them."""

    training: list[Document]
    validation: list[Document]
    test: list[Document]


def split(recipe: MetaRecipe) -> Splits:
    """Shuffle the documents by the recipe's seed and split them. Raises RecipeError if too few, DocumentsError."""
    corpus = read_corpus(recipe.documents.path, recipe.documents.limit)
    documents = group_documents(corpus.documents, recipe.documents.per_group, recipe.seed)
    sizes = (recipe.splits.training, recipe.splits.validation, recipe.splits.test)
    if len(documents) < sum(sizes):
        problem = f"splits: {sum(sizes):,} documents are needed, but documents.path has {len(documents):,}"
        raise RecipeError(f"{problem}; lower splits.* or add documents")
    random.Random(recipe.seed).shuffle(documents)
    remaining = iter(documents)
    return Splits(*(list(islice(remaining, size)) for size in sizes))
