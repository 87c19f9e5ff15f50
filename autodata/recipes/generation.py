"""Defines the keys of the recipe for a generation run. Changing an operational key makes no finished run stale."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import Documents, DomainConfig
from autodata.recipes.models import OPERATIONAL, Budget, Models, operational

BASELINES = ("cot", "best_of_n")
ARMS = ("agentic", *BASELINES)
SHARDS = "shards"  # folder inside a run's folder; it holds the runs of the shards


@dataclass
class GenerateRecipe:
    """Makes trajectories from documents."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    documents: Documents = field(default_factory=Documents)
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)
    arm: str = "agentic"  # baselines: "cot" (CoT Self-Instruct) and "best_of_n" (spends as many tokens as budget_from)
    # Independent proposals of each document in the arm cot, all of them tested. The default is the paper's (Sec. 3.1).
    # filters.per_document of the data set says how many of them may become examples.
    proposals: int = 1
    orchestrator: str = "fixed"  # "agent": a language model says what to propose next, or gives up
    budget_from: str | None = operational(None)  # for best_of_n: the agentic run whose token count it may spend
    seed: int = 0
    documents_in_flight: int = operational(16)
    processes: int = operational(1)  # processes of this machine that share the documents; see docs/reliability.md
    max_error_rate: float = operational(0.1)  # a larger share of failing documents stops the run
    max_unmeasured: float = operational(0.1)  # a larger share of a role's calls without an answer stops the run
    max_filtered: float = operational(0.5)  # a larger share of documents that a content filter refused stops the run
    quarantine_after: int = operational(3)  # a document that failed this often is left out and listed
    min_acceptance: float = operational(0.0)  # a lower share of accepted documents stops the run …
    min_acceptance_after: int = operational(50)  # … once this many are finished
    journal: str | None = operational(None)  # path, to share it between runs; None: inside the run folder
    fork: str | None = operational(None)  # the run whose replies this run starts with
    budget: Budget = field(default_factory=Budget, metadata=OPERATIONAL)  # once it is spent, no call is started

    def __post_init__(self) -> None:
        """Give a shard a folder of its own. Raises ValueError if several processes cannot share the run."""
        if self.processes < 1:
            raise ValueError(f"processes={self.processes}: must be at least 1")
        if self.processes > 1 and self.journal:
            raise ValueError(f"processes={self.processes}: each has a journal of its own; leave out journal")
        if self.processes > 1 and self.documents.shard:
            shard = f"documents.shard={self.documents.shard}"
            raise ValueError(f"processes={self.processes}: {shard} is already one of several parts; leave one out")
        # The resolved recipe in a shard's folder already names that folder.
        if self.documents.shard and not self.run.endswith(f"/{self.shard_folder}"):
            self.run = f"{self.run}/{self.shard_folder}"

    @property
    def shard_folder(self) -> str:
        return f"{SHARDS}/{(self.documents.shard or '').replace('/', '_of_')}"
