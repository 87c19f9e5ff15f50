"""Schema of the recipes that turn trajectories into examples and audit their judge."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig


@dataclass
class Filters:
    """What code drops from what the arms made."""

    context_chars: int | None = None  # a shorter context; None: as long as the domain of the runs asks for
    source_references: bool = False  # what speaks of its own source: "the paper", "Figure 2" (CS)
    reference_answer: bool = True  # what has no reference answer; false: the domain's questions have none (legal)
    near_duplicate: float = 0.8  # questions whose word 5-grams have at least this Jaccard similarity
    per_document: int = 1  # more examples than this of one document and arm


@dataclass
class DatasetRecipe:
    """Trajectories → examples."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    arms: dict[str, str] = field(default_factory=dict, metadata=OPERATIONAL)  # arm → run folder
    sources: dict[str, str] = field(default_factory=dict)  # pattern of source names → licence, the first that fits
    filters: Filters = field(default_factory=Filters)
    decontaminate: list[str] = field(default=MISSING, metadata=OPERATIONAL)  # benchmark files, known by content; or []
    equal_sizes: bool = False  # every arm cut down to the size of the smallest, split by split
    test_fraction: float = 0.25
    seed: int = 0


@dataclass
class JudgeAuditRecipe:
    """Judged attempts of a generate run → how far its judge can be relied on."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    generation: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.generate
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # the judge's
    second_judge: RoleConfig | None = None  # asked the same, to compare
    attempts: int = 100  # judged anew, spread over the documents
    repeats: int = 3  # how often each is judged
    seed: int = 0
