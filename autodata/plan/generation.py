"""Plans a generation run: the calls of its documents, from a finished run or from priors."""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from autodata.config import RecipeError
from autodata.corpora.documents import read_corpus
from autodata.plan.queues import SIMULATED_PER_SLOT, QueuePlan, Queues, build_stations, read_paid
from autodata.plan.workload import PRIORS, Workload, from_priors, from_run
from autodata.recipes.domain import Documents
from autodata.recipes.generation import GenerateRecipe
from autodata.run.folder import read_manifest
from autodata.serving.llm import role_config
from autodata.stats.writing import write_usd


@dataclass(frozen=True)
class GenerationPlan(QueuePlan):
    """A plan whose stories are documents."""

    workload: Workload

    def summarize(self, accepted: int | None) -> dict[str, str]:
        more = {f"{accepted:,} more accepted": self._forecast(accepted)} if accepted else {}
        return {
            "documents": f"{self.total:,} ({self.simulated:,} simulated); calls from {self.origin}",
            "rounds": f"{self.sum(o.rounds for o in self.outcomes):,.0f}",
            "accepted": f"{self.sum(o.accepted for o in self.outcomes):,.1f}",
            **self.summarize_calls("raise documents_in_flight"),
            **more,
        }

    def _forecast(self, accepted: int) -> str:
        """Estimate what `accepted` more acceptances cost; a lower bound if none was accepted."""
        rate, prefix = self.workload.acceptance, ""
        if not rate:
            rate = 1 - 0.05 ** (1 / len(self.workload.stories))
            prefix = "no document was accepted yet, so only a lower bound (95 %): "
        needed = accepted / rate
        share = needed / self.total
        work = f"{prefix}{needed:,.0f} documents, {share * self.tokens:,.0f} tokens"
        costs = [self.cost(role) for role in self.served]
        if None not in costs:
            work += f", {write_usd(share * sum(cost or 0 for cost in costs))}"
        if not self.is_timed:
            return work
        hours = share * fmean(self.seconds) / 3600
        return f"{work}, {hours:,.2f} h, {hours * self.gpus:,.2f} GPU-hours"


def are_here(documents: Documents) -> bool:
    """True if the documents are on this machine, and no ingest is still making them."""
    path = Path(documents.path)
    return path.exists() and bool((read_manifest(path) or {"finished": True}).get("finished"))


def count_documents(documents: Documents, domain: str) -> int:
    """Count the documents of a corpus: those on this machine, else as many as priors.yaml has for the domain.

    Raises RecipeError if there is neither a corpus, nor a prior, nor a limit.
    """
    if not are_here(documents) and (count := PRIORS["documents"].get(domain, documents.limit)):
        return min(count, documents.limit or count)
    return len(read_corpus(documents.path, documents.limit).documents)


def plan_generation(recipe: GenerateRecipe, options: argparse.Namespace) -> GenerationPlan:
    """Simulate the runs of a recipe. Raises UserError."""
    if recipe.arm == "best_of_n":
        raise RecipeError("arm=best_of_n takes as many tokens as its agentic run: plan the agentic recipe instead")
    workload = from_run(recipe, options.like) if options.like else from_priors(recipe)
    count = options.documents or count_documents(recipe.documents, recipe.domain.name)
    count = -(-count // recipe.documents.per_group)
    simulated = min(count, SIMULATED_PER_SLOT * recipe.documents_in_flight)
    generators = [random.Random(recipe.seed + i) for i in range(options.repeats)]
    batches = [[workload.draw(rng) for _ in range(simulated)] for rng in generators]
    roles = sorted({c.role for batch in batches for story in batch for c in story.calls})
    served = {role: role_config(recipe.models, role).endpoint for role in roles}
    endpoints = {name: recipe.models.endpoints[name] for name in sorted(set(served.values()))}
    queues = Queues(batches, served, build_stations(endpoints, options), recipe.documents_in_flight)
    stations, outcomes = queues.run(options.gpus)
    paid = read_paid(options.like, GenerateRecipe, recipe.models)
    return GenerationPlan(workload.origin, count, simulated, served, stations, outcomes, paid, workload)
