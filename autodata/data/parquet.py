"""Converts an example to a typed row of a Hugging Face data set; no type is guessed from values."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodata.run.records import name_file_in_errors
from autodata.types import EXAMPLE, Example

if TYPE_CHECKING:
    from datasets import Features

# Values that differ in shape by domain are stored as JSON, mappings as lists of pairs, which Arrow can type.
PLAIN = ("id", "document_id", "document_source", "arm", "split", "candidate_hash", "round", "rounds", "accepted",
          "weak_scores", "strong_scores")  # fmt: skip
TEXTS = ("context", "question", "reference_answer", "rubric")


def declare() -> "Features":
    """Declare the columns and their types."""
    from datasets import Features, Value  # slow to import, needed here only

    text, count, number, flag = (Value(t) for t in ("string", "int64", "float64", "bool"))
    evidence = {
        "weak_met": [[flag]], "strong_met": [[flag]], "weak_outcomes": [text], "strong_outcomes": [text],
        "weak_planned": count, "strong_planned": count, "preset": text,
        "gates": [{"preset": text, "bounds": [{"name": text, "value": number}]}],
        "presets": [{"preset": text, "accepted": flag, "failure": text, "reason": text}],
        "review": text,
    }  # fmt: skip
    provenance = {
        "run": text, "recipe_hash": text, "prompts_hash": text, "licence": text,
        "weak_seeds": [count], "strong_seeds": [count],
        "models": [{"role": text, "model": text}], "tokens": [{"role": text, "tokens": count}],
    }  # fmt: skip
    return Features({
        **dict.fromkeys(("id", "document_id", "document_source", "arm", "split", "licence", *TEXTS[:3]), text),
        "rubric": [{"text": text, "weight": count, "capability": text}],
        "labels": text, "candidate_hash": text, "round": count, "rounds": count, "accepted": flag,
        "weak_scores": [number], "strong_scores": [number], "weak_cut_off": number, "strong_cut_off": number,
        "evidence": evidence, "provenance": provenance,
    })  # fmt: skip


def write_splits(folder: Path, examples: Sequence[Example]) -> list[str]:
    """Write each split of each arm to <arm>/<split>.parquet; return the names of the splits, as <arm>_<split>."""
    from datasets import Dataset, disable_progress_bars  # slow to import, needed here only

    disable_progress_bars()  # one line tells how far this command is
    splits: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for example in examples:
        splits.setdefault((example.arm, example.split), []).append(to_row(example))
    for (arm, split), rows in splits.items():
        file = folder / locate_split(arm, split)
        with name_file_in_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows, features=declare()).to_parquet(str(file))
    return [f"{arm}_{split}" for arm, split in sorted(splits, key=lambda key: (key[0], key[1] != "train"))]


def locate_split(arm: str, split: str) -> str:
    """Return the path of a split's file relative to the card."""
    return f"{arm}/{split}.parquet"


def to_row(example: Example) -> dict[str, Any]:
    """Convert an example to a row with the columns of `declare`."""
    record = EXAMPLE.dump_python(example, mode="json")
    candidate, evidence, provenance = record["candidate"], record["evidence"], record["provenance"]
    gates = [{"preset": name, "bounds": _list(gate, "name", "value")} for name, gate in evidence["gates"].items()]
    presets = [{"preset": name, **verdict} for name, verdict in evidence["presets"].items()]
    review = json.dumps(evidence["review"], ensure_ascii=False)
    models, tokens = _list(provenance["models"], "role", "model"), _list(provenance["tokens"], "role", "tokens")
    return {
        **{name: record[name] for name in PLAIN},
        **{name: candidate[name] for name in TEXTS},
        **dict(zip(("weak_cut_off", "strong_cut_off"), example.evidence.cut_off, strict=True)),
        "licence": provenance["licence"],
        "labels": json.dumps(candidate["labels"], ensure_ascii=False),
        "evidence": evidence | {"gates": gates, "presets": presets, "review": review},
        "provenance": provenance | {"models": models, "tokens": tokens},
    }


def _list(values: Mapping[str, Any], key: str, value: str) -> list[dict[str, Any]]:
    return [{key: k, value: v} for k, v in values.items()]
