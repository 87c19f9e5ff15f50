"""Defines the keys of the recipes that turn trajectories into examples and audit their judge."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig


@dataclass
class Filters:
    """Selects the examples that code drops."""

    context_chars: int | None = None  # drop shorter contexts; None: the minimum of the runs' domain
    source_references: bool = False  # drop mentions of the source: "the paper", "Figure 2" (CS)
    reference_answer: bool = True  # drop if there is none; false: the domain's questions have none (legal)
    near_duplicate: float = 0.8  # drop questions whose word 5-grams have at least this Jaccard similarity
    per_document: int = 1  # drop more examples than this of one document and arm; those of the first rounds stay


@dataclass
class DatasetRecipe:
    """Turns trajectories into examples."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    arms: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)  # arm → run folder
    sources: dict[str, str] = field(default_factory=dict)  # pattern of source names → licence; the first match wins
    filters: Filters = field(default_factory=Filters)
    decontaminate: list[str] = field(default=MISSING, metadata=OPERATIONAL)  # benchmarks, identified by content; or []
    equal_sizes: bool = False  # cut every arm down to the size of the smallest, split by split
    test_fraction: float = 0.25  # share of the documents that is held out; 1: all, for a set that only measures
    seed: int = 0


@dataclass
class JudgeAuditRecipe:
    """Measures, on judged attempts of a generate run, how far its judge can be relied on."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    generation: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.generate
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # only the judge is used
    second_judge: RoleConfig | None = None  # asked the same questions, to compare
    attempts: int = 100  # attempts that are judged again, spread over the documents
    repeats: int = 3  # how often each attempt is judged
    seed: int = 0

    def __post_init__(self) -> None:
        self.models.keep(["judge"])
