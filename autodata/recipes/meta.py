"""Defines the keys of the recipe for meta-optimisation."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import Documents, DomainConfig
from autodata.recipes.models import OPERATIONAL, Budget, Models, operational


@dataclass
class SplitSizes:
    """Says how many documents each split gets. No document is in two splits."""

    training: int = 50  # documents whose failures analysers read
    validation: int = 25  # documents that decide acceptance
    test: int = 25  # documents that are scored once, at the end


@dataclass
class Acceptance:
    """Decides when a mutant joins the population."""

    rule: str = "paired"  # "strict" is the paper's rule
    alpha: float = 0.3  # upper bound on the chance that "paired" accepts a mutant that changes nothing
    draws: int = 4  # most rounds over the validation documents; "strict" makes one


@dataclass
class MetaRecipe:
    """Improves a prompt set on documents."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    documents: Documents = field(default_factory=Documents)
    splits: SplitSizes = field(default_factory=SplitSizes)
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)
    orchestrator: str = "fixed"
    iterations: int = operational(233)  # a larger number later continues the run where it stopped
    minibatch: int = 8  # training documents that one analyser reads about
    iterations_in_flight: int = 4  # each starts with the population of that moment
    documents_in_flight: int = operational(64)
    iteration_hours: float = operational(6.0)
    parents: str = "boltzmann"  # "uniform" is possible, or "baseline": best of N prompts without a lineage
    temperature: float = 0.1  # temperature of the choice of parents
    prior_weight: float = 10.0  # weight, in documents, of the baseline's pass rate in a member's shrunk pass rate
    mutation: str = "edit"  # "none" makes mutants that change nothing, to measure the acceptance rule
    acceptance: Acceptance = field(default_factory=Acceptance)
    baseline_draws: int = 4
    test_draws: int = 4
    max_unmeasured: float = operational(0.1)  # a larger share of a role's calls without an answer stops the run
    budget: Budget = field(default_factory=Budget, metadata=OPERATIONAL)  # once it is spent, no iteration starts
    shown_chars: int = 40_000  # characters of trajectories that an analyser is shown
    asks: int = 3  # times an analyser or editor is asked before an iteration ends without an edit
    seed: int = 0
