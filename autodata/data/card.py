"""Writes the card (README.md) of a dataset from the manifest of its run and nothing else."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from autodata.data.parquet import locate_split
from autodata.data.statistics import write_metric
from autodata.fidelity import Departure, read_departures
from autodata.stats.writing import DASH, write_table

_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")
_LIMITS = (
    "Questions, reference answers and rubrics are written by language models and judged by one: expect errors, and "
    "biases of these models.",
    "A score is what a language model judged an answer to earn; it is no human's grade.",
    "Overlap with benchmarks is looked for word by word: a paraphrase is not found.",
    "Source references are found by pattern, not by understanding.",
    "Documents can contain names of persons; none is removed.",
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


def write_card(manifest: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """Write README.md with the YAML header that the Hub reads."""
    from huggingface_hub import DatasetCard, DatasetCardData  # slow to import, needed here only

    facts = manifest["card"]
    data = DatasetCardData(
        license=order_licences(facts["licence_counts"]) or ["unknown"],
        tags=["synthetic", "autodata"],
        task_categories=["text-generation"],
        pretty_name="Autodata: " + ", ".join(sorted(facts["arms"])),
        configs=_configs(facts["splits"]),
    )
    body = "\n\n".join([*_head(manifest), *_sections(manifest, metrics)])
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))


def write_logs_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of an evaluation's answers and logs."""
    from huggingface_hub import DatasetCard, DatasetCardData  # slow to import, needed here only

    label = escape(manifest.get("label") or "a model")
    data = DatasetCardData(
        tags=["autodata", "evaluation"],
        pretty_name=f"Evaluation of {label}",
        configs=[{"config_name": "answers", "data_files": "answers.jsonl"}],
    )
    body = [
        f"# Evaluation of {label}",
        f"Made {escape(manifest['started'])} with commit {escape(manifest.get('git_commit') or 'unknown')} by "
        "`python -m eval.run`; `recipe.yaml` is what it was asked. `answers.jsonl` has one line for each answer, "
        "`results.json` and `prbench.json` the scores with their intervals, and `logs` every prompt, answer and "
        "grade: `inspect view --log-dir logs` shows them.",
        "## Limits",
        "- A score is what a language model judged an answer to earn; it is no human's grade.\n"
        "- The logs hold the questions: who trains on them is no longer tested by them.",
        "## Citation",
        CITATION,
    ]
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n"))


def escape(value: object) -> str:
    """Write a value as text in which neither HTML nor Markdown has a special meaning."""
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(str(value).split()), quote=False))


def _configs(splits: Sequence[str]) -> list[dict[str, Any]]:
    """List one configuration per arm, with the files of its splits relative to the card."""
    arms = sorted({name.rpartition("_")[0] for name in splits})
    return [
        {
            "config_name": arm,
            "data_files": [
                {"split": side, "path": locate_split(arm, side)}
                for side in ("train", "test")
                if f"{arm}_{side}" in splits
            ],
        }
        for arm in arms
    ]


def _head(manifest: Mapping[str, Any]) -> list[str]:
    arms = ", ".join(f"`{arm}`" for arm in sorted(manifest["card"]["arms"]))
    return [
        "# Data made by Autodata",
        f"Tasks written from documents by language models, one data set per arm: {arms}. Every row carries its "
        "candidate, what each attempt of both solvers earned, the thresholds and the verdicts, and where it comes "
        "from; `python -m autodata.verify` recomputes them.",
        f"Made {escape(manifest['started'])} with commit {escape(manifest.get('git_commit') or 'unknown')}.",
    ]


def _sections(manifest: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    facts = manifest["card"]
    arms = sorted(facts["arms"])
    shown = [m for m in metrics if any(manifest["statistics"][arm].get(m) is not None for arm in arms)]
    return [
        "## How many were made and kept",
        _by_arm("left after", facts["stages"], manifest["funnel"]),
        "## Statistics",
        _by_arm("metric", shown, manifest["statistics"], facts["intervals"]),
        "In brackets: 95 % interval of the mean over documents; n is how many documents that are.",
        "## Models",
        write_table([["role", *arms], *_by_role({arm: facts["arms"][arm]["models"] for arm in arms})], escape),
        "## Sources and licences",
        "The header names the licences of the documents as the Hub spells them, strictest first. As the sources "
        "state them:",
        write_table([["licence of the documents", "examples"], *facts["licence_counts"].items()], escape),
        "## Recipe",
        *_describe_recipe(facts),
        "## Decontamination",
        _describe(facts["decontamination"]),
        "## Fidelity to the paper",
        "Where the paper is silent or contradicts itself, or the data were made otherwise:",
        _list_departures(read_departures(sorted(set(manifest["domains"].values())))),
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
        f"Of this data set, hash `{facts['recipe_hash']}`:",
        f"```yaml\n{values}```",
        "Of the arms:",
        write_table([["arm", "hash of recipe and inputs"], *arms], escape),
    ]


def _list_departures(departures: Sequence[Departure]) -> str:
    return "\n".join(f"- {escape(d.rule)} ({escape(d.paper)}): {escape(d.ours)}" for d in departures)


def _by_arm(
    what: str,
    rows: Sequence[str],
    columns: Mapping[str, Mapping[str, float | None]],
    intervals: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
) -> str:
    by_arm = intervals or {}
    arms = sorted(columns)
    cells = [[row, *(write_metric(columns[a].get(row), by_arm.get(a, {}).get(row)) for a in arms)] for row in rows]
    return write_table([[what, *arms], *cells], escape)


def _by_role(models: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    roles = sorted({role for served in models.values() for role in served})
    return [[role, *(served.get(role, DASH) for served in models.values())] for role in roles]


def _describe(facts: Mapping[str, Any]) -> str:
    files = ", ".join(escape(name) for name in facts["files"])
    benchmarks = (
        f"no example shares a run of {facts['ngram']} normalised words with {files}"
        if files
        else f"no file was named to look for runs of {facts['ngram']} words in"
    )
    return (
        f"Against benchmarks: {benchmarks}. Between the parts: no training example shares such a run with a "
        f"held-out example of any arm. {facts['removed']} examples were removed for it, each listed in "
        "`decontamination.json` of the run."
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
_OWN_WORDS = {"cc0": "cc0-1.0", "public-domain": _PUBLIC, "publicdomain": _PUBLIC, "apache2": "apache-2.0",
              "odcby": "odc-by", "public": _PUBLIC}  # fmt: skip


def name_licences(stated: str) -> list[str]:
    """Translate the licences that a source states, separated by `;`, to the Hub's names; others become `unknown`."""
    return [_read(part)[0] for part in stated.split(";")]


def is_known(stated: str) -> bool:
    return UNKNOWN not in name_licences(stated)


def order_licences(stated: Iterable[str]) -> list[str]:
    """Return the Hub's names of all licences that occur, strictest first."""
    licences = {_read(part) for text in stated for part in text.split(";")}
    names = sorted(licences, key=lambda pair: (_ORDER.index(pair[1]), pair[0]))
    return list(dict.fromkeys(name for name, _ in names))


def _read(stated: str) -> tuple[str, str]:
    """Return the Hub's name of one licence, and its family, which says how strict it is."""
    text = re.sub(r"[\s_]+", "-", stated.strip().casefold())
    if match := _CC.fullmatch(text):
        family = "-".join(("cc-by", *(part for part in match.groups()[:2] if part)))
        return (f"{family}-{match[3]}" if match[3] else "cc"), family  # without a version the Hub knows only `cc`
    text = _OWN_WORDS.get(text, text)
    return (text, text) if text in _ORDER[1:] else (UNKNOWN, UNKNOWN)
