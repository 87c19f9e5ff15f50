"""Writes the report of a training: rewards from first to last step, the watched sets, and the checks before it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autodata import config
from autodata.recipes.domain import expects_cut_off
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.training import GrpoRecipe
from autodata.report import curves, page
from autodata.stats.writing import write_count

COMMAND = f"accelerate launch -q --config_file recipes/accelerate/cpu.yaml {COMMANDS[GrpoRecipe]}"
_MAX_COMPLETIONS = 8  # maximum number of completions shown
_MAX_CHARS = 1_200  # maximum length of each, and of the end of its prompt
METRICS = (
    curves.REWARD,
    curves.CUT_OFF,
    curves.Metric("frac_reward_zero_std", "groups with equal rewards", is_share=True),
    curves.Metric("completions/mean_length", "tokens per completion"),
    curves.Metric("entropy", "entropy"),
    curves.Metric("grad_norm", "gradient norm"),
    curves.Metric("kl", "KL to the initial model", "logged only if trainer.beta is above 0"),
    curves.Metric("train/unscored", "completions without a score", is_share=True),
)


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Return the page of a training, finished or not. Raises RecipeError."""
    recipe = config.load(GrpoRecipe, [str(folder / "recipe.yaml")])
    log = curves.read_curves(folder)
    charts = {metric.key: curves.draw_metric(metric, log.train) for metric in METRICS}
    return page.render(
        "training.j2",
        f"{folder.resolve().name}: GRPO on {recipe.domain.name}, {' and '.join(recipe.arms)} data",
        recipe=recipe,
        manifest=manifest,
        command=f"{COMMAND} {folder}/recipe.yaml",
        steps=log.train[-1]["step"] if log.train else None,
        quarters=tabulate_quarters(log.train),
        charts_of={key: chart for key, chart in charts.items() if chart},
        missing=[metric for metric in METRICS if not charts[metric.key]],
        watched=curves.draw_watched(log, "score", "mean score"),
        milestones=[
            [name, *map(curves.write_milestone, curves.find_milestones(points))]
            for name, points in log.watch("score").items()
        ],
        cut_off=curves.draw_watched(log, "cut_off", "share cut off"),
        judges=curves.draw_judges(log),
        watched_sizes=describe_watched(manifest),
        is_cut_off_meant=expects_cut_off(recipe.domain),
        checks=list_checks(recipe, log.probe or {}),
        completions=read_completions(folder),
        seconds=sum(e.get("step_time", 0.0) for e in log.train) or None,
    )


def tabulate_quarters(train: Sequence[curves.LogEntry]) -> list[tuple[str, float, float]]:
    """Return the mean of every metric over the first and over the last quarter of the steps."""
    values = {metric.name: [value for _, value in curves.find_points(train, metric.key)] for metric in METRICS}
    return [(name, *curves.compare_quarters(series)) for name, series in values.items() if series]


def describe_watched(manifest: Mapping[str, Any]) -> str:
    """Say on how few examples a training watched its sets; "" if it watched none or does not say."""
    sets = {name: count for name, count in (manifest.get("examples") or {}).items() if name != "train"}
    return " and ".join(f"{write_count(count, 'example')} of {name}" for name, count in sets.items())


def list_checks(recipe: GrpoRecipe, probe: curves.LogEntry) -> list[list[object]]:
    """List the limits that stop the training before its first step: each with its name and the measured value."""
    limits = recipe.preflight
    keys = ("completions/clipped_ratio", "frac_reward_zero_std", "sampling/sampling_logp_difference/mean")
    cut_off, zero_spread, difference = (probe.get(f"eval_{key}") for key in keys)
    return [
        ["tokens in the longest prompt, at most", limits.prompt_tokens, None],
        ["share of completions cut off, at most", limits.max_cut_off, cut_off],
        ["share of groups with equal rewards, at most", limits.max_zero_spread, zero_spread],
        ["mean difference of log probabilities, vLLM and trainer, at most", limits.max_logp_difference, difference],
    ]


def read_completions(folder: Path) -> list[dict[str, Any]]:
    """Read the best and the worst completions of the last step; none if it kept none (trainer.log_completions)."""
    import pyarrow.parquet  # slow to import, needed here only

    files = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = pyarrow.parquet.read_table(files[-1]).to_pylist() if files else []
    rows.sort(key=lambda row: row.get("advantage") or 0.0, reverse=True)
    chosen = rows if len(rows) <= _MAX_COMPLETIONS else rows[: _MAX_COMPLETIONS // 2] + rows[-_MAX_COMPLETIONS // 2 :]
    return [
        {
            "step": row["step"],
            "prompt": str(row["prompt"])[-_MAX_CHARS:],
            "completion": str(row["completion"])[:_MAX_CHARS],
            "reward": row.get("score"),
            "advantage": row.get("advantage"),
        }
        for row in chosen
    ]
