"""Measures work that is saved: attempts after the verdict is settled, and prompt tokens in a server's cache.

    python -m bench.waste early-stop runs/demo/agentic
    python -m bench.waste prefix [--documents 4] [models.endpoints.small.base_url=URL]

`early-stop` takes a run that made all attempts. For each stage it finds the first attempt after which the verdict in
force could not change any more, counts the tokens of later attempts, and checks that the verdict stays the same.

`prefix` plays `cs` with scripted replies, while vLLM with the embedded model reads every prompt and counts the tokens
found in its prefix cache (vllm:prefix_cache_hits over vllm:prefix_cache_queries). It compares three orders: the
prompts as they are, the judge's answer before the rubric, and also the paper behind the instructions. Each order has a
cache of its own; answers have 200 words.
"""

import argparse
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx
from omegaconf import OmegaConf

from autodata import generate
from autodata.config import load
from autodata.loop import acceptance
from autodata.recipes.domain import Gate
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.domain_folder import prompt_folders
from autodata.run.records import iterate_records
from autodata.serving.vllm import running
from autodata.types import TRAJECTORY, Attempt, Candidate, Role, Round
from tests.helpers.fake_server import NAMES, Scripted, fake_server
from tests.helpers.fake_world import World

WORDS = ("cache", "policy", "burst", "load", "limit", "delay", "hit", "miss", "write", "wear")
PLAN = ("no_better", "too_easy", "accepted")  # how the rounds of each document end


def count_needed(candidate: Candidate, round: Round, gate: Gate) -> tuple[int, int, bool]:
    """Count the weak and strong attempts that settle the verdict; True if all attempts give the same verdict."""
    weak, strong = (acceptance.scores(candidate, side) for side in (round.weak, round.strong))
    for count in range(1, len(weak) + 1):
        verdict = acceptance.settle_weak(weak[:count], len(weak), gate)
        if verdict:
            return count, 0, verdict.failure is round.verdict.failure
    for count in range(1, len(strong) + 1):
        verdict = acceptance.settle(weak, strong[:count], len(strong), gate)
        if verdict:
            return len(weak), count, verdict.failure is round.verdict.failure
    return len(weak), len(strong), True


def tokens(attempts: Sequence[Attempt]) -> int:
    return sum(a.prompt_tokens + a.completion_tokens for a in attempts)


def measure_early_stop(run: Path) -> None:
    domain = OmegaConf.load(run / "recipe.yaml").domain
    gate = Gate(**domain.presets[domain.preset])
    spent = kept = attempts = needed = changed = 0
    for trajectory in iterate_records(run / "trajectories.jsonl", TRAJECTORY):
        for round in trajectory.rounds:
            if round.candidate and round.weak:
                weak, strong, is_same = count_needed(round.candidate, round, gate)
                spent += tokens(round.weak) + tokens(round.strong)
                kept += tokens(round.weak[:weak]) + tokens(round.strong[:strong])
                attempts, needed = attempts + len(round.weak) + len(round.strong), needed + weak + strong
                changed += not is_same
    print(
        f"{run}: {needed:,} of {attempts:,} attempts needed, {kept:,} of {spent:,} solver tokens needed "
        f"({1 - kept / max(spent, 1):.1%} saved); verdicts changed: {changed}"
    )


class Reader:
    """Has vLLM read each prompt, then answers as the scripted world; each `order` has cached prefixes of its own."""

    def __init__(self, url: str, model: str, order: str):
        self._url, self._model, self._order, self._world = url, model, order, World(PLAN)

    def __call__(self, body: dict, count: int) -> Scripted:
        request = {"model": self._model, "messages": body["messages"], "max_tokens": 1, "cache_salt": self._order}
        httpx.post(f"{self._url}/chat/completions", json=request, timeout=300).raise_for_status()
        reply = self._world(body, count)
        if body["messages"][0]["role"] == "user":  # only solvers have no system prompt
            chance = random.Random(str(body["messages"]) + str(body.get("seed")))
            words = " ".join(chance.choices(WORDS, k=200))
            reply.body["choices"][0]["message"]["content"] += f" {words}."
        return reply


def count_cached(url: str) -> tuple[float, float]:
    """Count the prompt tokens looked up, and those found, in the prefix cache since the server started."""
    page = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    patterns = (rf"^vllm:prefix_cache_{kind}_total{{.*}} (\S+)$" for kind in ("queries", "hits"))
    return tuple(sum(map(float, re.findall(pattern, page, re.MULTILINE))) for pattern in patterns)


def move_behind(name: str, sealed: str, anchor: str, folder: Path) -> None:
    """Copy a template of `cs` and move one sealed part to just before `anchor`."""
    paths = (where / f"{name}.j2" for where in prompt_folders(OmegaConf.create({"name": "cs", "prompts": None})))
    text = next(path for path in paths if path.exists()).read_text()
    before, _, after = text.partition(sealed)
    assert after.count(anchor), f"{name}.j2: no {anchor!r} behind {sealed!r}"
    (folder / f"{name}.j2").write_text(before + after.replace(anchor, f"{sealed}\n\n{anchor}", 1))


def write_orders(folder: Path) -> dict[str, Path | None]:
    """Write a folder of templates for each order; None stands for the domain's own."""
    judge, both = folder / "judge", folder / "both"
    for order in (judge, both):
        order.mkdir()
        move_behind("judge", '{{ listed | trim | seal("criteria") }}', "{% else %}", order)
    move_behind("challenger", '{{ document | seal("paper") }}', "Reply with one JSON object", both)
    move_behind("quality_verifier", '{{ document | seal("paper") }}', "Reply with JSON only", both)
    return {
        "as they are": None,
        "with the answer before the rubric": judge,
        "and with the paper behind the instructions": both,
    }


def measure_prefix(documents: int, overrides: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = load(GenerateRecipe, ["recipes/demo/generate.yaml", f"run={folder}/server", *overrides])
        with running(small.models, Role, folder):
            url, model = small.models.endpoints["small"].base_url, small.models.endpoints["small"].model
            for number, (order, prompts) in enumerate(write_orders(folder).items()):
                before = count_cached(url)
                with fake_server(Reader(url, model, order)) as world:
                    play(world.url, folder / str(number), prompts, documents)
                queries, hits = (now - then for now, then in zip(count_cached(url), before, strict=True))
                print(
                    f"prompts {order}: {hits:,.0f} of {queries:,.0f} prompt tokens were cached "
                    f"({hits / queries:.1%}), {queries - hits:,.0f} had to be read",
                    flush=True,
                )


def play(url: str, run: Path, prompts: Path | None, documents: int) -> None:
    endpoints = [f"models.endpoints.{n}.{key}" for n in NAMES for key in (f"model={n}", f"base_url={url}")]
    roles = [f"models.{role}.endpoint={role.removesuffix('_solver') if 'solver' in role else 'fake'}" for role in Role]
    recipe = load(
        GenerateRecipe,
        [
            "recipes/cs/generate.yaml",
            f"run={run}",
            "documents.path=recipes/demo/documents",
            f"documents.limit={documents}",
            "domain.document_chars=4000",
            "domain.max_rounds=3",
            f"domain.prompts={prompts or 'null'}",
            *endpoints,
            *roles,
        ],
    )
    opened, corpus = generate.open_run(recipe)
    with opened:
        generate.generate(recipe, opened, corpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="way", required=True)
    ways.add_parser("early-stop").add_argument("run", type=Path, help="run folder of autodata.generate")
    prefix = ways.add_parser("prefix")
    prefix.add_argument("--documents", type=int, default=4, help="documents that are played")
    prefix.add_argument("overrides", nargs="*", help="key=value of the recipe")
    options = parser.parse_args()
    if options.way == "early-stop":
        measure_early_stop(options.run)
    else:
        measure_prefix(options.documents, options.overrides)


if __name__ == "__main__":
    main()
