"""Writes the card (README.md) of a dataset from the manifest of its run and nothing else."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from autodata.data.parquet import locate_split
from autodata.data.statistics import METRICS, write_metric
from autodata.fidelity import read_departures
from autodata.stats.writing import DASH, write_table

_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")
_JUDGED_BY_MODEL = "A language model gave the scores, not a human."
_LIMITS = (
    "Questions, reference answers and rubrics are written by language models and judged by one: expect errors, and "
    "biases of these models.",
    _JUDGED_BY_MODEL,
    "The search for overlap with benchmarks compares words, so it does not find a paraphrase.",
    "References to the source are found by text patterns, so unusual ones remain.",
    "Documents can contain names of persons; these names are not removed.",
)
# Every card ends with this. It names the paper's first four authors of fifteen; CITATION.cff says the same.
CITATION = """Please cite the paper, and this implementation by its `CITATION.cff`.

```bibtex
@article{autodata2026,
  title = {Autodata: An agentic data scientist to create high quality synthetic data},
  author = {Kulikov and Whitehouse and Wu and Nie and others},
  journal = {arXiv:2606.25996},
  year = {2026}
}
```"""


def write_card(manifest: Mapping[str, Any]) -> str:
    """Write README.md of a dataset, with one configuration per arm."""
    facts = manifest["card"]
    files: dict[str, list[dict[str, str]]] = {}  # arm → its files, relative to the card
    for arm, _, side in (name.rpartition("_") for name in facts["splits"]):
        files.setdefault(arm, []).append({"split": side, "path": locate_split(arm, side)})
    return _join(
        [*_head(manifest), *_sections(manifest)],
        license=order_licences(facts["licence_counts"]) or ["unknown"],
        tags=["synthetic", "autodata"],
        task_categories=["text-generation"],
        pretty_name="Autodata: " + ", ".join(sorted(facts["arms"])),
        configs=[{"config_name": arm, "data_files": arm_files} for arm, arm_files in files.items()],
    )


def write_logs_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of an evaluation's answers and logs."""
    label = escape(manifest.get("label") or "a model")
    body = [
        f"# Evaluation of {label}",
        f"Made {escape(manifest['started'])} with commit {escape(manifest.get('git_commit') or 'unknown')} by "
        "`python -m autodata.eval.run` with the settings in `recipe.yaml`. `answers.jsonl` has one line for each "
        "answer, `results.json` and `prbench.json` have the scores with their intervals, and `logs` has every prompt, "
        "answer and grade: `inspect view --log-dir logs` shows them.",
        "## Limits",
        f"- {_JUDGED_BY_MODEL}\n- The logs contain the questions: they cannot test a model that was trained on them.",
        "## Citation",
        CITATION,
    ]
    configs = [{"config_name": "answers", "data_files": "answers.jsonl"}]
    return _join(body, tags=["autodata", "evaluation"], pretty_name=f"Evaluation of {label}", configs=configs)


def _join(parts: Sequence[str], **header: object) -> str:
    """Join the parts of a card under the YAML header that the Hub reads."""
    from huggingface_hub import DatasetCardData  # slow to import, needed here only

    return "\n\n".join([f"---\n{DatasetCardData(**header).to_yaml()}\n---", *parts]) + "\n"


def escape(value: object) -> str:
    """Write a value as text in which neither HTML nor Markdown has a special meaning."""
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(str(value).split()), quote=False))


def _head(manifest: Mapping[str, Any]) -> list[str]:
    arms = ", ".join(f"`{arm}`" for arm in sorted(manifest["card"]["arms"]))
    return [
        "# Data made by Autodata",
        f"Language models wrote these tasks from documents; there is one data set per arm: {arms}. Every row has its "
        "candidate, the score of each attempt of both solvers, the thresholds, the verdicts and its provenance; "
        "`python -m autodata.verify` recomputes the scores and verdicts.",
        "`provenance.tokens` counts the tokens of the whole trajectory. Several rows of one document and arm come "
        "from the same trajectory and repeat its tokens, so do not add them up.",
        f"Made {escape(manifest['started'])} with commit {escape(manifest.get('git_commit') or 'unknown')}.",
    ]


def _sections(manifest: Mapping[str, Any]) -> list[str]:
    facts, arms = manifest["card"], sorted(manifest["card"]["arms"])
    departures = read_departures(sorted(set(manifest["domains"].values())))
    models = {arm: facts["arms"][arm]["models"] for arm in arms}
    costs = {arm: facts["arms"][arm].get("cost", {}) for arm in arms}  # not in data sets of earlier versions
    shown = [m for m in METRICS if any(manifest["statistics"][arm].get(m) is not None for arm in arms)]
    return [
        "## How many were made and kept",
        _by_arm("remaining after", facts["stages"], manifest["funnel"], {}),
        "## Statistics",
        _by_arm("metric", shown, manifest["statistics"], facts["intervals"]),
        "Brackets hold the 95 % interval of the mean over documents; n is the number of documents.",
        "## Models",
        _by_arm("role", sorted(set().union(*models.values())), models, {}),
        "## What it cost",
        "The calls of each arm's run, over all its sessions, in US dollars. A dash means that a price is not known; "
        "replies that were taken from another run cost nothing.",
        _by_arm("role", sorted(set().union(*costs.values())), costs, {}),
        "## Sources and licences",
        "The header names the licences of the documents as the Hub spells them, strictest first. The table names "
        "them as the sources state them.",
        write_table([["licence of the documents", "examples"], *facts["licence_counts"].items()], escape),
        "## Recipe",
        *_describe_recipe(facts),
        "## Decontamination",
        _describe(facts["decontamination"]),
        "## Fidelity to the paper",
        "The list names the rules on which the paper is silent or contradicts itself, and those that these data do "
        "not follow.",
        "\n".join(f"- {escape(d.rule)} ({escape(d.paper)}): {escape(d.ours)}" for d in departures),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _LIMITS),
        "## Citation",
        CITATION,
    ]


def _describe_recipe(facts: Mapping[str, Any]) -> list[str]:
    """Show the dataset's own recipe in full, and the arms' recipes by hash: those lie beside their trajectories."""
    values = yaml.safe_dump(facts["recipe"], sort_keys=True, allow_unicode=True).replace("`", "'")
    arms = [[arm, facts_of_arm["recipe_hash"] or DASH] for arm, facts_of_arm in sorted(facts["arms"].items())]
    return [
        f"The recipe of this data set has the hash `{facts['recipe_hash']}`:",
        f"```yaml\n{values}```",
        "The arms have recipes of their own:",
        write_table([["arm", "hash of recipe and inputs"], *arms], escape),
    ]


def _by_arm(
    heading: str,
    rows: Sequence[str],
    columns: Mapping[str, Mapping[str, Any]],
    intervals: Mapping[str, Mapping[str, Sequence[Any]]],
) -> str:
    arms = sorted(columns)
    cells = [[row, *(write_metric(columns[a].get(row), intervals.get(a, {}).get(row)) for a in arms)] for row in rows]
    return write_table([[heading, *arms], *cells], escape)


def _describe(facts: Mapping[str, Any]) -> str:
    files = ", ".join(escape(name) for name in facts["files"])
    benchmarks = (
        f"No example shares {facts['ngram']} consecutive normalised words with {files}"
        if files
        else "The recipe names no benchmark file, so the examples were not compared with any benchmark"
    )
    removed = "1 example was" if facts["removed"] == 1 else f"{facts['removed']:,} examples were"
    unchecked = "; ".join(f"{count:,} {kind}" for kind, count in facts.get("not_checked", {}).items() if count)
    return (
        f"{benchmarks}. No training example shares {facts['ngram']} consecutive words with a held-out example of any "
        f"arm. {removed} removed for such overlap; `decontamination.json` of the run lists each of them."
        + (f" Texts of the benchmarks that could not be searched for everywhere: {unchecked}." if unchecked else "")
    )


UNKNOWN = "unknown"
_PUBLIC = "other"  # the Hub has no name for the public domain
# Strictest first: nothing allowed, no commercial use, no changes, share alike, name the source, no conditions.
_ORDER = (
    UNKNOWN,
    *("cc-by-nc-nd", "cc-by-nc-sa", "cc-by-nc", "cc-by-nd"),
    *("agpl-3.0", "gpl-3.0", "gpl-2.0", "lgpl-3.0", "cc-by-sa", "odbl", "mpl-2.0"),
    *("cc-by", "odc-by", "apache-2.0", "bsd-3-clause", "bsd-2-clause", "mit", "isc"),
    *("unlicense", "pddl", "cc0-1.0", _PUBLIC),
)
_CC = re.compile(r"cc-?by-?(nc)?-?(nd|sa)?(?:-?([1-4]\.[05]))?")
_ALIASES = {"cc0": "cc0-1.0", "public-domain": _PUBLIC, "publicdomain": _PUBLIC, "apache2": "apache-2.0",
            "odcby": "odc-by", "public": _PUBLIC}  # fmt: skip


def is_known(stated: str) -> bool:
    return UNKNOWN not in order_licences([stated])


def order_licences(stated: Iterable[str]) -> list[str]:
    """Return the Hub's names, strictest first, of all licences that sources state, separated by `;`."""
    licences = {_read(part) for text in stated for part in text.split(";")}
    names = sorted(licences, key=lambda pair: (_ORDER.index(pair[1]), pair[0]))
    return list(dict.fromkeys(name for name, _ in names))


def _read(stated: str) -> tuple[str, str]:
    """Return the Hub's name of one licence, and its family, which says how strict it is."""
    text = re.sub(r"[\s_]+", "-", stated.strip().casefold())
    if match := _CC.fullmatch(text):
        family = "-".join(("cc-by", *(part for part in match.groups()[:2] if part)))
        return (f"{family}-{match[3]}" if match[3] else "cc"), family  # without a version the Hub knows only `cc`
    text = _ALIASES.get(text, text)
    return (text, text) if text in _ORDER[1:] else (UNKNOWN, UNKNOWN)
