"""Makes the examples of a dataset from finished runs (one per arm): the chosen rounds of each trajectory."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

from autodata import config
from autodata.config import RecipeError
from autodata.loop.acceptance import mean, scores
from autodata.recipes.data import Filters
from autodata.recipes.domain import DomainConfig, Shape
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import read_manifest, require_finished
from autodata.run.records import TRAJECTORIES, digest, read_records
from autodata.types import EXAMPLE, TRAJECTORY, Evidence, Example, Provenance, Round, Trajectory

EXAMPLES, STATISTICS, DECONTAMINATION = "examples.jsonl", "statistics.json", "decontamination.json"


@dataclass(frozen=True)
class Arm:
    """A finished generation run: its trajectories, its domain's settings and the hashes of its inputs."""

    name: str
    folder: str
    trajectories: tuple[Trajectory, ...]
    domain: DomainConfig
    models: dict[str, str]
    recipe_hash: str
    prompts_hash: str

    def limits(self, filters: Filters) -> tuple[Shape, Filters]:
        """Return what the final filter requires of this arm: from the recipe, or else from the domain."""
        chars = self.domain.context_chars if filters.context_chars is None else filters.context_chars
        shape = self.domain.rubric_shapes.get(self.domain.rubric_shape, Shape())
        return shape, replace(filters, context_chars=chars)

    def list_chosen(self) -> Iterator[tuple[Trajectory, Round]]:
        """Yield each chosen round with its trajectory, sorted by document id and then by round."""
        for trajectory in sorted(self.trajectories, key=lambda t: t.document_id):
            yield from ((trajectory, round) for round in choose_rounds(trajectory) if round.candidate)


def read_arm(name: str, folder: str) -> Arm:
    """Read a finished run as an arm. Raises RunError, RecipeError."""
    manifest = require_finished(folder, COMMANDS[GenerateRecipe])
    if manifest["arm"] != name:
        raise RecipeError(f"arms.{name}={folder}: that run was made with arm={manifest['arm']}, not arm={name}")
    recipe = config.load(GenerateRecipe, [str(Path(folder) / "recipe.yaml")])
    trajectories = tuple(read_records(Path(folder) / TRAJECTORIES, TRAJECTORY))
    prompts_hash = str(manifest["inputs"].get("prompts", ""))
    models = dict(manifest["models"])
    return Arm(name, folder, trajectories, recipe.domain, models, hash_inputs(manifest), prompts_hash)


def open_arm(dataset: Path, name: str, run: str) -> Arm:
    """Read the run that a row names. Raises RunError, RecipeError.

    A published data set contains it beside the rows. A relative path was relative to the folder in which the data set
    was made, which is the current one or one of those above the data set.
    """
    places = [dataset / run, Path(run), *(folder / run for folder in dataset.absolute().parents)]
    found = next((place for place in places if place.is_dir()), Path(run))
    return replace(read_arm(name, str(found)), folder=run)


def hash_inputs(manifest: Mapping[str, Any]) -> str:
    """Hash the recipe of a run and everything that it read."""
    return digest(json.dumps(manifest["inputs"], sort_keys=True).encode())


def choose_rounds(trajectory: Trajectory) -> list[Round]:
    """Choose the rounds that become examples: the accepted one, the best of N, or all measured ones of the arm cot."""
    if trajectory.arm == "cot":  # CoT Self-Instruct ignores the verdict: a sound candidate only needs to be measured
        return [round for round in trajectory.rounds if round.weak and round.strong]
    chosen = trajectory.accepted if trajectory.arm == "agentic" else choose_best(trajectory.rounds)
    return [chosen] if chosen else []


def make_example(arm: Arm, trajectory: Trajectory, round: Round, licence: str) -> Example:
    """Make the example of one round; the split is assigned later. Raises ValueError if an attempt is not judged."""
    candidate = round.candidate
    if candidate is None:
        raise ValueError("no example can be made from a round without a candidate")
    return Example(
        id=f"{arm.name}-{candidate.hash}",
        document_id=trajectory.document_id,
        document_source=trajectory.document_source,
        arm=arm.name,
        split="train",
        candidate=candidate,
        candidate_hash=candidate.hash,
        round=round.number,
        rounds=len(trajectory.rounds),
        accepted=round.verdict.accepted is True,
        weak_scores=tuple(map(float, scores(candidate, round.weak))),
        strong_scores=tuple(map(float, scores(candidate, round.strong))),
        evidence=_gather_evidence(arm, trajectory, round),
        provenance=_trace(arm, trajectory, round, licence),
    )


def find_licence(trajectory: Trajectory, licences: Mapping[str, str]) -> str:
    """Return the licence of a trajectory's document."""
    return match_licence(trajectory.document_source, trajectory.document_licence, licences)


def match_licence(source: str, stated: str, licences: Mapping[str, str]) -> str:
    """Return the document's own licence, or else that of the first pattern that matches the name of its source."""
    fitting = (licence for pattern, licence in licences.items() if fnmatchcase(source, pattern))
    return stated or next(fitting, "unknown")


def _gather_evidence(arm: Arm, trajectory: Trajectory, round: Round) -> Evidence:
    return Evidence(
        weak_met=tuple(a.judgement.met or () for a in round.weak),
        strong_met=tuple(a.judgement.met or () for a in round.strong),
        weak_planned=arm.domain.weak_attempts,
        strong_planned=arm.domain.strong_attempts,
        preset=trajectory.preset,
        gates={
            name: {key: bound for key, bound in asdict(gate).items() if bound is not None}
            for name, gate in arm.domain.presets.items()
            if name in round.presets
        },
        presets=dict(round.presets),
        review=dict(round.review),
        weak_outcomes=tuple(a.outcome for a in round.weak),
        strong_outcomes=tuple(a.outcome for a in round.strong),
    )


def _trace(arm: Arm, trajectory: Trajectory, round: Round, licence: str) -> Provenance:
    return Provenance(
        run=arm.folder,
        recipe_hash=arm.recipe_hash,
        prompts_hash=arm.prompts_hash,
        models=arm.models,
        licence=licence,
        tokens=dict(trajectory.tokens),
        weak_seeds=tuple(a.seed for a in round.weak),
        strong_seeds=tuple(a.seed for a in round.strong),
    )


def choose_best(rounds: tuple[Round, ...]) -> Round | None:
    """Choose the measured round that was accepted, or else the one with the largest gap; the first of equal ones."""

    def rate(round: Round) -> tuple[bool, Fraction]:
        weak, strong = (mean(scores(round.candidate, attempts)) for attempts in (round.weak, round.strong))
        return round.verdict.accepted is True, strong - weak

    measured = [r for r in rounds if r.weak and r.strong and all(a.is_measured for a in (*r.weak, *r.strong))]
    return max(measured, key=rate, default=None)


def read_set(dataset: str, name: str) -> list[Example]:
    """Read the examples of the set named <arm>_<split>. Raises RecipeError, RunError."""
    arm, _, split = name.rpartition("_")
    if split not in ("train", "test"):
        raise RecipeError(f"{name!r} is not of the form <arm>_train or <arm>_test")
    return [e for e in read_records(Path(dataset) / EXAMPLES, EXAMPLE) if (e.arm, e.split) == (arm, split)]


def require_domain(dataset: str, arms: Collection[str], domain: str) -> None:
    """Raise RecipeError if an arm was made for another domain: this domain's judge would not understand it."""
    made_for = (read_manifest(Path(dataset)) or {}).get("domains", {})
    for arm in arms:
        if arm not in made_for:
            raise RecipeError(f"arms: {dataset} has no arm {arm}; it has {', '.join(sorted(made_for)) or 'none'}")
        if made_for[arm] != domain:
            raise RecipeError(f"domain.name={domain}: the arm {arm} of {dataset} was made for {made_for[arm]}")
