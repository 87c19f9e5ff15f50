"""What can stand in a recipe: one typed schema per command.

A field marked operational says how a run is done, never what comes out of it: changing one does
not make a finished run stale.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import Documents, DomainConfig
from autodata.recipes.models import OPERATIONAL, Budget, Models, operational

SHARDS = "shards"  # folder, inside a run's, of the runs that are parts of it


@dataclass
class GenerateRecipe:
    """Documents → trajectories."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    documents: Documents = field(default_factory=Documents)
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)
    arm: str = "agentic"  # or a baseline: "cot" (CoT Self-Instruct), "best_of_n" (as many tokens as budget_from)
    orchestrator: str = "fixed"  # or "agent": a language model says what to propose next, or gives up
    budget_from: str | None = operational(None)  # for best_of_n: the agentic run whose tokens it may spend
    seed: int = 0
    documents_in_flight: int = operational(16)
    max_error_rate: float = operational(0.1)  # more failing documents than this stop the run
    max_unmeasured: float = operational(0.1)  # a larger share of a role's calls that end without an answer stops it
    quarantine_after: int = operational(3)  # a document that failed this often is left out and listed
    min_acceptance: float = operational(0.0)  # a lower share of accepted documents stops the run …
    min_acceptance_after: int = operational(50)  # … once this many are finished
    journal: str | None = operational(None)  # shared between runs; None: inside the run folder
    fork: str | None = operational(None)  # a run whose replies this one starts from
    budget: Budget = field(default_factory=Budget, metadata=OPERATIONAL)  # beyond it no call is begun

    def __post_init__(self) -> None:
        if self.documents.shard and not self.run.endswith(
            f"/{self.shard_folder}"
        ):  # as in the recipe of a shard's run
            self.run = f"{self.run}/{self.shard_folder}"

    @property
    def shard_folder(self) -> str:
        return f"{SHARDS}/{(self.documents.shard or '').replace('/', '_of_')}"


BASELINES = ("cot", "best_of_n")


ARMS = ("agentic", *BASELINES)
