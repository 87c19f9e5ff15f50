"""Simulates the rounds of a training: completions are sampled and judged, then the weights are updated."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from autodata.plan.lengths import Lengths
from autodata.plan.simulation import SimulatedOutcome, Station, simulate
from autodata.plan.training.shape import ModelShape
from autodata.plan.workload import PRIORS, Call, Story, ask, expect_tokens, name_prior
from autodata.recipes.training import GrpoRecipe
from autodata.training.batch import read_sizes
from autodata.types import Role

STUDENT = "student"  # name of the station that samples from the model in training


@dataclass(frozen=True)
class SimulatedRound:
    """One round. Seconds: until the last completion, from then until the last judgement, and of the update."""

    sampling: float = 0.0
    judging: float = 0.0
    update: float = 0.0
    tokens: float = 0.0
    work: Counter[str] = field(default_factory=Counter)  # engine seconds at best, by endpoint

    @property
    def seconds(self) -> float:
        """The time until all completions are judged."""
        return self.sampling + self.judging

    def __add__(self, other: "SimulatedRound") -> "SimulatedRound":
        return SimulatedRound(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


@dataclass(frozen=True)
class Setting:
    """Everything that decides how long a round takes. `processes` train, each on one GPU."""

    recipe: GrpoRecipe
    shape: ModelShape
    processes: int
    lengths: Lengths
    stations: Mapping[str, Station]
    sizes: Mapping[str, int]  # number of problems of each watched set

    @property
    def judges_early(self) -> bool:
        """True if a completion is judged as soon as it ends, and not after the last one of its round."""
        trainer = self.recipe.trainer
        colocates = trainer.get("vllm_mode", "colocate") == "colocate"
        return bool(trainer.get("use_vllm")) and colocates and count_parallel(trainer) == 1

    def play(self, prompts: int, group: int, rng: random.Random) -> SimulatedRound:
        """Simulate one round: `group` completions of each prompt, sampled all at once."""
        prompt, _ = expect_tokens(name_prior(self.recipe.domain), Role.WEAK_SOLVER)
        shared = [number > 0 for _ in range(prompts) for number in range(group)]
        solving = [Call(Role.WEAK_SOLVER, prompt, self.lengths.draw(rng), is_shared) for is_shared in shared]
        sampled = self._simulate(Story((tuple((call,) for call in solving),), 0, False))
        judged = self._simulate(self._judge(solving)) if self.recipe.models.judge else sampled
        tokens = [call.prompt + call.completion for call in solving]
        update = estimate_update(self.recipe, self.shape, self.processes, tokens)
        return SimulatedRound(sampled.seconds, judged.seconds - sampled.seconds, update, sum(tokens), judged.work)

    def play_sets(self, group: int, rng: random.Random) -> SimulatedRound:
        """Simulate the evaluation of all watched sets, sampled all at once."""
        return self.play(sum(self.sizes.values()), group, rng) if self.sizes else SimulatedRound()

    def _judge(self, solving: Sequence[Call]) -> Story:
        judge = ask(self.recipe, Role.JUDGE)
        if self.judges_early:
            return Story((tuple((call, judge) for call in solving),), 0, False)
        return Story((tuple((call,) for call in solving), tuple((judge,) for _ in solving)), 0, False)

    def _simulate(self, story: Story) -> SimulatedOutcome:
        judge = self.recipe.models.judge
        served = {Role.WEAK_SOLVER: STUDENT, Role.JUDGE: judge.endpoint if judge else STUDENT}
        return simulate([story], served, self.stations, 1)


def count_parallel(trainer: Mapping[str, object]) -> int:
    """Return the number of GPUs of one vLLM engine in a training."""
    return int(str(trainer.get("vllm_tensor_parallel_size") or 1))


def choose_device(recipe: GrpoRecipe) -> Mapping[str, Any]:
    """Choose what priors.yaml has of the device that trains."""
    return PRIORS["cpu" if recipe.trainer.get("use_cpu") else "gpu"]


def is_apart(recipe: GrpoRecipe) -> bool:
    """True if vLLM runs on GPUs of its own."""
    return bool(recipe.trainer.get("use_vllm")) and recipe.trainer.get("vllm_mode", "colocate") == "server"


def estimate_update(recipe: GrpoRecipe, shape: ModelShape, processes: int, tokens: Sequence[float]) -> float:
    """Estimate the seconds of one update from the tokens of its sequences.

    All processes go through the model in lockstep, each with its longest sequences first, so the longest sequence of
    each pass sets the time of the pass. A token costs two operations for each weight, and four for each query value
    and each token that it attends to: on average, half of its sequence. A backward pass costs as much as two forward
    passes; with LoRA as much as one, because frozen weights need no gradient.
    """
    trainer, each = recipe.trainer, read_sizes(recipe.trainer)[0]
    passes = 1 + (1 if shape.adapters else 2) + bool(trainer.get("gradient_checkpointing", True))
    # With vLLM, one more forward pass computes the log-probabilities that its samples are compared with.
    passes += bool(trainer.get("use_vllm")) and trainer.get("vllm_importance_sampling_correction", True)
    costs = [t * (2 * shape.multiplied + 2 * shape.query_values * t) for t in tokens]
    shares = [sorted(costs[start::processes], reverse=True)[::each] for start in range(processes)]
    slowest = sum(each * max(heads) for heads in zip_longest(*shares, fillvalue=0.0))
    return passes * slowest / (choose_device(recipe)["tflops"] * 1e12 * PRIORS["utilisation"])
