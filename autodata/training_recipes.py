"""What can stand in a recipe of training besides the trainer's own keys."""

from dataclasses import dataclass


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
