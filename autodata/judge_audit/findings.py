"""What an audit of a judge found: its numbers, a table of them, and the page for a reader."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autodata.stats.agreement import Ratings, compare_judges, compare_repeats, mean_difference
from autodata.stats.intervals import Estimate
from autodata.stats.writing import write_estimate, write_share, write_table
from autodata.types import Attempt, Candidate, Judgement, Role

MAX_LISTED = 10  # attempts, where verdicts differ most
SIGNS = ("all", "positive", "negative")  # criteria by their weight
_NOTES = """\
- *Unreadable first asks* are replies that held no complete set of verdicts and were asked for again; *lost* judgements
  were still unreadable after all retries. Neither counts as a disagreement: a lost verdict is left out of every
  comparison that needs it (column *left out*).
- *Same verdict* is the share of pairs of verdicts on one criterion that are equal. It is high by chance alone where
  nearly all criteria are met, or nearly none; alpha (Krippendorff, nominal) and kappa (Cohen) are 1 for full agreement
  and 0 for what chance would give.
- *Compared* counts criteria where a judge is repeated; between two judges it counts each repeat of a criterion, the
  first of one judge against the first of the other, and so on.
- Negative criteria name mistakes: *met* costs points there.
- Brackets hold 95 % intervals over whole documents, n says how many documents that are.
- A judge of temperature 0 repeats itself whatever its verdicts are worth; only a second judge tells more.
"""


@dataclass(frozen=True)
class Judged:
    """An attempt of the audited run, and where it stands."""

    document_id: str
    round: int
    solver: Role
    candidate: Candidate
    attempt: Attempt


@dataclass(frozen=True)
class Opinions:
    """What one judge said: per attempt, one judgement for each repeat."""

    name: str  # "judge" or "second judge"
    model: str
    temperature: float
    first_asks: int
    unreadable: int  # of the first asks
    judgements: tuple[tuple[Judgement, ...], ...]


JudgedGroup = tuple[Judged, Sequence[Judgement]]


def measure(chosen: Sequence[Judged], judges: Sequence[Opinions]) -> dict[str, Any]:
    """Every number of the audit."""
    comparisons, differences = {}, {}
    for judge in judges:
        repeated = list(zip(chosen, judge.judgements, strict=True))
        comparisons[f"{judge.name}, repeated"] = [compare_repeats(_rate(repeated, sign)) for sign in SIGNS]
    for judge in judges:
        stored = [(tried, (tried.attempt.judgement, new))
                  for tried, said in zip(chosen, judge.judgements, strict=True) for new in said]  # fmt: skip
        comparisons[f"stored verdicts and {judge.name}"] = [compare_judges(_rate(stored, sign)) for sign in SIGNS]
        differences[f"{judge.name} − stored"] = _compare_scores(stored)
    if len(judges) > 1:
        pairs = _pair(chosen, *judges)
        comparisons[f"{judges[0].name} and {judges[1].name}"] = [compare_judges(_rate(pairs, sign)) for sign in SIGNS]
        differences[f"{judges[1].name} − {judges[0].name}"] = _compare_scores(pairs)
    return {
        "attempts": len(chosen),
        "documents": len({tried.document_id for tried in chosen}),
        "criteria": sum(len(tried.candidate.rubric) for tried in chosen),
        "judges": {judge.name: _measure_loss(judge) for judge in judges},
        "agreement": {name: dict(zip(SIGNS, map(asdict, found), strict=True)) for name, found in comparisons.items()},
        "score_difference": {name: asdict(found) for name, found in differences.items()},
        "disagreements": find_disagreements(chosen, judges),
    }


def find_disagreements(chosen: Sequence[Judged], judges: Sequence[Opinions]) -> list[dict[str, Any]]:
    """The attempts on which verdicts, stored ones included, differ most, and on which criteria."""
    found = []
    for at, tried in enumerate(chosen):
        votes = {"stored": (tried.attempt.judgement,), **{judge.name: judge.judgements[at] for judge in judges}}
        criteria = [_count_votes(tried, number, votes) for number in range(1, len(tried.candidate.rubric) + 1)]
        split = sorted((c for c in criteria if c["split"]), key=lambda c: -c["split"])
        if split:
            found.append({"document_id": tried.document_id, "round": tried.round, "solver": str(tried.solver),
                          "attempt": tried.attempt.index, "split": sum(c["split"] for c in split),
                          "criteria": split})  # fmt: skip
    return sorted(found, key=lambda attempt: -attempt["split"])[:MAX_LISTED]


def list_losses(results: dict[str, Any]) -> list[list[str]]:
    """Verdict loss, a row per judge below the head."""
    head = ["judge", "model", "temperature", "unreadable first asks", "lost judgements", "criteria met"]
    rows = [[name, found["model"], f"{found['temperature']:g}",
             *(write_share(*found[key]) for key in ("unreadable", "lost", "met"))]
            for name, found in results["judges"].items()]  # fmt: skip
    return [head, *rows]


def list_agreement(results: dict[str, Any]) -> list[list[str]]:
    """Agreement, a row per comparison and sign of weight below the head."""
    head = ["verdicts of", "criteria", "compared", "left out", "same verdict", "alpha", "kappa"]
    rows = [
        [name, sign, str(found["compared"]), str(found["left_out"]),
         *(write_estimate(found[key]) for key in ("share", "alpha", "kappa"))]
        for name, signs in results["agreement"].items() for sign, found in signs.items()
    ]  # fmt: skip
    return [head, *rows]


def list_differences(results: dict[str, Any]) -> list[list[str]]:
    """Mean differences of scores, a row each below the head."""
    return [["scores", "mean difference"], *([n, write_estimate(f)] for n, f in results["score_difference"].items())]


def to_markdown(results: dict[str, Any]) -> str:
    """The page that a person reads."""
    listed = _list_disagreements(results["disagreements"])
    parts = [
        f"# Audit of the judge of {results['generation']}",
        f"{results['attempts']} attempts of {results['documents']} documents, {results['criteria']} criteria in all; "
        f"judged {results['repeats']} times each, in domain {results['domain']}. The stored verdicts are those of "
        f"{results['stored_judge']}.",
        "## What was lost",
        write_table(list_losses(results)),
        "## Agreement",
        write_table(list_agreement(results)),
        "## Scores",
        write_table(list_differences(results)),
        "## Where verdicts differ most",
        write_table(listed) if len(listed) > 1 else "Nowhere.",
        "## How to read this",
        _NOTES,
    ]
    return "\n\n".join(parts)


def _rate(groups: Iterable[JudgedGroup], sign: str) -> list[Ratings]:
    return [
        Ratings(tried.document_id, tuple(None if j.met is None else j.met[at] for j in said))
        for tried, said in groups
        for at, criterion in enumerate(tried.candidate.rubric)
        if sign in ("all", "positive" if criterion.weight > 0 else "negative")
    ]


def _pair(chosen: Sequence[Judged], first: Opinions, second: Opinions) -> list[JudgedGroup]:
    """Judgements of two judges side by side, by attempt and repeat."""
    said = zip(chosen, first.judgements, second.judgements, strict=True)
    return [(tried, pair) for tried, ones, others in said for pair in zip(ones, others, strict=True)]


def _compare_scores(pairs: Sequence[JudgedGroup]) -> Estimate:
    return mean_difference((tried.document_id, after.score - before.score) for tried, (before, after) in pairs
                           if before.score is not None and after.score is not None)  # fmt: skip


def _measure_loss(judge: Opinions) -> dict[str, Any]:
    every = [judgement for said in judge.judgements for judgement in said]
    verdicts = [met for judgement in every for met in judgement.met or ()]
    return {
        "model": judge.model,
        "temperature": judge.temperature,
        "unreadable": [judge.unreadable, judge.first_asks],
        "lost": [sum(judgement.met is None for judgement in every), len(every)],
        "met": [sum(verdicts), len(verdicts)],
    }


def _count_votes(tried: Judged, number: int, votes: dict[str, Sequence[Judgement]]) -> dict[str, Any]:
    """How a criterion (from 1) was voted on, and the share of all votes that the smaller side has."""
    met = {name: [j.met[number - 1] for j in said if j.met is not None] for name, said in votes.items()}
    every = [vote for given in met.values() for vote in given]
    criterion = tried.candidate.rubric[number - 1]
    return {
        "criterion": number,
        "weight": criterion.weight,
        "text": criterion.text,
        "met": {name: [sum(given), len(given)] for name, given in met.items()},
        "split": min(sum(every), len(every) - sum(every)) / len(every),
    }


def _list_disagreements(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = [["document", "round", "solver, attempt", "criterion (weight): met in"]]
    for attempt in found:
        votes = "; ".join(_show_votes(c) for c in attempt["criteria"])
        where = f"{attempt['solver']}, {attempt['attempt']}"
        rows.append([attempt["document_id"], str(attempt["round"]), where, votes])
    return rows


def _show_votes(criterion: dict[str, Any]) -> str:
    votes = ", ".join(f"{name} {met} of {given}" for name, (met, given) in criterion["met"].items())
    return f"{criterion['criterion']} ({criterion['weight']:+d}): {votes}"
