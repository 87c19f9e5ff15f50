"""Holds what meta-optimisation may change: a domain's mutable prompts and, as data, the shape of its rubrics."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from autodata.config import RecipeError
from autodata.recipes.domain import DomainConfig, RubricBounds, Shape
from autodata.recipes.reading.domain_folder import prompt_folders

EVOLVED = "evolved"  # the name of the rubric shape that comes with an evolved prompt set
SHAPE_FILE = "domain.yaml"


@dataclass(frozen=True)
class Genome:
    """The templates by name, and the rubric's shape if the domain has rubrics."""

    prompts: Mapping[str, str]
    shape: Shape | None = None

    @property
    def hash(self) -> str:
        """A short hash of prompts and shape, equal for equal content."""
        content = json.dumps([sorted(self.prompts.items()), self.shape and asdict(self.shape)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_baseline(config: DomainConfig) -> Genome:
    """Read the domain's own mutable prompts and its shape in force. Raises RecipeError for a prompt without a file."""
    if not config.mutable_prompts:
        raise RecipeError(f"domain.mutable_prompts: {config.name} has no prompt that may be changed")
    prompts = {}
    for name in config.mutable_prompts:
        files = [file for folder in prompt_folders(config) if (file := folder / f"{name}.j2").exists()]
        if not files:
            raise RecipeError(f"domain.mutable_prompts: {config.name} has no prompt {name}")
        prompts[name] = files[0].read_text(encoding="utf-8")
    return Genome(prompts, config.rubric_shapes[config.rubric_shape] if config.rubric_shape else None)


def write(genome: Genome, folder: Path) -> None:
    """Write a folder for `domain.prompts=…`: the templates, and the shape in the format of a domain.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in genome.prompts.items():
        (folder / f"{name}.j2").write_text(text, encoding="utf-8")
    if genome.shape:
        shape = {"rubric_shape": EVOLVED, "rubric_shapes": {EVOLVED: asdict(genome.shape)}}
        (folder / SHAPE_FILE).write_text(yaml.safe_dump(shape, sort_keys=False), encoding="utf-8")


def configure(config: DomainConfig, genome: Genome, folder: Path | None) -> DomainConfig:
    """Give the domain the genome's shape and the prompts in `folder`; None keeps the domain's own prompts."""
    config = replace(config, prompts=str(folder)) if folder else config
    if genome.shape is None:
        return config
    return replace(config, rubric_shape=EVOLVED, rubric_shapes={**config.rubric_shapes, EVOLVED: genome.shape})


# Limits that no evolved shape may leave, because a rubric of one line or with unbounded weights is useless.
ITEMS, NEGATIVE, WEIGHT = (5, 30), (0, 20), (1, 10)


def check_shape(shape: Shape) -> list[str]:
    """List where a shape leaves the limits that code sets."""
    faults = _check_bounds("asked", shape.asked) + _check_bounds("tolerated", shape.tolerated)
    if not WEIGHT[0] <= shape.weight_at_most <= WEIGHT[1]:
        faults.append(f"weight_at_most is {shape.weight_at_most}; it must be {WEIGHT[0]} to {WEIGHT[1]}")
    if faults:
        return faults
    for name in ("items", "positive", "negative"):
        (low, high), (least, most) = (getattr(part, name) for part in (shape.asked, shape.tolerated))
        if low < least or high > most:
            faults.append(f"{name}: {low} to {high} are asked for, but only {least} to {most} are tolerated")
    return faults


def _check_bounds(name: str, bounds: RubricBounds) -> list[str]:
    faults = []
    for part, least, most in (("items", *ITEMS), ("positive", 1, ITEMS[1]), ("negative", *NEGATIVE)):
        pair = getattr(bounds, part)
        if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
            faults.append(f"{name}.{part} is {list(pair)}; it must lie within {least} to {most}")
    if not faults and bounds.positive[0] + bounds.negative[0] > bounds.items[1]:
        faults.append(f"{name}: more positive and negative criteria than items")
    return faults


def diff(parent: Genome, child: Genome) -> str:
    """Return the unified diff of all prompts and of the shape; empty if nothing changed."""
    texts = [
        {**genome.prompts, SHAPE_FILE: json.dumps(genome.shape and asdict(genome.shape), indent=2)}
        for genome in (parent, child)
    ]
    lines: list[str] = []
    for name in sorted(texts[0].keys() | texts[1].keys()):
        before, after = (text.get(name, "").splitlines() for text in texts)
        lines += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
    return "\n".join(lines)
