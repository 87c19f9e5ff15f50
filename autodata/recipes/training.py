"""What can stand in a recipe of training besides the trainer's own keys."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig


@dataclass
class RewardConfig:
    """What a completion earns besides its judgement."""

    # A completion cut off by its length: "zero", "penalise" (minus `penalty`), "mask" (no reward and no gradient),
    # or "judge" (what there is of an answer counts, as in generation).
    cut_off: str = "zero"
    penalty: float = 0.5
    max_failures: float = 0.1  # of the last 256 judgements; more of them stop the training
    answer_chars: int | None = None  # a longer answer earns nothing
    max_repetition: float | None = None  # nor does one of whose 8-word sequences a larger share repeats an earlier one


@dataclass
class PreflightConfig:
    """What must hold before the first step."""

    prompt_tokens: int = 16_384  # a longer prompt is an error
    probe: int = 8  # prompts answered by the untrained model, a whole group each; 0: no probe
    max_cut_off: float = 0.05  # of these answers: at 0.05 the longest completion is the 95th percentile
    max_zero_spread: float = 0.8  # of these groups: where all rewards are equal, nothing is learnt
    max_logp_difference: float = 0.1  # nats per token between trainer and vLLM, mean; checked at every step


@dataclass
class GrpoRecipe:
    """Examples → a trained weak model."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    dataset: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.dataset
    arms: list[str] = field(default_factory=lambda: ["agentic"])
    pass_rate: list[float] = field(default_factory=list)  # [low, high] of the weak solver's mean score, inclusive
    evaluate: list[str] = field(default_factory=list)  # sets to watch, <arm>_<split>; the trainer says how often
    evaluate_examples: int | None = None  # of each set, the first so many; None: all
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # the judge's, where the domain has one
    second_judge: RoleConfig | None = None  # that never rewards: is the first one being gamed?
    second_judge_examples: int = 16  # of each set that is watched
    model: str = MISSING  # hub name, folder, or "embedded"
    min_examples: int = 8
    reward: RewardConfig = field(default_factory=RewardConfig)
    preflight: PreflightConfig = field(default_factory=PreflightConfig, metadata=OPERATIONAL)
    trainer: dict[str, Any] = field(default_factory=dict)  # verbatim to trl.GRPOConfig

    def __post_init__(self) -> None:
        self.models.keep(["judge"] if "judge" in self.domain.roles else [])
