"""Measures the share of a training step in which nothing but the judge runs, with and without early judgements.

    python -m bench.judge_overlap [--steps 9] [--scale 20] [--in-flight 64]

Both ways run our reward and client on the same steps, in turn: 128 completions, a judge over HTTP in another process,
and an object in the place of vLLM's engine whose completions are ready when their length says so. Lengths and the
judge's latencies are log-normal; a latency depends on the request alone, so both ways have the same. All times are
divided by `--scale`. The rate and the lengths are chosen, not measured: only a run on GPUs can tell its own share,
which it logs as judge/waited_share.
"""

import argparse
import asyncio
import json
import logging
import math
import random
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from transformers import AutoTokenizer

from autodata.loop import domain as base
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.recipes.training import RewardConfig
from autodata.serving.embedded import resolve_weights
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.training.rewards.counts import Books
from autodata.training.rewards.overlap import judge_early
from autodata.training.rewards.reward import Reward
from autodata.types import CANDIDATE, Candidate
from tests.helpers.fake_server import Scripted, judge_by_hash, served_apart
from tests.helpers.scripted_engine import Planned, ScriptedTrainer
from tests.helpers.training_world import RUBRIC

_COMPLETIONS, _GROUP = 128, 8  # of a step in recipes/cs/grpo.yaml
_LIMIT = 16_384  # tokens of a completion there
_NORMAL_95 = 1.645  # standard deviations from the median to the 95th percentile


def draw(chance: random.Random, middle: float, p95: float) -> float:
    """Draw from the log-normal distribution with this median and 95th percentile."""
    return chance.lognormvariate(math.log(middle), math.log(p95 / middle) / _NORMAL_95)


def judge_slowly(options: argparse.Namespace, body: dict, count: int) -> Scripted:
    latency_s = draw(random.Random(json.dumps(body, sort_keys=True)), *options.judge_s)
    return replace(judge_by_hash(body, count), delay_s=latency_s / options.scale)


def make_rows() -> list[dict[str, str]]:
    candidates = [Candidate(f"Why {i}?", "So.", RUBRIC, "A context.") for i in range(_COMPLETIONS // _GROUP)]
    return [{"prompt": c.question, "candidate": CANDIDATE.dump_json(c).decode()} for c in candidates]


def plan_step(number: int, options: argparse.Namespace) -> list[Planned]:
    """Draw when each completion of a step is ready."""
    chance = random.Random(number)
    lengths = [min(_LIMIT, draw(chance, *options.tokens)) for _ in range(_COMPLETIONS)]
    rows = [row for row in make_rows() for _ in range(_GROUP)]
    seconds = [length / options.rate / options.scale for length in lengths]
    return [Planned(row, f" {number}.{i}", s) for i, (row, s) in enumerate(zip(rows, seconds, strict=True))]


def measure(early: bool, folder: Path, url: str, options: argparse.Namespace) -> dict[str, float]:
    """Run the steps; return the means of what the reward logs, and of a step's seconds, in unscaled time."""
    endpoint = Endpoint("fake", base_url=url, max_in_flight=options.in_flight)
    journal = Journal(folder / "journal.sqlite")
    client = Client(Models({"j": endpoint}, judge=RoleConfig("j", Sampling(max_tokens=64))), journal)
    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("embedded"))
    domain = base.load(DomainConfig("cs"), client)
    reward = Reward(domain, client, RewardConfig(), Books(folder, 0, [client]))
    reward.end_ids = frozenset({tokenizer.eos_token_id})
    trainer = ScriptedTrainer(tokenizer)
    if early:
        judge_early(trainer, make_rows(), reward)
    for number in range(options.steps):
        trainer.step(reward, plan_step(number, options), options.forward_s / options.scale)
        time.sleep(options.train_s / options.scale)
    asyncio.run_coroutine_threadsafe(client.close(), trainer.async_loop).result()
    trainer.stop()
    journal.close()
    log = trainer.metrics
    waited, span, share = log["judge/waited_s"][1:], log["judge/seconds"][1:], log["judge/waited_share"]
    steps = [w / s for w, s in zip(waited, share, strict=True)]
    times = {"waited": fmean(waited), "step": fmean(steps), "judging": fmean(span)}
    return {"share": sum(waited) / sum(steps)} | {name: options.scale * value for name, value in times.items()}


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=9, help="steps of each way; the first is not counted")
    parser.add_argument("--scale", type=float, default=20, help="divides all times")
    parser.add_argument("--in-flight", type=int, default=64, help="judgements in flight; 64 is the client's default")
    parser.add_argument("--judge-s", type=float, nargs=2, default=[8, 30], help="a judgement: median and p95")
    parser.add_argument("--tokens", type=float, nargs=2, default=[4_000, 12_000], help="a completion: median and p95")
    parser.add_argument("--rate", type=float, default=100, help="tokens a second of one completion")
    parser.add_argument("--forward-s", type=float, default=10, help="between the last completion and the rewards")
    parser.add_argument("--train-s", type=float, default=60, help="from the rewards to the next step")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, served_apart(partial(judge_slowly, options)) as url:
        results = []
        for early in (False, True):
            folder = Path(name) / str(early)
            folder.mkdir()
            results.append(measure(early, folder, url, options))
            way = "early" if early else "after the generation"
            words = "waits for {share:.1%} of a step, {waited:.1f} of {step:.1f} s; judges for {judging:.1f} s"
            print(f"{way}: {words.format(**results[-1])}", flush=True)
    waited, step = (results[1][key] / results[0][key] for key in ("waited", "step"))
    print(f"early ÷ after the generation: time waited {waited:.2f}, time of a step {step:.2f}")


if __name__ == "__main__":
    main()
