"""Defines the keys of the recipe for training, besides the trainer's own keys."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import OPERATIONAL, Models, RoleConfig, operational


@dataclass
class RewardConfig:
    """Sets how the reward of a completion differs from its judgement."""

    # A completion cut off by its length: "zero", "penalise" (minus `penalty`), "mask" (no reward and no gradient),
    # or "judge" (the unfinished answer is judged, as in generation).
    cut_off: str = "zero"
    penalty: float = 0.5
    max_failures: float = 0.1  # a larger share of failures in the last 256 judgements stops the training
    answer_chars: int | None = None  # a longer answer earns nothing
    max_repetition: float | None = None  # an answer with a larger share of repeated 8-word sequences earns nothing


@dataclass
class PreflightConfig:
    """Sets the checks that must pass before the first training step."""

    prompt_tokens: int = 16_384  # a longer prompt is an error
    probe: int = 8  # prompts answered by the untrained model, a whole group each; 0: no probe
    max_cut_off: float = 0.05  # share of these answers; at 0.05 the longest completion is the 95th percentile
    max_zero_spread: float = 0.8  # share of these groups with equal rewards, from which nothing is learnt
    # Share of the weights with a gradient that the first step must move. It was 0.998 and more with float32 weights,
    # 0.004 to 0.49 with bfloat16 weights at learning rates of 1e-6 to 3e-4 (135M model, AdamW).
    min_moved: float = 0.9
    max_logp_difference: float = 0.1  # mean nats per token between trainer and vLLM; checked at every step


@dataclass
class GrpoRecipe:
    """Trains the weak model on examples."""

    run: str = field(default=MISSING, metadata=OPERATIONAL)
    dataset: str = field(default=MISSING, metadata=OPERATIONAL)  # a run folder of autodata.dataset
    arms: list[str] = field(default_factory=lambda: ["agentic"])
    pass_rate: list[float] = field(default_factory=list)  # [low, high] of the weak solver's mean score, inclusive
    # Train on so many examples, drawn with trainer.seed from those that pass_rate keeps; None: on all of them. So arms
    # of different size can be trained on equal numbers.
    train_examples: int | None = None
    evaluate: list[str] = field(default_factory=list)  # sets to watch, <arm>_<split>; the trainer says how often
    # A run folder of autodata.dataset that has the sets of `evaluate`; None: `dataset`. Only autodata.doctor checks
    # that its held-out documents are not trained on.
    evaluate_dataset: str | None = operational(None)
    evaluate_examples: int | None = None  # so many of each set, at equal distances; None: all
    domain: DomainConfig = field(default_factory=DomainConfig)
    models: Models = field(default_factory=Models)  # only the judge is used, if the domain has one
    second_judge: RoleConfig | None = None  # never rewards; shows if the first judge is being gamed
    second_judge_examples: int = 16  # examples of each watched set that it judges
    model: str = MISSING  # hub name, folder, or "embedded"
    min_examples: int = 8
    prompts_per_step: int = (
        MISSING  # prompts of one optimizer step, over all processes; each has a group of completions
    )
    lora: dict[str, Any] = field(default_factory=dict)  # passed verbatim to peft.LoraConfig; empty: trains all weights
    save_models_at: list[int] = field(default_factory=list)  # steps whose model is kept as RUN/model_at_STEP
    reward: RewardConfig = field(default_factory=RewardConfig)
    preflight: PreflightConfig = field(default_factory=PreflightConfig, metadata=OPERATIONAL)
    trainer: dict[str, Any] = field(default_factory=dict)  # passed verbatim to trl.GRPOConfig

    def __post_init__(self) -> None:
        self.models.keep(["judge"] if "judge" in self.domain.roles else [])

    @property
    def watched_dataset(self) -> str:
        """The run folder of the data set that has the sets of `evaluate`."""
        return self.evaluate_dataset or self.dataset
