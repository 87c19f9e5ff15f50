"""Writes small run folders of every kind but generation, for the tests of their reports."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow
import pyarrow.parquet

from autodata.config import load, to_yaml
from autodata.data.examples import EXAMPLES
from autodata.data.remeasure import REMEASURED
from autodata.data.statistics import summarize
from autodata.meta import population
from autodata.meta.evaluate import Trial
from autodata.meta.genome import Genome
from autodata.meta.population import Member
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from autodata.run.records import read_records
from autodata.types import EXAMPLE
from tests.helpers.training_world import make_dataset

STAGES = ["trajectories", "complete", "train", "test"]
TIMES = {"started": "2026-01-01T10:00:00+00:00", "finished": "2026-01-01T10:20:00+00:00"}


def write_dataset(folder: Path, **manifest: object) -> Path:
    """Write a dataset of two arms with eight examples each."""
    make_dataset(folder)
    examples = read_records(folder / EXAMPLES, EXAMPLE)
    by_arm = {arm: [e for e in examples if e.arm == arm] for arm in ("agentic", "cot")}
    facts = {
        "funnel": {arm: dict(zip(STAGES, (12, 8, 6, 2), strict=True)) for arm in by_arm},
        "statistics": {arm: summarize(members) for arm, members in by_arm.items()},
        "card": {"stages": STAGES},
    }
    match = {"example_id": "gone", "arm": "cot", "against": "bench.jsonl:3", "ngram": "these very words"}
    (folder / "decontamination.json").write_text(json.dumps({"ngram": 13, "files": {"b": "h"}, "removed": [match]}))
    models = [measure_again(step, share) for step, share in ((0, 0.6), (20, 0.4), (40, 0.1))]
    (folder / REMEASURED).write_text(json.dumps(models))
    return change_manifest(folder, **facts | TIMES | manifest)


def measure_again(step: int, share: float) -> dict[str, object]:
    """Say how many rows are in the band for the model of a step, as remeasured.json does."""
    in_band = {"value": share, "low": share - 0.1, "high": share + 0.1, "documents": 12, "reason": ""}
    counts = {"rows": 12, "missing": 0, "verdicts": {"accepted": 5, "too_easy": 7}, "tokens": 960}
    return {
        "label": "base",
        "step": step,
        "set": "agentic_train",
        "in_band": in_band,
        "without_spread": 0.25,
        **counts,
    }


def change_manifest(folder: Path, **facts: object) -> Path:
    known = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(known | facts))
    return folder


def write_training(folder: Path, **manifest: object) -> Path:
    """Write a training with rising rewards, one watched set, two judges and two completions."""
    recipe = load(GrpoRecipe, ["recipes/demo/grpo.yaml", f"run={folder}"])
    train = [
        {"step": n, "reward": n / 10, "completions/clipped_ratio": 0.5, "grad_norm": 1.0, "step_time": 30.0}
        for n in range(1, 9)
    ]
    looks = [{"step": n, "score": n / 20, "cut_off": 0.1, "first_judge": 0.5, "second_judge": 0.4} for n in (0, 8)]
    curves = {
        "train": train,
        "watched": {"agentic_test": looks, "probe": looks[:1]},
        "probe": {"step": 0, "eval_completions/clipped_ratio": 0.123},
    }
    facts = {"steps": 8, "judgements": 64, "failed_judgements": 3, "failed_by_reason": {"HTTP 500": 2, "<late>": 1},
             "judged_over": {"sessions": 2, "processes": 1}, "reward_first_quarter": 0.15,
             "reward_last_quarter": 0.75}  # fmt: skip
    _write_run(folder, "grpo", recipe, facts | manifest)
    (folder / "curve.json").write_text(json.dumps(curves))
    kept = {"step": [8, 8], "prompt": ["Why?", "Why?"], "completion": ["so", "<b>no</b>"], "score": [1.0, 0.0],
            "advantage": [1.0, -1.0]}  # fmt: skip
    completions = folder / "checkpoints" / "completions"
    completions.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table(kept), completions / "completions_00008.parquet")
    return folder


def write_evaluation(folder: Path, label: str = "a model", **manifest: object) -> Path:
    """Write an evaluation of one set with a subset, and of PRBench with one grader."""
    recipe = replace(load(EvalRecipe, ["recipes/demo/eval_base.yaml", f"run={folder}", "samples=2"]), label=label)
    estimate = {"value": 0.25, "low": 0.125, "high": 0.5}
    part = {"examples": 4, "documents": 4, "k": 2, "mean": estimate, "best": estimate, "pass": None,
            "truncation_rate": 0.5, "tokens_per_answer": 7.0, "score_per_1000_tokens": None, "unscored": 1,
            "mean_bounds": [0.25, 0.375]}  # fmt: skip
    results = {"agentic_test": part | {"subsets": {"algebra": part}}}
    graded = {"tasks": 3, "scored": 2, "unresolved": 1, "clipped": estimate,
              "met_by_category": {"Legal Accuracy": [0.75, 12]}, "met_by_weight_class": {}}  # fmt: skip
    ledger = {"weak_solver": {"calls": 9, "prompt_tokens": 90, "completion_tokens": 70, "call_seconds": 3.5,
                              "gpu_seconds": 7.0}}  # fmt: skip
    answers = [
        {"task": "agentic_test", "outcome": outcome, "score": score}
        for outcome, score in (("ok", 1.0), ("truncated", 0.0), ("ok", 0.95), ("ok", None))
    ]
    _write_run(folder, "eval", recipe, {"label": label, "ledger": ledger} | manifest)
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "prbench.json").write_text(
        json.dumps({"prbench_legal": {"tasks": 3, "left_out": 1, "graders": {"judge": graded}}})
    )
    (folder / "answers.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    return folder


HYPOTHESES = {1: "Ask what only this paper shows.", 3: "Compare two numbers."}
_TEXT = "".join(f"Rule {n} stays as it is.\n" for n in range(12)) + "- It must stand on its own.\n"


def write_search(folder: Path, iterations: int = 4, hypothesis: str = HYPOTHESES[1], **manifest: object) -> Path:
    """Write a search: the baseline passes half the time, two edits are accepted one upon the other, the rest fail."""
    files = ["recipes/meta/cs.yaml", "recipes/models/laptop.yaml"]
    recipe = load(MetaRecipe, [*files, f"run={folder}", "documents.path=documents", f"iterations={iterations}"])
    genomes = {0: Genome({"challenger": _TEXT})}
    genomes[1] = Genome({"challenger": _TEXT + f"- {hypothesis}\n"})
    genomes[3] = Genome({"challenger": genomes[1].prompts["challenger"].replace("must stand", "has to stand")})
    with Run(str(folder), "meta", recipe, {}) as run:
        run.start()
        for number in range(iterations + 1):
            line = _iteration(number, HYPOTHESES.get(number, "") if number != 1 else hypothesis)
            if number in genomes:
                parent = line["parent"]
                member = Member(number, parent, genomes[number], line["hypothesis"], "They are too easy.")
                population.save(run, member, None if parent is None else genomes[parent])
            run.append("iterations.jsonl", json.dumps(line).encode())
        run.finish([])
    scored = {"validation": 0.75, "validation_trials": 24, "test": 0.5, "test_trials": 12,
              "test_interval": [0.25, 0.75], "failures": {"too_easy": 6}}  # fmt: skip
    results = {
        "iterations": iterations,
        "accepted": 2,
        "baseline": scored,
        "best": scored | {"member": 3, "failures": {}},
        "optimism": 0.25,
        "gain_on_test": 0.125,
        "gain_interval": [-0.05, 0.3],
    }
    (folder / "results.json").write_text(json.dumps(results))
    return change_manifest(folder, **TIMES | manifest)


def _iteration(number: int, hypothesis: str) -> dict:
    """Make an iteration: the baseline passes 6 of 12 documents, each mutant 9, in the same draw as its parent."""
    parent = None if number == 0 else 1 if number == 3 else 0
    sides = [number] if parent is None else [parent, number]
    trials = [
        _trial(id, document, document % 2 == 0 or (id == number != 0 and document % 4 == 1))
        for id in sides
        for document in range(12)
    ]
    outcome = {0: "baseline", 1: "accept", 2: "refused: nothing is changed", 3: "accept"}.get(number, "reject")
    return {
        "iteration": number,
        "parent": parent,
        "seen": number,
        "outcome": outcome,
        "wins": 3,
        "losses": 0,
        "hypothesis": hypothesis,
        "analysis": "They are too easy.",
        "tokens": 1000 + number,
        "trials": [asdict(t) for t in trials],
        "best": min(number, 3),
        "best_pass_rate": 0.5,
    }


def _trial(member: int, document: int, passed: bool) -> Trial:
    return Trial(member, f"d{document}", 0, passed, () if passed else ("too_easy",), 10)


def _write_run(folder: Path, kind: str, recipe: GrpoRecipe | EvalRecipe | MetaRecipe, facts: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    (folder / "manifest.json").write_text(json.dumps({"inputs": {"kind": kind}} | TIMES | facts))
