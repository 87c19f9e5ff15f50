"""What can stand in a recipe of meta-optimisation."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from autodata.recipes.domain import Documents, DomainConfig
from autodata.recipes.models import OPERATIONAL, Budget, Models, operational


@dataclass
class SplitSizes:
    """How many documents go where; no document is in two of them."""

    training: int = 50  # that analysers read failures on
    validation: int = 25  # that mutants are accepted on
    test: int = 25  # scored once, at the end


@dataclass
class Acceptance:
    """When a mutant joins the population."""

    rule: str = "paired"  # or "strict", the paper's
    alpha: float = 0.3  # at most the chance that "paired" accepts a mutant which changes nothing
    draws: int = 4  # rounds over the validation documents, at most; "strict" has one


@dataclass
class MetaRecipe:
    """Documents → a better prompt set."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    documents: Documents = field(default_factory=Documents)
    splits: SplitSizes = field(default_factory=SplitSizes)
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)
    orchestrator: str = "fixed"
    iterations: int = operational(233)  # more of them later go on where the run stopped
    minibatch: int = 8  # training documents that an analyser reads about
    iterations_in_flight: int = 4  # each begins with the population as it is then
    documents_in_flight: int = operational(64)
    iteration_hours: float = operational(6.0)
    parents: str = "boltzmann"  # or "uniform", or "baseline": best of N prompts without a lineage
    temperature: float = 0.1  # of the choice of parents
    prior_weight: float = 10.0  # documents that a member's pass rate is shrunk by, towards that of the baseline
    mutation: str = "edit"  # or "none": mutants that change nothing, to measure the gate itself
    acceptance: Acceptance = field(default_factory=Acceptance)
    baseline_draws: int = 4
    test_draws: int = 4
    max_unmeasured: float = operational(0.1)  # a larger share of a role's calls that end without an answer stops it
    budget: Budget = field(default_factory=Budget, metadata=OPERATIONAL)  # beyond it no iteration is begun
    shown_chars: int = 40_000  # of trajectories, to an analyser
    asks: int = 3  # of an analyser or editor, before an iteration ends without an edit
    seed: int = 0
