"""Make a dataset from trajectories: filtered, deduplicated, decontaminated, split by document, with a card.

python -m autodata.dataset recipes/demo/dataset.yaml [key=value …]
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autodata import command
from autodata.config import RecipeError, load, semantic_hash, semantic_values
from autodata.corpora.text import benchmarks as benchmark_files
from autodata.data import card, decontamination, duplicates, filters, parquet
from autodata.data.decontamination import Match
from autodata.data.examples import DECONTAMINATION, EXAMPLES, STATISTICS, Arm, find_licence, make_example, read_arm
from autodata.data.statistics import measure_intervals, summarize
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import Run, output_hash, read_manifest
from autodata.run.progress import Progress, read_earlier
from autodata.run.records import TRAJECTORIES, RunError, hash_path
from autodata.serving.costs import tell_usd
from autodata.stats.writing import write_number
from autodata.types import EXAMPLE, Example, Round, Trajectory

CARD = "huggingface/README.md"


@dataclass
class Dataset:
    """The examples at the current stage, and how many of each arm remained after each earlier stage."""

    domains: dict[str, str]  # arm → the domain it was made for
    examples: list[Example] = field(default_factory=list)
    funnel: dict[str, dict[str, int]] = field(default_factory=dict)  # arm → stage → how many remain
    matches: list[Match] = field(default_factory=list)
    unchecked: dict[str, int] = field(
        default_factory=dict
    )  # texts of benchmarks that cannot be searched for everywhere

    def drop(self, stage: str, ids: Iterable[str] = ()) -> None:
        """Drop the examples with these ids and count the remaining ones."""
        unwanted = set(ids)
        self.examples = [e for e in self.examples if e.id not in unwanted]
        for arm in self.domains:
            self.funnel[arm][stage] = sum(e.arm == arm for e in self.examples)

    def drop_matches(self, stage: str, matches: Sequence[Match]) -> None:
        self.matches += matches
        self.drop(stage, [m.example_id for m in matches])

    def side(self, split: str) -> list[Example]:
        return [e for e in self.examples if e.split == split]


def build(recipe: DatasetRecipe, benchmarks: Sequence[Path]) -> Dataset:
    """Make the examples of all arms, stage by stage. Raises RunError, RecipeError."""
    texts = benchmark_files.read_texts(benchmarks)
    arms = [read_arm(name, folder) for name, folder in sorted(recipe.arms.items())]
    built = Dataset({arm.name: arm.domain.name for arm in arms})
    built.unchecked = decontamination.count_unchecked(texts)
    for arm in arms:
        examples, built.funnel[arm.name] = sift(arm, recipe)
        built.examples += examples
    built.drop_matches("no benchmark overlap", decontamination.find_matches(built.examples, texts))
    split_and_deduplicate(built, recipe)
    held_out = decontamination.gather_texts(built.side("test"))
    built.drop_matches("no held-out overlap", decontamination.find_matches(built.side("train"), held_out))
    if recipe.equal_sizes:
        built.drop("equal sizes", choose_surplus(built, recipe.seed))
    for side in ("train", "test"):
        for arm in built.domains:
            built.funnel[arm][side] = sum(e.arm == arm for e in built.side(side))
    return built


def sift(arm: Arm, recipe: DatasetRecipe) -> tuple[list[Example], dict[str, int]]:
    """Make the examples of one arm that pass the final filter; also return how many remain after each stage."""
    limits, dropped, examples = arm.limits(recipe.filters), Counter[str](), []
    for trajectory, round in arm.list_chosen():
        if stage := filters.find_stage(round, *limits, arm.domain.source_words):
            dropped[stage] += 1
        else:
            examples.append(_make_example(arm, trajectory, round, recipe))
    remaining = len(examples) + dropped.total()
    funnel = {"trajectories": len(arm.trajectories), "accepted or measured": remaining}
    for stage in filters.STAGES:
        remaining -= dropped[stage]
        funnel[stage] = remaining
    return examples, funnel


def _make_example(arm: Arm, trajectory: Trajectory, round: Round, recipe: DatasetRecipe) -> Example:
    try:
        return make_example(arm, trajectory, round, find_licence(trajectory, recipe.sources))
    except ValueError as error:  # what no rubric allows was written by another program, or by hand
        place = f"{Path(arm.folder) / TRAJECTORIES}: document {trajectory.document_id}, round {round.number}"
        raise RunError(f"{place}: not a valid record ({error})") from error


def split_and_deduplicate(built: Dataset, recipe: DatasetRecipe) -> None:
    """Split by document with near-duplicates on the same side, and keep one near-duplicate per arm."""
    by_id = {e.id: e for e in reversed(built.examples)}
    pairs = duplicates.find_pairs({k: e.candidate.question for k, e in by_id.items()}, recipe.filters.near_duplicate)
    tied = [(by_id[first_id].document_id, by_id[second_id].document_id) for first_id, second_id in pairs]
    tied += [(by_id[e.id].document_id, e.document_id) for e in built.examples]
    owner: dict[str, str] = {}  # source text → document; in science one arm joins several texts, the other joins none
    for e in built.examples:
        tied += [(owner.setdefault(part, e.document_id), e.document_id) for part in e.document_source.split("; ")]
    clusters = duplicates.find_clusters((e.document_id for e in built.examples), tied)
    test = choose_test_documents(clusters, recipe.test_fraction, recipe.seed)
    built.examples = [replace(e, split="test" if e.document_id in test else "train") for e in by_id.values()]
    built.examples.sort(key=lambda e: (e.arm, e.document_id, e.round, e.id))
    built.drop("no equal candidate")
    within = [(first_id, second_id) for first_id, second_id in pairs if by_id[first_id].arm == by_id[second_id].arm]
    built.drop("no near-duplicate", duplicates.choose_repeats(within))
    by_document = groupby(built.examples, key=lambda e: (e.arm, e.document_id))  # they are sorted by it
    surplus = [e.id for _, group in by_document for e in islice(group, recipe.filters.per_document, None)]
    built.drop("per document", surplus)


def choose_test_documents(clusters: Iterable[Sequence[str]], fraction: float, seed: int) -> frozenset[str]:
    """Draw a fixed share of the documents, once for all arms, in whole clusters: no cluster is on both sides."""
    ordered = sorted(clusters, key=lambda c: hashlib.sha256(f"{seed} {min(c)}".encode()).digest())
    wanted = round(sum(map(len, ordered)) * fraction)
    chosen: set[str] = set()
    for cluster in ordered:
        if len(chosen) + len(cluster) <= wanted:
            chosen.update(cluster)
    return frozenset(chosen)


def choose_surplus(built: Dataset, seed: int) -> list[str]:
    """Draw at random the examples that larger arms must drop to match the smallest; the paper does so (Sec. 3.1)."""
    surplus = []
    for side in ("train", "test"):
        ids = {arm: [e.id for e in built.side(side) if e.arm == arm] for arm in built.domains}
        smallest = min(map(len, ids.values()), default=0)
        for arm_ids in ids.values():
            surplus += sorted(arm_ids, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())[smallest:]
    return surplus


def save(run: Run, built: Dataset, recipe: DatasetRecipe, benchmarks: Sequence[Path]) -> None:
    """Write the examples (also as Hugging Face data sets with a card), the statistics and the reports."""
    run.write(EXAMPLES, "".join(EXAMPLE.dump_json(e).decode() + "\n" for e in built.examples))
    by_arm = {arm: [e for e in built.examples if e.arm == arm] for arm in built.domains}
    statistics = {arm: summarize(examples) for arm, examples in by_arm.items()}
    run.write(STATISTICS, json.dumps(statistics, indent=2) + "\n")
    report = {
        "ngram": benchmark_files.NGRAM,
        "files": {str(f): hash_path(f) for f in benchmarks},
        "removed": [asdict(m) for m in built.matches],
        "not_checked": built.unchecked,
    }
    run.write(DECONTAMINATION, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    facts = _gather_facts(built, recipe, benchmarks) | {
        "splits": parquet.write_splits(run.path(CARD).parent, built.examples),
        "intervals": {arm: measure_intervals(examples) for arm, examples in by_arm.items()},
    }
    run.note(statistics=statistics, funnel=built.funnel, card=facts, domains=built.domains)
    run.write(CARD, card.write_card(read_manifest(run.folder) or {}))
    run.finish([EXAMPLES, STATISTICS, DECONTAMINATION, CARD])
    _show("remaining after", built.funnel)
    _show("metric", statistics)


def _gather_facts(built: Dataset, recipe: DatasetRecipe, benchmarks: Sequence[Path]) -> dict[str, object]:
    """Gather the facts of the card that are not statistics."""
    origins = {e.arm: {"models": e.provenance.models, "recipe_hash": e.provenance.recipe_hash} for e in built.examples}
    costs = {arm: tell_usd(read_earlier(Path(folder))[0]) for arm, folder in recipe.arms.items()}
    return {
        "arms": {a: origins.get(a, {"models": {}, "recipe_hash": ""}) | {"cost": costs[a]} for a in built.domains},
        "licence_counts": dict(sorted(Counter(e.provenance.licence for e in built.examples).items())),
        "stages": list(next(iter(built.funnel.values()), {})),  # kept in a list because the manifest sorts its keys
        "recipe": semantic_values(recipe),
        "recipe_hash": semantic_hash(recipe),
        "decontamination": {
            "ngram": benchmark_files.NGRAM,
            "files": [f.name for f in benchmarks],
            "removed": len(built.matches),
            "not_checked": built.unchecked,
        },
    }


def _show(heading: str, columns: Mapping[str, Mapping[str, float | None]]) -> None:
    """Print a table with one column per arm; a row without any number is left out."""
    table = Table(heading, *columns)
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        values = [column.get(name) for column in columns.values()]
        if any(v is not None for v in values):
            table.add_row(name, *map(write_number, values))
    Console().print(table)


def _check(recipe: DatasetRecipe) -> None:
    """Raise RecipeError for a wrong value that the schema cannot catch."""
    if not 0 < recipe.filters.near_duplicate <= 1:
        raise RecipeError(f"filters.near_duplicate={recipe.filters.near_duplicate}: must be above 0 and at most 1")
    if not 0 <= recipe.test_fraction <= 1:
        raise RecipeError(f"test_fraction={recipe.test_fraction}: must be at least 0 and at most 1")


@command.report_errors()
def main() -> None:
    recipe = load(DatasetRecipe, command.read_recipe(__doc__))
    _check(recipe)
    benchmarks = benchmark_files.find_files(recipe.decontaminate)
    input_hashes = {f"arm {arm}": output_hash(folder, COMMANDS[GenerateRecipe]) for arm, folder in recipe.arms.items()}
    input_hashes |= {f"benchmark {file.name} {i}": hash_path(file) for i, file in enumerate(benchmarks)}
    with Run(recipe.run, "dataset", recipe, input_hashes) as run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        run.start()
        if left_out := benchmark_files.count_left_out(recipe.decontaminate):
            print(benchmark_files.describe_left_out(left_out))
        with Progress(run, "examples") as progress:
            progress.begin()
            built = build(recipe, benchmarks)
            progress.done = progress.total = len(built.examples)
            save(run, built, recipe, benchmarks)


if __name__ == "__main__":
    main()
