"""Measures what our reward, callbacks and rows cost a training step, against TRL's trainer without them.

    python -m bench.training [--steps 12] [--rounds 3] [--tokens 32]

Both train the same small random model of Qwen3.5's architecture on the same prompts, in turn, on this machine: ours
with a judge on loopback that answers at once, the other with a constant reward. Then the wall-clock time of one step's
reward is measured, for 128 completions and a judge that takes two seconds, as a ratio to one call.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOTrainer

from autodata.config import load
from autodata.data.examples import read_set
from autodata.loop import domain as base
from autodata.recipes.training import GrpoRecipe, RewardConfig
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.training.rewards.counts import Books
from autodata.training.rewards.reward import Reward
from autodata.training.rows import make_rows, render_prompt
from autodata.training.trainer import Training, make_config
from autodata.training.weights.student import load_student
from tests.helpers.fake_server import Scripted, judge_by_hash, served_apart
from tests.helpers.training_world import make_arguments, make_dataset, make_qwen


class Clock(TrainerCallback):
    """Records when each step ended."""

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **_):
        self.ends.append(time.perf_counter())

    @property
    def step_s(self) -> float:
        """The median time of the steps after the first."""
        return median(later - earlier for earlier, later in zip(self.ends, self.ends[1:], strict=False))


def judge_after(delay_s: float, body: dict, count: int) -> Scripted:
    return replace(judge_by_hash(body, count), delay_s=delay_s)


def constant(completions, **_columns) -> list[float]:
    # Two values, so that there are gradients as with a judge.
    return [float(i % 2) for i in range(len(completions))]


def time_ours(recipe: GrpoRecipe, folder: Path) -> float:
    journal, clock = Journal(folder / "journal.sqlite"), Clock()
    try:
        training = Training(recipe, folder, journal)
        training.trainer.add_callback(clock)
        training.trainer.train()
    finally:
        journal.close()
    return clock.step_s


def time_bare(recipe: GrpoRecipe, folder: Path) -> float:
    clock, tokenizer = Clock(), AutoTokenizer.from_pretrained(recipe.model)
    domain = base.load(recipe.domain, Client(recipe.models, None))
    template = recipe.trainer["chat_template_kwargs"]
    render = partial(render_prompt, domain=domain, tokenizer=tokenizer, template=template)
    rows = make_rows(read_set(recipe.dataset, "agentic_train"), render)
    trainer = GRPOTrainer(
        model=load_student(recipe.model, {"dtype": "float32"}, {}),
        args=make_config(recipe, folder, 1),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        reward_funcs=constant,
        callbacks=[clock],
    )
    trainer.train()
    return clock.step_s


def time_rewards(recipe: GrpoRecipe, folder: Path, completions: int) -> float:
    """Return the seconds for all rewards of one step."""
    journal = Journal(folder / "journal.sqlite")
    try:
        client = Client(recipe.models, journal)
        reward = Reward(base.load(recipe.domain, client), client, RewardConfig(), Books(folder, 0, [client]))
        reward.end_ids = frozenset({0})
        examples = read_set(recipe.dataset, "agentic_train")[:1]
        tokenizer = AutoTokenizer.from_pretrained(recipe.model)
        domain = base.load(recipe.domain, client)
        row = make_rows(examples, partial(render_prompt, domain=domain, tokenizer=tokenizer, template={}))[0]
        answers = [f"answer {i}" for i in range(completions)]
        start = time.perf_counter()
        scoring = reward.score(
            prompts=[row["prompt"] + "</think>"] * completions,
            completions=answers,
            completion_ids=[[0]] * completions,
            candidate=[row["candidate"]] * completions,
            set=["train"] * completions,
            log_metric=lambda name, value: None,
        )
        asyncio.run(scoring)
        return time.perf_counter() - start
    finally:
        journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12, help="steps per training")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each kind, in turn")
    parser.add_argument("--tokens", type=int, default=32, help="maximum length of a completion")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, dataset = make_qwen(folder / "qwen"), make_dataset(folder / "data")
        with served_apart(partial(judge_after, 0.0)) as url:
            values = make_arguments(
                model,
                dataset,
                url,
                folder / "run",
                max_steps=options.steps,
                save_steps=1_000,
                max_completion_length=options.tokens,
            )
            recipe = load(GrpoRecipe, ["tests/grpo.yaml", *values, "preflight.probe=0"])
            times = []
            for i in range(options.rounds):
                for way in (time_ours, time_bare):
                    (folder / f"{way.__name__}{i}").mkdir()
                    times.append(way(recipe, folder / f"{way.__name__}{i}"))
        ours, bare = median(times[::2]), median(times[1::2])
        print(f"training step: ours {ours:.3f} s, bare TRL {bare:.3f} s, ratio {ours / bare:.3f}")
        with served_apart(partial(judge_after, 2.0)) as url:
            recipe.models.endpoints["judge"].base_url = url
            recipe.models.endpoints["judge"].max_in_flight = 128
            seconds = []
            for count in (1, 128):
                (folder / f"reward{count}").mkdir()
                seconds.append(time_rewards(recipe, folder / f"reward{count}", count))
        print(
            f"rewards: 1 completion {seconds[0]:.2f} s, 128 completions {seconds[1]:.2f} s, "
            f"ratio {seconds[1] / seconds[0]:.2f}"
        )


if __name__ == "__main__":
    main()
