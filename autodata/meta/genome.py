"""What meta-optimisation changes: the mutable prompts of a domain and, as data, the shape of its rubrics."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from autodata.loop.domain import prompt_folders
from autodata.recipes.domain import DomainConfig, RubricBounds, Shape
from autodata.run.records import RunError

EVOLVED = "evolved"  # the name of a shape that a prompt set brings along
SHAPE_FILE = "domain.yaml"


@dataclass(frozen=True)
class Genome:
    """Templates by name, and the rubric's shape where the domain has rubrics."""

    prompts: Mapping[str, str]
    shape: Shape | None = None

    @property
    def hash(self) -> str:
        content = json.dumps([sorted(self.prompts.items()), self.shape and asdict(self.shape)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_baseline(config: DomainConfig) -> Genome:
    """The domain's own prompts that may change, and its shape in force. Raises RunError on a name without a file."""
    prompts = {name: _find(config, name).read_text(encoding="utf-8") for name in config.mutable_prompts}
    if not prompts:
        raise RunError(f"domain.mutable_prompts: {config.name} has no prompt that may be changed")
    return Genome(prompts, config.rubric_shapes[config.rubric_shape] if config.rubric_shape else None)


def _find(config: DomainConfig, name: str) -> Path:
    for folder in prompt_folders(config):
        if (folder / f"{name}.j2").exists():
            return folder / f"{name}.j2"
    raise RunError(f"domain.mutable_prompts: {config.name} has no prompt {name}")


def write(genome: Genome, folder: Path) -> None:
    """A folder for `domain.prompts=…`: the templates, and the shape as the recipe reader takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in genome.prompts.items():
        (folder / f"{name}.j2").write_text(text, encoding="utf-8")
    if genome.shape:
        shape = {"rubric_shape": EVOLVED, "rubric_shapes": {EVOLVED: asdict(genome.shape)}}
        (folder / SHAPE_FILE).write_text(yaml.safe_dump(shape, sort_keys=False), encoding="utf-8")


def configure(config: DomainConfig, genome: Genome, folder: Path | None) -> DomainConfig:
    """The domain with the prompts that were written to `folder` (None: its own), and the genome's shape."""
    config = replace(config, prompts=str(folder)) if folder else config
    if genome.shape is None:
        return config
    return replace(config, rubric_shape=EVOLVED, rubric_shapes={**config.rubric_shapes, EVOLVED: genome.shape})


# What no shape may leave, however it is evolved: a rubric of one line, or of unbounded weights, is no rubric.
ITEMS, NEGATIVE, WEIGHT = (5, 30), (0, 20), (1, 10)


def check_shape(shape: Shape) -> list[str]:
    """Where a shape leaves what code allows."""
    faults = []
    for name, bounds in (("asked", shape.asked), ("tolerated", shape.tolerated)):
        faults += _check_bounds(name, bounds)
    if not WEIGHT[0] <= shape.weight_at_most <= WEIGHT[1]:
        faults.append(f"weight_at_most is {shape.weight_at_most}, allowed are {WEIGHT[0]} to {WEIGHT[1]}")
    if faults:
        return faults
    for name in ("items", "positive", "negative"):
        (low, high), (least, most) = (getattr(of, name) for of in (shape.asked, shape.tolerated))
        if low < least or high > most:
            faults.append(f"{name}: {low} to {high} are asked for, but {least} to {most} tolerated")
    return faults


def _check_bounds(name: str, bounds: RubricBounds) -> list[str]:
    limits = {"items": ITEMS, "positive": (1, ITEMS[1]), "negative": NEGATIVE}
    faults = []
    for part, (least, most) in limits.items():
        found = getattr(bounds, part)
        if len(found) != 2 or not least <= found[0] <= found[1] <= most:
            faults.append(f"{name}.{part} is {list(found)}, allowed are {least} to {most}")
    if not faults and bounds.positive[0] + bounds.negative[0] > bounds.items[1]:
        faults.append(f"{name}: more positive and negative criteria than items")
    return faults


def diff(parent: Genome, child: Genome) -> str:
    """The unified diff of all prompts and of the shape; empty where nothing changed."""
    texts = [{**genome.prompts, SHAPE_FILE: json.dumps(genome.shape and asdict(genome.shape), indent=2)}
             for genome in (parent, child)]  # fmt: skip
    lines: list[str] = []
    for name in sorted(texts[0].keys() | texts[1].keys()):
        before, after = (text.get(name, "").splitlines() for text in texts)
        lines += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")
    return "\n".join(lines)
