"""Reads rows of a data set back, to compare them with the examples that were written."""

import json
from collections.abc import Mapping
from typing import Any

from autodata.data import parquet
from autodata.types import EXAMPLE, Example


def to_example(row: Mapping[str, Any]) -> Example:
    """Convert a row back to its example. Raises ValueError if the row is not one."""
    evidence, provenance = row["evidence"], row["provenance"]
    verdicts = {v["preset"]: {k: v[k] for k in ("accepted", "failure", "reason")} for v in evidence["presets"]}
    gates = {gate["preset"]: _key(gate["bounds"], "name", "value") for gate in evidence["gates"]}
    record = {
        **{name: row[name] for name in parquet.PLAIN},
        "candidate": {**{name: row[name] for name in parquet.TEXTS}, "labels": json.loads(row["labels"])},
        "evidence": {**evidence, "gates": gates, "presets": verdicts, "review": json.loads(evidence["review"])},
        "provenance": {
            **provenance,
            "models": _key(provenance["models"], "role", "model"),
            "tokens": _key(provenance["tokens"], "role", "tokens"),
        },
    }
    return EXAMPLE.validate_python(record)


def _key(pairs: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
    return {pair[key]: pair[value] for pair in pairs}
