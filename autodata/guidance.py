"""What earlier questions covered, in a few words for the next challengers. Ours, not the paper's."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autodata.domains.role_words import speaks_of_solvers
from autodata.prompts import CONTROL
from autodata.store import RunError

MIN_DOCUMENTS = 3  # that a word must come from: what one document says is never passed on
_TOPICS, _TERMS, _TYPES = 5, 4, 6
_MAX_CHARS = 1_200
_TERM = re.compile(r"[^\W\d_]{4,30}")
_TYPE = re.compile(r"[^\W\d_]{2,20}(?:[ -][^\W\d_]{2,20}){0,2}")
_CROWDED, _SPARSE, _LAGGING = 1.5, 0.5, 0.75  # of an even share, and of the share of documents
_OFTEN = 0.5


def compose(report: Mapping[str, Any]) -> str:
    """The text, from counts and single words alone; empty where there is nothing to say. Raises RunError."""
    topics = [t for t in report["topics"] if _name(t)]
    groups = {
        "Already well covered": [t for t in topics if is_crowded(t, report)],
        "Under-represented": [t for t in topics if is_sparse(t, report)],
        "Often too easy": [t for t in topics if _is_often_too_easy(t)],
    }
    lines = [f"{what}: {'; '.join(map(_name, of[:_TOPICS]))}." for what, of in groups.items() if of]
    types = [t["name"] for t in report["types"] if t["documents"] >= MIN_DOCUMENTS and _TYPE.fullmatch(t["name"])]
    if types:
        lines.append(f"Kinds of question seen most: {', '.join(types[:_TYPES])}.")
    text = "\n".join(lines)
    if speaks_of_solvers(text) or CONTROL.search(text) or len(text) > _MAX_CHARS:
        raise RunError("the guidance speaks of solvers or is too long; it is not passed on")
    return text


def read(path: str) -> str:
    """The guidance of a coverage.json, composed anew from its counts and words. Raises RunError."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        return compose(report)
    except FileNotFoundError:
        raise RunError(f"guidance={path}: no such file; make it with python -m autodata.coverage RUN") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"guidance={path}: no report of autodata.coverage ({type(error).__name__}: {error})") from error


def is_crowded(topic: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    return _share(topic, report, "accepted") >= _CROWDED / len(report["topics"])


def is_sparse(topic: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """Little of what is accepted: beside the other topics, or beside the documents that it has."""
    accepted = _share(topic, report, "accepted")
    lags = accepted <= _LAGGING * _share(topic, report, "documents")
    return not is_crowded(topic, report) and (accepted <= _SPARSE / len(report["topics"]) or lags)


def _is_often_too_easy(topic: Mapping[str, Any]) -> bool:
    return topic["failures"].get("too_easy", 0) >= max(MIN_DOCUMENTS, _OFTEN * topic["candidates"])


def _share(topic: Mapping[str, Any], report: Mapping[str, Any], what: str) -> float:
    total = sum(int(t[what]) for t in report["topics"])
    return int(topic[what]) / total if total else 0.0


def _name(topic: Mapping[str, Any]) -> str:
    terms: Sequence[str] = [t for t in topic["terms"] if _TERM.fullmatch(t)]
    return ", ".join(terms[:_TERMS])
